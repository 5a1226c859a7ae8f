#!/usr/bin/env python3
"""A stand-in for the instance metadata service of EC2, as its clients meet it. Needs the standard library only.

usage: imds.py [--address IP] [--port PORT] [--region REGION] [--domain DOMAIN] [--instance ID [--user-data FILE] [--public-key FILE]] [FAULT]

Prints "listening" once clients may come, and then each request with the status that it was given. What it does by
itself is what EC2 does, by the user guide: tokens for those who name a lifetime by PUT, not for those behind a proxy;
401 without a valid token; 404 for what there is not. An instance has what
cloud-init asks for, too, below each version of the service. The faults are what clients have to live with.
"""

import argparse
import http.server
import json
import re
import secrets
import signal
import socket
import socketserver
import sys
import threading
import time

TOKEN_PATH = "/latest/api/token"
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
LONGEST_TTL_SECONDS = 21600


def arguments():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--address", default="169.254.169.254")
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--instance", metavar="ID")
    parser.add_argument("--user-data", metavar="FILE")
    parser.add_argument("--public-key", metavar="FILE")
    parser.add_argument("--region", default="eu-west-1")
    parser.add_argument("--domain", default="amazonaws.com")
    parser.add_argument("--tokens-optional", action="store_true", help="IMDSv1 is allowed, too")
    fault = parser.add_mutually_exclusive_group()
    fault.add_argument("--disabled", action="store_true", help="403 for everything")
    fault.add_argument("--version-1", action="store_true", help="knows no tokens")
    fault.add_argument("--forgetful", action="store_true", help="forgets each token after one use")
    fault.add_argument("--status", type=int, help="the answer to everything that has a token")
    fault.add_argument("--silent", action="store_true", help="takes requests and never answers")
    fault.add_argument("--delay", type=float, default=0, metavar="SECONDS", help="before each answer")
    fault.add_argument("--huge", action="store_true", help="values that do not end")
    fault.add_argument("--cut", action="store_true", help="closes in the middle of each value")
    fault.add_argument("--garbage", action="store_true", help="answers that are not HTTP")
    return parser.parse_args()


class Metadata:
    def __init__(self, options):
        self.options = options
        self.values = {
            "/latest/meta-data/placement/region": options.region,
            "/latest/meta-data/placement/availability-zone": options.region + "a",
            "/latest/meta-data/services/domain": options.domain,
            "/latest/meta-data/services/partition": "aws",
        }
        if options.instance:
            self.values.update(instance_values(options))
        self.tokens = {}
        self.lock = threading.Lock()

    def issue(self, ttl_seconds):
        token = secrets.token_urlsafe(40) + "=="
        with self.lock:
            self.tokens[token] = time.monotonic() + ttl_seconds
        return token

    def find(self, path):
        """What is there, or None. A directory is the list of what it holds."""
        path = re.sub(r"^/\d{4}-\d\d-\d\d/", "/latest/", path) if self.options.instance else path
        if path in self.values:
            return self.values[path]
        if not self.options.instance:
            return None
        directory = path.rstrip("/") + "/"
        below = [name.removeprefix(directory) for name in self.values if name.startswith(directory)]
        names = {name.split("/")[0] + ("/" if "/" in name else "") for name in below}
        # As EC2 lists keys: 0=name.
        return "\n".join(sorted("0=e2e" if directory.endswith("/public-keys/") else name for name in names)) or None

    def accepts(self, token):
        if token is None:
            return self.options.tokens_optional or self.options.version_1
        with self.lock:
            if self.options.forgetful:
                return self.tokens.pop(token, 0) > time.monotonic()
            return self.tokens.get(token, 0) > time.monotonic()


def instance_values(options):
    def content(file):
        with open(file, encoding="utf8") as source:
            return source.read()

    meta = "/latest/meta-data/"
    values = {
        meta + "instance-id": options.instance,
        meta + "ami-id": "ami-0e2e0e2e0e2e0e2e0",
        meta + "instance-type": "m5.xlarge",
        meta + "local-hostname": "parent",
        meta + "local-ipv4": "10.0.2.15",
        "/latest/dynamic/instance-identity/document": json.dumps(
            {"instanceId": options.instance, "region": options.region, "availabilityZone": options.region + "a"}
        ),
    }
    if options.public_key:
        values[meta + "public-keys/0/openssh-key"] = content(options.public_key)
    if options.user_data:
        values["/latest/user-data"] = content(options.user_data)
    return values


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "EC2ws"
    sys_version = ""

    def do_PUT(self):
        options = self.server.metadata.options
        if self.misbehaves():
            return
        if options.disabled or "X-Forwarded-For" in self.headers:
            self.answer(403)
        elif options.version_1:
            self.answer(405)
        elif self.path != TOKEN_PATH:
            self.answer(404)
        else:
            ttl = self.headers.get(TTL_HEADER, "")
            if ttl.isdecimal() and 1 <= int(ttl) <= LONGEST_TTL_SECONDS:
                self.answer(200, self.server.metadata.issue(int(ttl)), {TTL_HEADER: ttl})
            else:
                self.answer(400)

    def do_GET(self):
        metadata = self.server.metadata
        options = metadata.options
        if self.misbehaves():
            return
        if options.disabled:
            self.answer(403)
        elif not metadata.accepts(self.headers.get("X-aws-ec2-metadata-token")):
            self.answer(401)
        elif options.status is not None:
            self.answer(options.status)
        elif metadata.find(self.path) is None:
            self.answer(404)
        elif options.huge:
            self.pour()
        elif options.cut:
            self.cut(metadata.find(self.path))
        else:
            self.answer(200, metadata.find(self.path))

    def misbehaves(self):
        options = self.server.metadata.options
        time.sleep(options.delay)
        if options.silent:
            self.tell("-")
            threading.Event().wait()
        if options.garbage:
            self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            self.tell("-")
            self.close_connection = True
        return options.garbage

    def answer(self, status, body="", headers=None):
        content = body.encode()
        self.tell(status)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def pour(self):
        self.tell(200)
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"a" * 65536)
        except OSError:
            self.close_connection = True

    def cut(self, value):
        self.tell(200)
        self.send_response(200)
        self.send_header("Content-Length", str(len(value) + 1))
        self.end_headers()
        self.wfile.write(value.encode())
        self.close_connection = True

    def tell(self, status):
        version = "with" if "X-aws-ec2-metadata-token" in self.headers else "without"
        print(f"{self.command} {self.path} {version} token: {status}", flush=True)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, options):
        self.metadata = Metadata(options)
        self.address_family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
        super().__init__((options.address, options.port), Handler)

    def server_bind(self):
        # HTTPServer's own looks its name up in DNS, which may not be there.
        socketserver.TCPServer.server_bind(self)


if __name__ == "__main__":
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(options)
    print("listening" if options.port else f"listening on port {server.server_address[1]}", flush=True)
    server.serve_forever()
