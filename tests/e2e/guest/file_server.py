#!/usr/bin/env python3
"""Serves the files of a directory, and takes others, over HTTP/1.1. usage: file_server.py ADDRESS PORT DIRECTORY"""

import functools
import http.server
import sys


class Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(self.translate_path(self.path), "wb") as file:
            file.write(body)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Requests are told of by those who make them."""


if __name__ == "__main__":
    address, port, directory = sys.argv[1:]
    handler = functools.partial(Files, directory=directory)
    server = http.server.ThreadingHTTPServer((address, int(port)), handler)
    print("listening", flush=True)
    server.serve_forever()
