# The images: two systems on two machines. All of them are provisioned by build.pkr.hcl.
#
# What Packer 1.6 does not know stands between the lines "newer" and "end of newer", so that a check with it can leave that out.

locals {
  time = formatdate("YYYYMMDD-hhmmss", timestamp())
}

source "amazon-ebs" "al2023_x86_64" {
  ami_name                    = "${var.name}-al2023-x86_64-${local.time}"
  ami_description             = "Amazon Linux 2023 for parents of Nitro Enclaves, with vsock-proxy ${var.version}"
  instance_type               = var.instance_type_x86_64
  region                      = var.region
  subnet_id                   = var.subnet_id
  ssh_username                = "ec2-user"
  ami_users                   = var.ami_users
  encrypt_boot                = true
  kms_key_id                  = var.kms_key_id
  associate_public_ip_address = true

  source_ami_filter {
    owners      = ["amazon"]
    most_recent = true
    filters = {
      name                = "${var.source_al2023}-x86_64"
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # newer
  imds_support         = "v2.0"
  enable_nitro_enclave = true
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  # end of newer

  tags = {
    Name          = "${var.name}-al2023-x86_64"
    System        = "al2023"
    Architecture  = "x86_64"
    VsockProxy    = var.version
    SourceAMI     = "{{ .SourceAMI }}"
    SourceAMIName = "{{ .SourceAMIName }}"
  }
  run_tags = {
    Name = "builds ${var.name}-al2023-x86_64"
  }
}

source "amazon-ebs" "al2023_arm64" {
  ami_name                    = "${var.name}-al2023-arm64-${local.time}"
  ami_description             = "Amazon Linux 2023 for parents of Nitro Enclaves, with vsock-proxy ${var.version}"
  instance_type               = var.instance_type_arm64
  region                      = var.region
  subnet_id                   = var.subnet_id
  ssh_username                = "ec2-user"
  ami_users                   = var.ami_users
  encrypt_boot                = true
  kms_key_id                  = var.kms_key_id
  associate_public_ip_address = true

  source_ami_filter {
    owners      = ["amazon"]
    most_recent = true
    filters = {
      name                = "${var.source_al2023}-arm64"
      architecture        = "arm64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # newer
  imds_support         = "v2.0"
  enable_nitro_enclave = true
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  # end of newer

  tags = {
    Name          = "${var.name}-al2023-arm64"
    System        = "al2023"
    Architecture  = "arm64"
    VsockProxy    = var.version
    SourceAMI     = "{{ .SourceAMI }}"
    SourceAMIName = "{{ .SourceAMIName }}"
  }
  run_tags = {
    Name = "builds ${var.name}-al2023-arm64"
  }
}

source "amazon-ebs" "al2027_x86_64" {
  ami_name                    = "${var.name}-al2027-x86_64-${local.time}"
  ami_description             = "Amazon Linux 2027 for parents of Nitro Enclaves, with vsock-proxy ${var.version}"
  instance_type               = var.instance_type_x86_64
  region                      = var.region
  subnet_id                   = var.subnet_id
  ssh_username                = "ec2-user"
  ami_users                   = var.ami_users
  encrypt_boot                = true
  kms_key_id                  = var.kms_key_id
  associate_public_ip_address = true

  source_ami_filter {
    owners      = ["amazon"]
    most_recent = true
    filters = {
      name                = "${var.source_al2027}-x86_64"
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # newer
  imds_support         = "v2.0"
  enable_nitro_enclave = true
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  # end of newer

  tags = {
    Name          = "${var.name}-al2027-x86_64"
    System        = "al2027"
    Architecture  = "x86_64"
    VsockProxy    = var.version
    SourceAMI     = "{{ .SourceAMI }}"
    SourceAMIName = "{{ .SourceAMIName }}"
  }
  run_tags = {
    Name = "builds ${var.name}-al2027-x86_64"
  }
}

source "amazon-ebs" "al2027_arm64" {
  ami_name                    = "${var.name}-al2027-arm64-${local.time}"
  ami_description             = "Amazon Linux 2027 for parents of Nitro Enclaves, with vsock-proxy ${var.version}"
  instance_type               = var.instance_type_arm64
  region                      = var.region
  subnet_id                   = var.subnet_id
  ssh_username                = "ec2-user"
  ami_users                   = var.ami_users
  encrypt_boot                = true
  kms_key_id                  = var.kms_key_id
  associate_public_ip_address = true

  source_ami_filter {
    owners      = ["amazon"]
    most_recent = true
    filters = {
      name                = "${var.source_al2027}-arm64"
      architecture        = "arm64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # newer
  imds_support         = "v2.0"
  enable_nitro_enclave = true
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  # end of newer

  tags = {
    Name          = "${var.name}-al2027-arm64"
    System        = "al2027"
    Architecture  = "arm64"
    VsockProxy    = var.version
    SourceAMI     = "{{ .SourceAMI }}"
    SourceAMIName = "{{ .SourceAMIName }}"
  }
  run_tags = {
    Name = "builds ${var.name}-al2027-arm64"
  }
}

# Any machine that ssh leads to: it becomes what an image is made from, such as one for KVM. Nothing is registered.
source "null" "machine" {
  communicator         = "ssh"
  ssh_host             = var.host
  ssh_port             = var.port
  ssh_username         = "root"
  ssh_private_key_file = var.ssh_private_key_file
  ssh_agent_auth       = var.ssh_private_key_file == ""
}
