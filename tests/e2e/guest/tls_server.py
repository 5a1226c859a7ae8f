#!/usr/bin/env python3
"""Answers HTTPS requests, in place of a service such as KMS. usage: tls_server.py ADDRESS PORT CERTIFICATE"""

import http.server
import ssl
import sys


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"hello from {self.headers['Host']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Requests are told of by those who make them."""


if __name__ == "__main__":
    address, port, certificate = sys.argv[1:]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = http.server.HTTPServer((address, int(port)), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("listening", flush=True)
    server.serve_forever()
