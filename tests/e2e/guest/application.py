#!/usr/bin/env python3
"""A web application, at 127.0.0.1:3000, that fetches the URL in the path of each request: by urllib, so by the proxy that its
environment names."""

import http.server
import urllib.request

DEADLINE_SECONDS = 120


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            with urllib.request.urlopen(self.path[1:], timeout=DEADLINE_SECONDS) as answer:
                status, body = answer.status, answer.read()
        except OSError as error:
            status, body = 502, f"{error}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = http.server.HTTPServer(("127.0.0.1", 3000), Answer)
    print("listening", flush=True)
    server.serve_forever()
