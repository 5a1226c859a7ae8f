#!/bin/sh
# workshop.sh FORWARDER...: what the workshop's image starts with, line by line, with FORWARDER in the place of its script.
set -e
ip address add 127.0.0.1/32 dev lo
ip link set dev lo up
echo '127.0.0.1 ip-ranges.amazonaws.com' >>/etc/hosts
"$@" 127.0.0.1 443 3 8001 &
exec python3 "$(dirname "$0")/workshop.py" server 5005
