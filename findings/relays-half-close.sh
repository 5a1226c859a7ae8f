#!/bin/bash
# systemd-socket-proxyd 252, tinyproxy 1.11.1, HAProxy 2.6.12 (Debian 12, amd64): two of the three lose the answer of a server
# whose client has ended its half of the connection.
#
# Guess:  a relay of streams passes shutdown(2) on and goes on with the other direction, as TCP does (RFC 9293, 3.6).
# Really: systemd-socket-proxyd and tinyproxy (CONNECT) close the client at its EOF, without an error anywhere. The client reads
#         EOF at once, and an answer that the server sends afterwards is lost. HAProxy passes both.
#
# It needs root, for a network namespace of its own.
set -euo pipefail
script=$(realpath "$0")
if [ $# = 0 ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  apt-get download -qq -o APT::Sandbox::User=root systemd=252.39-1~deb12u2 libsystemd-shared=252.39-1~deb12u2 \
    tinyproxy-bin=1.11.1-2.1+deb12u1 haproxy=2.6.12-1+deb12u4 liblua5.3-0=5.3.6-2 libopentracing-c-wrapper0=1.1.3-3+b1
  for package in *.deb; do dpkg-deb --extract "$package" root; done
  unshare --net bash "$script" "$work"
  exit
fi
work=$1
cd "$work"
trap 'kill $(jobs -p)' EXIT
ip link set lo up
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu:$work/root/lib/x86_64-linux-gnu:$work/root/lib/systemd:$work/root/usr/lib/x86_64-linux-gnu/systemd
cat >server.py <<'PY'
import socket, threading, time
def serve(client):
    size = 0
    while part := client.recv(65536): size += len(part)
    time.sleep(0.5)
    try: client.sendall(b"answer to %d bytes" % size)
    except OSError: pass
    client.close()
listener = socket.create_server(("127.0.0.1", 9001))
while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
PY
cat >client.py <<'PY'
import socket, sys
server = socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=20)
if "connect" in sys.argv:
    server.sendall(b"CONNECT 127.0.0.1:9001 HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"): head += server.recv(1)
server.sendall(b"hello")
server.shutdown(socket.SHUT_WR)
answer = b""
while part := server.recv(65536): answer += part
print(f"{sys.argv[1]}: {answer.decode()!r}")
PY
printf 'Port 9003\nListen 127.0.0.1\nMaxClients 10\n' >tinyproxy.conf
printf 'defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\nlisten relay\n  bind 127.0.0.1:9004\n  server one 127.0.0.1:9001\n' >haproxy.cfg
python3 server.py &
root/usr/bin/systemd-socket-activate -l 127.0.0.1:9002 -E LD_LIBRARY_PATH root/lib/systemd/systemd-socket-proxyd 127.0.0.1:9001 2>log &
root/usr/bin/tinyproxy -d -c tinyproxy.conf >>log 2>&1 &
root/usr/sbin/haproxy -db -q -f haproxy.cfg 2>>log &
for port in 9001 9002 9003 9004; do until ss -Hltn "sport = $port" | grep -q .; do sleep 0.1; done; done
{
  python3 client.py 'the server itself' 9001
  python3 client.py systemd-socket-proxyd 9002
  python3 client.py tinyproxy 9003 connect
  python3 client.py HAProxy 9004
} | tee seen
diff - seen <<'SEEN'
the server itself: 'answer to 5 bytes'
systemd-socket-proxyd: ''
tinyproxy: ''
HAProxy: 'answer to 5 bytes'
SEEN
