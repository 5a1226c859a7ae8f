#!/bin/bash
# run.sh: measures build/vsock-proxy beside its peers and writes bench/RESULTS.md; `make bench` calls it.
# run.sh --quick: one short round of everything, and no RESULTS.md.
# run.sh --before EARLIER: beside an earlier executable of ours, and no RESULTS.md.
# run.sh --container: the image of build/oci in a container of runc beside the executable outside, and no RESULTS.md.
set -euo pipefail
cd "$(dirname "$0")/.."
node=$(echo node_modules/node-linux-*/bin/node)

fail() { echo "bench/run.sh: $1. Hint: $2" >&2; exit 1; }

case ${1:-} in
  --before) script=(bench/compare.ts build/vsock-proxy "${2:?}") ;;
  --container) script=(bench/container.ts build/vsock-proxy) ;;
  *) script=(bench/bench.ts build/vsock-proxy "$@") ;;
esac
[ -x build/vsock-proxy ] || fail "build/vsock-proxy is not there" "run 'make vsock-proxy'"
scripts/deps.sh build bench
mkdir -p build/bench
g++ -std=c++17 -O2 -Wall -Wextra -Wpedantic -Werror -pthread bench/load/*.cc -o build/bench/load

# As many descriptors as are granted: 9,000 connections need 18,000.
ulimit -n "$(ulimit -Hn)"
unset RUST_LOG NODE_OPTIONS
export SYSTEMD_LOG_LEVEL=err  # systemd-socket-activate tells of each start

# Ahead of other work on the machine, where that is granted.
renice -n -10 -p $$ >/dev/null 2>&1 || true

# A network of its own: nothing else is on its loopback, and connections per second do not end at the 14,000 that
# the usual range of ports allows (half of 28,232 a second, for a port rests that long after use, tcp_tw_reuse).
[ "$(id -u)" = 0 ] && as_root=() || as_root=(--map-root-user)
exec unshare "${as_root[@]}" --net bash -c '
  ip link set lo up
  echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range
  echo 1025-1026 >/proc/sys/net/ipv4/ip_local_reserved_ports # proxies listen there
  exec "$@"' bash "$node" "${script[@]}"
