#!/usr/bin/env python3
"""Four clients in an enclave that post to http://NAME/ and compare what comes back, again and again. usage: load.py NAME

One line for each request: its client, and "right", "wrong", or why it failed.
"""

import http.client
import os
import sys
import threading
import urllib.request

CLIENTS = 4
BODY_BYTES = 65536
DEADLINE_SECONDS = 120


def post_again_and_again(client, url):
    while True:
        body = os.urandom(BODY_BYTES)
        try:
            with urllib.request.urlopen(url, body, DEADLINE_SECONDS) as answer:
                result = "right" if answer.read() == body else "wrong"
        except (OSError, http.client.HTTPException) as error:
            result = f"failed: {error}"
        sys.stdout.write(f"{client} {result}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    for client in range(CLIENTS):
        threading.Thread(target=post_again_and_again, args=(client, f"http://{sys.argv[1]}/")).start()
