#!/bin/bash
# demo.sh: shows the main job on real vsock, on this machine if it can connect to itself, and otherwise on a virtual
# parent.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)

fail() { echo "demo.sh: $1. Hint: $2" >&2; exit 1; }
[ -x "$project/build/vsock-proxy" ] || fail "build/vsock-proxy is not there" "run 'make demo'"

# Without this transport a connection to CID 1 would leave the machine, so the script checks for it before it connects.
has_vsock_loopback() {
  [ "$(id -u)" = 0 ] && modprobe --quiet vsock_loopback 2>/dev/null && grep -q '^vsock_loopback ' /proc/modules
}

if has_vsock_loopback; then
  "$project/scripts/deps.sh" demo
  echo "On this machine, whose own CID is 1 by vsock_loopback:"
  echo
  unshare --net --mount python3 "$project/tests/e2e/guest/demo.py" "$project/build/vsock-proxy" 1
else
  echo "This machine has no vsock of its own to connect to (vsock_loopback, as root). On a virtual parent, whose CID is 3:"
  echo
  "$project/tests/e2e/run.sh" exec "$project/scripts/demo.ts"
fi
echo "The demo has succeeded."
