#!/usr/bin/env python3
"""Plays one scenario between a vsock client and a TCP server that have the proxy between them.

usage: scenarios.py SCENARIO VSOCK_PORT TCP_PORT

Both ends live in this process, so each step is known to come after the one before. The client dials the machine's CID 3,
the server listens at the address that server.test resolves to. A scenario that needs something to happen outside prints
what it waits for and goes on with the next line of its standard input. Exit status 0: everything was as it has to be.
"""

import contextlib
import os
import select
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

CID_PARENT = 3
SERVER_NAME = "server.test"
STEP_SECONDS = 120


class Route:
    def __init__(self, vsock_port, tcp_port):
        self.vsock_port = vsock_port
        self.tcp_address = (socket.gethostbyname(SERVER_NAME), tcp_port)

    def dial(self):
        client = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        client.settimeout(STEP_SECONDS)
        client.connect((CID_PARENT, self.vsock_port))
        return client

    def listen(self):
        listener = socket.create_server(self.tcp_address, backlog=256)
        listener.settimeout(STEP_SECONDS)
        return listener

    @contextlib.contextmanager
    def pair(self):
        """A connection through the proxy, both ends of it."""
        with self.listen() as listener, self.dial() as client, accept(listener) as server:
            yield client, server


def accept(listener):
    server, _ = listener.accept()
    server.settimeout(STEP_SECONDS)
    return server


def read_to_end(end):
    return b"".join(iter(lambda: end.recv(262144), b""))


def expect(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {expected!r:.100}, got {actual!r:.100}")


def expect_echo(client, server, message):
    """`message` reaches the server and comes back."""
    client.sendall(message)
    expect(server.recv(len(message), socket.MSG_WAITALL), message)
    server.sendall(message)
    expect(client.recv(len(message), socket.MSG_WAITALL), message)


def wait_for(what):
    print(what, flush=True)
    sys.stdin.readline()


def says_its_port(route):
    with route.pair() as (client, server):
        expect_echo(client, server, b"hello")
        print("client port", client.getsockname()[1])


def both_directions_at_once(route):
    up, down = os.urandom(16 << 20), os.urandom(16 << 20)

    def send(end, data):
        end.sendall(data)
        end.shutdown(socket.SHUT_WR)

    with route.pair() as (client, server), ThreadPoolExecutor() as pool:
        sent = [pool.submit(send, client, up), pool.submit(send, server, down)]
        arrived = [pool.submit(read_to_end, server), pool.submit(read_to_end, client)]
        for job in sent:
            job.result()
        if [job.result() for job in arrived] != [up, down]:
            raise AssertionError("bytes were lost, changed or added")


def client_ends_first(route):
    with route.pair() as (client, server):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        expect(read_to_end(server), b"question")
        server.sendall(b"late answer")
        server.shutdown(socket.SHUT_WR)
        expect(read_to_end(client), b"late answer")


def server_ends_first(route):
    with route.pair() as (client, server):
        server.sendall(b"greeting")
        server.shutdown(socket.SHUT_WR)
        expect(read_to_end(client), b"greeting")
        client.sendall(b"late question")
        client.shutdown(socket.SHUT_WR)
        expect(read_to_end(server), b"late question")


def server_resets(route):
    """The kernel's vsock reports a peer's reset as an end of file to a reader, and as EPIPE to a writer."""
    with route.pair() as (client, server):
        expect_echo(client, server, b"hello")
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        expect(client.recv(1), b"")
        try:
            client.sendall(b"anybody there?")
        except BrokenPipeError:
            return
        raise AssertionError("the client may go on sending after the server's reset")


def client_leaves(route):
    """The client closes while the server still sends: the server cannot go on for ever."""
    with route.pair() as (client, server):
        server.sendall(b"unread")
        expect(client.recv(1), b"u")
        client.close()
        try:
            while True:
                server.sendall(bytes(65536))
        except (ConnectionResetError, BrokenPipeError):  # the latter when an end of file came before the reset
            return


def refused_then_served(route):
    with route.dial() as client:
        expect(client.recv(1), b"")
    with route.pair() as (client, server):
        expect_echo(client, server, b"hello")


def two_hundred_at_once(route):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(route.listen())
        clients = [stack.enter_context(route.dial()) for _ in range(200)]
        servers = [stack.enter_context(accept(listener)) for _ in clients]
        for number, client in enumerate(clients):
            client.sendall(b"%3d" % number)
        for server in servers:
            server.sendall(b"you are " + server.recv(3, socket.MSG_WAITALL))
        for number, client in enumerate(clients):
            expect(client.recv(11, socket.MSG_WAITALL), b"you are %3d" % number)


def fifth_waits(route):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(route.listen())
        pairs = [(stack.enter_context(route.dial()), stack.enter_context(accept(listener))) for _ in range(4)]
        for client, server in pairs:
            expect_echo(client, server, b"hello")
        fifth = stack.enter_context(route.dial())
        fifth.sendall(b"me too")
        wait_for("the fifth waits")
        expect(select.select([listener], [], [], 0)[0], [])
        for end in pairs[0]:
            end.close()
        server = stack.enter_context(accept(listener))
        expect(server.recv(6, socket.MSG_WAITALL), b"me too")


def transfer_survives_drain(route):
    down = os.urandom(1 << 20)
    with route.pair() as (client, server):
        expect_echo(client, server, b"hello")
        wait_for("the transfer runs")
        server.sendall(down)
        server.shutdown(socket.SHUT_WR)
        expect(read_to_end(client), down)
        client.sendall(b"thank you")
        client.shutdown(socket.SHUT_WR)
        expect(read_to_end(server), b"thank you")


def transfer_is_cut_by_drain(route):
    """Neither end takes what it has for the whole: the server is reset, the client sees its connection end both ways."""
    with route.pair() as (client, server):
        expect_echo(client, server, b"hello")
        wait_for("the transfer runs")
        expect(client.recv(1), b"")
        try:
            client.sendall(b"anybody there?")
            raise AssertionError("the client may go on sending after the end of the drain")
        except BrokenPipeError:
            pass
        try:
            raise AssertionError(f"the server got {server.recv(1)!r} for an end")
        except ConnectionResetError:
            pass


def nobody_listens(route):
    try:
        route.dial()
    except ConnectionResetError:
        return
    raise AssertionError(f"somebody still listens on vsock port {route.vsock_port}")


if __name__ == "__main__":
    name, vsock_port, tcp_port = sys.argv[1:]
    globals()[name](Route(int(vsock_port), int(tcp_port)))
