#!/usr/bin/env python3
"""Programs that know nothing of a proxy, one line for each. usage: clients.py {urllib=URL | socket=NAME | ipv6=NAME}...

A name that does not exist is told by the words of the C library.
"""

import socket
import sys
import urllib.request

DEADLINE_SECONDS = 120


def urllib_request(url):
    with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as answer:
        return f"{answer.status} {answer.read().decode()}"


def raw_socket(name):
    with socket.create_connection((name, 80), DEADLINE_SECONDS) as connection:
        connection.sendall(f"GET / HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode().splitlines()[-1]


def ipv6_address(name):
    return socket.getaddrinfo(name, 443, socket.AF_INET6, socket.SOCK_STREAM)[0][4][0]


CLIENTS = {"urllib": urllib_request, "socket": raw_socket, "ipv6": ipv6_address}

if __name__ == "__main__":
    for argument in sys.argv[1:]:
        kind, target = argument.split("=")
        try:
            result = CLIENTS[kind](target).strip()
        except OSError as error:
            result = error
        print(f"{kind}: {result}")
