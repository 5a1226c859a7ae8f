#!/bin/sh
# enclave.sh NAME COMMAND...: runs COMMAND as the first process of an enclave that shares the parent's kernel. It has vsock,
# which namespaces do not divide, one network link, which is down, and an /etc of its own. Nothing can be executed where the
# init process of an enclave's image mounts file systems. See inside.sh.
set -eu
name=$1
shift
etc=/run/e2e/$name.etc
rm -rf "$etc"
mkdir -p /run/e2e
cp -a /etc "$etc"
echo '127.0.0.1 localhost' >"$etc/hosts"
: >"$etc/resolv.conf"
echo $$ >"/run/e2e/$name.pid"
exec unshare --net --mount --pid --fork --kill-child --mount-proc sh -ec '
  mount --bind "$0" /etc
  for path in /tmp /dev/shm; do mount -t tmpfs -o nodev,nosuid,noexec none $path; done
  exec "$@"' "$etc" "$@"
