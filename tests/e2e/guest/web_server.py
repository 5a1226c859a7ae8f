#!/usr/bin/env python3
"""Plays the services of AWS and others: HTTP at port 80 and HTTPS at 443. usage: web_server.py ADDRESS CERTIFICATE

What is posted comes back.
"""

import http.server
import json
import ssl
import sys
import threading

IP_RANGES = {
    "syncToken": "1700000000",
    "prefixes": [
        {"ip_prefix": "192.0.2.0/25", "region": "us-east-1", "service": "S3"},
        {"ip_prefix": "192.0.2.128/25", "region": "us-east-1", "service": "EC2"},
        {"ip_prefix": "198.51.100.0/24", "region": "eu-west-1", "service": "S3"},
        {"ip_prefix": "203.0.113.0/24", "region": "us-east-1", "service": "S3"},
    ],
}


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/ip-ranges.json":
            self.answer(json.dumps(IP_RANGES).encode())
        else:
            self.answer(f"hello from {self.headers['Host']}\n".encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Requests are told of by those who make them."""


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Clients that leave are part of the tests, and tell of it themselves."""


if __name__ == "__main__":
    address, certificate = sys.argv[1:]
    plain, secure = Server((address, 80), Answer), Server((address, 443), Answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    print("listening", flush=True)
    secure.serve_forever()
