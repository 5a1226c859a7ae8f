#!/usr/bin/env python3
"""Both ends of what `serve` does on a parent. usage: serve.py SCENARIO ARGUMENT...

Exit status 0: everything was as it has to be.
"""

import select
import socket
import sys
import threading

CID_PARENT = 3
CID_ANY = 0xFFFFFFFF
STEP_SECONDS = 120
OK = b"HTTP/1.1 200 "


def dial(port):
    client = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    client.settimeout(STEP_SECONDS)
    client.connect((CID_PARENT, int(port)))
    return client


def expect(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {expected!r:.100}, got {actual!r:.100}")


def echo(*ports):
    """In the enclave's place: sends back what comes, to whoever connects by vsock to one of these ports."""

    def serve(connection):
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    listeners = []
    for port in ports:
        listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        listener.bind((CID_ANY, int(port)))
        listener.listen(64)
        listeners.append(listener)
    print("listening", flush=True)
    while True:
        for listener in select.select(listeners, [], [])[0]:
            threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()


def refused(port):
    """The client is let go without a byte."""
    with dial(port) as client:
        expect(client.recv(1), b"")


def third_is_refused(port):
    with socket.create_server((socket.gethostbyname("server.test"), 9000)) as listener:
        first, second = dial(port), dial(port)
        servers = [listener.accept()[0] for _ in "ab"]
        refused(port)
        first.close()
        (left,) = select.select(servers, [], [], STEP_SECONDS)[0]
        left.close()
        while True:  # until the proxy has seen that
            with dial(port) as another:
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


def get(port):
    request = b"GET http://server.test:8088/hello HTTP/1.1\r\nHost: server.test:8088\r\nConnection: close\r\n\r\n"
    client = dial(port)
    client.sendall(request)
    return client


def served(client):
    with client:
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    if not (answer.startswith(OK) and answer.endswith(b"hello\n")):
        raise AssertionError(f"not served: {answer!r}")


def crowd(port):
    """Clients that come together."""
    for client in [get(port) for _ in range(20)]:
        served(client)


def stream(port):
    """Clients one after another, until the standard input ends."""
    print("the stream runs", flush=True)
    count = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        served(get(port))
        count += 1
    print(f"{count} served")


def stays(port):
    """One connection that something happens during."""
    with socket.create_server((socket.gethostbyname("server.test"), 9000)) as listener, dial(port) as client:
        server = listener.accept()[0]
        for step in ["it stands", "it still stands"]:
            client.sendall(b"question")
            expect(server.recv(8, socket.MSG_WAITALL), b"question")
            server.sendall(b"answer")
            expect(client.recv(6, socket.MSG_WAITALL), b"answer")
            print(step, flush=True)
            sys.stdin.readline()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
