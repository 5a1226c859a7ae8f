#!/usr/bin/env python3
"""Kills the parent's proxy while an enclave's clients work, and starts it again. usage: recovery.py ENCLAVE NAME COMMAND...

COMMAND is the proxy, load.py the clients of http://NAME/. Prints how long the proxy took to listen again, and how long
after that all clients had been served. Exit status 0: they were, the kill was seen, and nothing arrived changed.
"""

import pathlib
import queue
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).parent
STEP_SECONDS = 180
CLIENTS = {"0", "1", "2", "3"}


def lines_of(stream):
    """The lines of a program, as they come."""
    lines = queue.Queue()

    def read():
        for line in stream:
            lines.put(line.strip())

    threading.Thread(target=read, daemon=True).start()
    return lines


def start(command):
    proxy = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log = lines_of(proxy.stderr)
    while "listening state" not in log.get(timeout=STEP_SECONDS):
        pass
    return proxy


def next_result(results):
    client, result = results.get(timeout=STEP_SECONDS).split(" ", 1)
    if result == "wrong":
        sys.exit("something arrived changed")
    return client, result


def wait_for_all(results):
    """Returns when each client has been served."""
    missing = set(CLIENTS)
    while missing:
        client, result = next_result(results)
        if result == "right":
            missing.discard(client)


def play(enclave, name, command):
    proxy = start(command)
    load_command = ["sh", HERE / "inside.sh", enclave, "python3", HERE / "load.py", name]
    load = subprocess.Popen(load_command, stdout=subprocess.PIPE, text=True)
    results = lines_of(load.stdout)
    wait_for_all(results)
    proxy.kill()
    proxy.wait(STEP_SECONDS)
    while next_result(results)[1] == "right":
        pass  # it had arrived already
    killed = time.monotonic()
    proxy = start(command)
    listening = time.monotonic()
    wait_for_all(results)
    print(f"it listened after {listening - killed:.1f} s, and {time.monotonic() - listening:.1f} s later all were served")
    load.kill()
    proxy.kill()


if __name__ == "__main__":
    play(sys.argv[1], sys.argv[2], sys.argv[3:])
