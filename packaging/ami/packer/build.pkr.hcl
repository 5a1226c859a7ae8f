# What happens to each of the machines: the same programs as everywhere.

build {
  sources = [
    "source.amazon-ebs.al2023_x86_64",
    "source.amazon-ebs.al2023_arm64",
    "source.amazon-ebs.al2027_x86_64",
    "source.amazon-ebs.al2027_arm64",
    "source.null.machine",
  ]

  provisioner "shell" {
    inline = ["rm -rf /tmp/nitro-enclaves && mkdir -p /tmp/nitro-enclaves"]
  }

  # With a slash: what is in it. Without files it is provision alone.
  provisioner "file" {
    source      = var.files == "" ? var.program : "${var.files}/"
    destination = "/tmp/nitro-enclaves/"
  }

  provisioner "file" {
    source      = var.program
    destination = "/tmp/nitro-enclaves/provision"
  }

  provisioner "shell" {
    inline = [
      "cd /tmp/nitro-enclaves",
      "$(command -v sudo) bash ./provision --image ${var.arguments}",
      "rm -rf /tmp/nitro-enclaves",
    ]
  }

  provisioner "shell" {
    inline            = ["$(command -v sudo) systemctl reboot"]
    expect_disconnect = true
    skip_clean        = true
  }

  provisioner "shell" {
    pause_before = "10s"
    inline       = ["$(command -v sudo) /usr/libexec/nitro-enclaves-vsock-proxy/validate ${var.validate}"]
  }

  # Its last session: the keys to log in with go, too.
  provisioner "shell" {
    inline = [
      "$(command -v sudo) /usr/libexec/nitro-enclaves-vsock-proxy/clean",
      "$(command -v sudo) /usr/libexec/nitro-enclaves-vsock-proxy/validate --sealed",
    ]
    skip_clean = true
  }

  post-processor "manifest" {
    output     = "build/ami/manifest.json"
    strip_path = true
    custom_data = {
      vsock_proxy = var.version
    }
  }
}
