#!/usr/bin/env python3
"""Serves clients of enclave/client.c, one after the other. usage: pattern_server.py ADDRESS PORT BYTES CLIENTS

Half of the answer goes out while the request comes in, the other half after the client's EOF: so it shows whether both
directions flow at once, and whether one outlives the other's end.
"""

import socket
import sys
import threading

DEADLINE_SECONDS = 120
PERIOD = bytes(range(251))


def repeat(period, length):
    return (period * (length // len(period) + 1))[:length]


def serve(connection, request, answer):
    connection.settimeout(DEADLINE_SECONDS)
    half = len(answer) // 2
    first_half = threading.Thread(target=connection.sendall, args=(answer[:half],))
    first_half.start()
    received = b"".join(iter(lambda: connection.recv(262144), b""))
    first_half.join()
    connection.sendall(answer[half:])
    connection.close()
    if received != request:
        sys.exit(f"the request's {len(received)} bytes are not the pattern's {len(request)}")
    print(f"received: {len(received)} bytes, all right")


if __name__ == "__main__":
    address, port, length, clients = sys.argv[1], *map(int, sys.argv[2:])
    listener = socket.create_server((address, port))
    print("listening", flush=True)
    for _ in range(clients):
        serve(listener.accept()[0], repeat(PERIOD, length), repeat(PERIOD[::-1], length))
