#!/usr/bin/env python3
"""Plays the main job of vsock-proxy on this machine, and tells what happens. usage: demo.py EXECUTABLE CID

The proxy listens at CID, and the client that plays the enclave connects to it. The server that plays KMS needs its name
and an address for itself, so this wants namespaces of its own: unshare --net --mount demo.py ...
"""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
SERVER_NAME = "kms.us-east-1.amazonaws.com"
SERVER_ADDRESS = "10.77.0.1"
CID_PARENT = "3"  # the proxy's default
PORT = "8000"
ALLOWLIST = f"""\
allowlist:
  - {{address: {SERVER_NAME}, port: 443}}
"""
DEADLINE_SECONDS = 120


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE_SECONDS).stdout


def start(*command, **options):
    return subprocess.Popen(command, text=True, **options)


def read_until(stream, text):
    """The lines up to and with the one that has `text`."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            return "".join(lines)
    sys.exit(f"demo: ended without '{text}':\n{''.join(lines)}")


def tell(heading, text=""):
    print(heading)
    for line in text.splitlines():
        print("   ", line)
    print(flush=True)


def give_names_and_addresses(directory):
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{SERVER_ADDRESS}/32", "dev", "lo")
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{SERVER_ADDRESS} {SERVER_NAME}\n")
    run("mount", "--bind", hosts, "/etc/hosts")


def play(executable, cid, directory):
    allowlist = directory / "allowlist.yaml"
    allowlist.write_text(ALLOWLIST)
    tell("The allowlist:", ALLOWLIST)

    run("sh", HERE / "certificates.sh", directory, SERVER_NAME)
    server = start("python3", HERE / "tls_server.py", SERVER_ADDRESS, "443", directory / "server.pem", stdout=subprocess.PIPE)
    read_until(server.stdout, "listening")
    tell(f"A server that plays {SERVER_NAME} listens at {SERVER_ADDRESS}:443.")

    cid_option = [] if cid == CID_PARENT else ["--cid", cid]
    options = ["--config", str(allowlist), *cid_option]
    shown_options = " ".join(["--config", allowlist.name, *cid_option])
    proxy = start(executable, PORT, SERVER_NAME, "443", *options, stderr=subprocess.PIPE, env=os.environ | {"RUST_LOG": "info"})
    log = read_until(proxy.stderr, "listening state")
    tell("Started on the parent:", f"vsock-proxy {PORT} {SERVER_NAME} 443 {shown_options}")

    client = ["python3", str(HERE / "tls_client.py"), cid, PORT, SERVER_NAME, str(directory / "ca.pem")]
    answer = run("unshare", "--net", "sh", "-c", f"ip -brief link; exec {' '.join(client)}")
    tell(f"An HTTPS request from the enclave (its only network link is down) to CID {cid}, port {PORT}:", answer)

    proxy.terminate()
    log += proxy.stderr.read()
    proxy.wait(DEADLINE_SECONDS)
    tell("What the proxy logged, up to its orderly end:", log)
    server.terminate()

    refusal = subprocess.run([executable, PORT, "example.com", "443", *options], capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    tell(f"Another target is denied: vsock-proxy {PORT} example.com 443 {shown_options}", refusal.stderr)
    if (proxy.returncode, refusal.returncode) != (0, 1):
        sys.exit(f"demo: exit statuses {proxy.returncode} and {refusal.returncode} instead of 0 and 1")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        give_names_and_addresses(pathlib.Path(name))
        play(*sys.argv[1:], pathlib.Path(name))
