"""Answers GET /REGION with the S3 prefixes of that region. Knows nothing of vsock, and of no proxy."""
import http.server
import json
import urllib.request

RANGES = "https://ip-ranges.amazonaws.com/ip-ranges.json"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        region = self.path.lstrip("/")
        with urllib.request.urlopen(RANGES, timeout=10) as response:
            prefixes = json.load(response)["prefixes"]
        found = [each["ip_prefix"] for each in prefixes if (each["service"], each["region"]) == ("S3", region)]
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
