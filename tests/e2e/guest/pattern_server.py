#!/usr/bin/env python3
"""Serves one connection of enclave/client.c. usage: pattern_server.py ADDRESS PORT BYTES

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


if __name__ == "__main__":
    address, port, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    request, answer = repeat(PERIOD, length), repeat(PERIOD[::-1], length)
    listener = socket.create_server((address, port))
    print("listening", flush=True)
    connection, _ = listener.accept()
    connection.settimeout(DEADLINE_SECONDS)
    first_half = threading.Thread(target=connection.sendall, args=(answer[: length // 2],))
    first_half.start()
    received = b"".join(iter(lambda: connection.recv(262144), b""))
    first_half.join()
    connection.sendall(answer[length // 2 :])
    connection.close()
    if received != request:
        sys.exit(f"the request's {len(received)} bytes are not the pattern's {length}")
    print(f"received: {length} bytes, all right")
