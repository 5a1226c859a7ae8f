#!/usr/bin/env python3
"""Both ends of what `serve` does on a parent, where scenarios.py does not have it. usage: serve.py SCENARIO ARGUMENT...

Exit status 0: everything was as it has to be.
"""

import select
import socket
import sys
import threading

from scenarios import STEP_SECONDS, Route, accept, expect

CID_ANY = 0xFFFFFFFF


def echo(port):
    """In the enclave's place: sends back what comes, to whoever connects by vsock."""

    def serve(connection):
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listener:
        listener.bind((CID_ANY, int(port)))
        listener.listen()
        print("listening", flush=True)
        while True:
            threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()


def refused(port):
    """The client is let go without a byte."""
    with dial(port) as client:
        expect(client.recv(1), b"")


def third_is_refused(port):
    route = Route(int(port), 9000)
    with route.listen() as listener:
        first, second = route.dial(), route.dial()
        servers = [accept(listener) for _ in "ab"]
        refused(port)
        first.close()
        (left,) = select.select(servers, [], [], STEP_SECONDS)[0]
        left.close()
        while True:  # until the proxy has seen that
            with route.dial() as another:
                if listener in select.select([listener, another], [], [], STEP_SECONDS)[0]:
                    break
        second.close()


def through(address, port, header):
    """TCP into the enclave and back; `header`: what goes before the bytes, without the client's port."""
    with socket.create_connection((address, int(port)), STEP_SECONDS) as client:
        client.sendall(b"question")
        own = client.getsockname()[1].to_bytes(2, "big").hex()
        expected = bytes.fromhex(header.replace("PORT", own)) + b"question"
        expect(client.recv(len(expected), socket.MSG_WAITALL), expected)


def dial(port):
    return Route(int(port), 0).dial()


def get(port):
    client = dial(port)
    client.sendall(b"GET http://server.test:8088/hello HTTP/1.1\r\nHost: server.test:8088\r\nConnection: close\r\n\r\n")
    return client


def served(client):
    with client:
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    if not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"hello\n")):
        raise AssertionError(f"not served: {answer!r}")


def crowd(port):
    """Clients that come together."""
    for client in [get(port) for _ in range(20)]:
        served(client)


def stream(port):
    """Clients one after another, until the standard input ends."""
    while not select.select([sys.stdin], [], [], 0)[0]:
        served(get(port))
        print("served", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
