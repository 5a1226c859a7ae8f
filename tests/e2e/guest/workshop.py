#!/usr/bin/env python3
"""The sample of the workshop: an application in an enclave that tells which addresses S3 has, and who asks it.

usage: workshop.py server PORT              in the enclave; it knows nothing of a proxy
       workshop.py client CID PORT REGION   on the parent; one address to a line
"""

import json
import socket
import sys
import urllib.request

URL = "https://ip-ranges.amazonaws.com/ip-ranges.json"
DEADLINE_SECONDS = 120


def s3_prefixes(region):
    with urllib.request.urlopen(URL, timeout=DEADLINE_SECONDS) as answer:
        prefixes = json.load(answer)["prefixes"]
    return [each["ip_prefix"] for each in prefixes if (each["service"], each["region"]) == ("S3", region)]


def serve(port):
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    listener.bind((socket.VMADDR_CID_ANY, port))
    listener.listen()
    print("listening", flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            region = client.recv(100).decode()
            try:
                reply = "".join(f"{prefix}\n" for prefix in s3_prefixes(region))
            except OSError as error:
                reply = f"failed: {error}\n"
            client.sendall(reply.encode())


def ask(cid, port, region):
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as server:
        server.settimeout(DEADLINE_SECONDS)
        server.connect((cid, port))
        server.sendall(region.encode())
        sys.stdout.write(b"".join(iter(lambda: server.recv(4096), b"")).decode())


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(int(sys.argv[2]))
    else:
        ask(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
