#!/usr/bin/env python3
"""Makes one HTTPS request over vsock, as a program in an enclave does. usage: tls_client.py CID PORT SERVER_NAME CA

It says which certificate it was shown, verified against CA and SERVER_NAME, and prints the answer.
"""

import http.client
import socket
import ssl
import sys

DEADLINE_SECONDS = 120

if __name__ == "__main__":
    cid, port, server_name, authority = sys.argv[1:]
    vsock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    vsock.settimeout(DEADLINE_SECONDS)
    vsock.connect((int(cid), int(port)))
    context = ssl.create_default_context(cafile=authority)
    request = http.client.HTTPConnection(server_name)
    request.sock = context.wrap_socket(vsock, server_hostname=server_name)
    issuer = dict(pair[0] for pair in request.sock.getpeercert()["issuer"])["commonName"]
    print(f"{request.sock.version()}, certificate of {server_name} issued by {issuer}")
    request.request("GET", "/")
    answer = request.getresponse()
    print(answer.status, answer.read().decode(), end="")
