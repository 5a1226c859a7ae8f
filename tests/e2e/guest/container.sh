#!/bin/sh
# container.sh COMMAND...: runs it as container engines do, on an overlayfs of its own with a /dev/shm where nothing can be
# executed, and a root that is read-only when READ_ONLY is set. Before Linux 6.2, overlayfs knows no files without a name
# (O_TMPFILE of open(2)).
set -eu
if [ "${1-}" != --inside ]; then exec unshare --mount sh "$0" --inside "$@"; fi
shift
place=/run/container
mkdir -p $place
mount -t tmpfs none $place
mkdir $place/upper $place/work $place/root
mount -t overlay overlay -o lowerdir=/,upperdir=$place/upper,workdir=$place/work $place/root
cd $place/root
mount -t proc none proc
mount -t tmpfs none dev
mknod -m 666 dev/null c 1 3
mkdir dev/shm
mount -t tmpfs -o noexec,nodev,nosuid none dev/shm
mount --bind /mnt/project mnt/project
if [ -n "${READ_ONLY-}" ]; then
  for path in . dev dev/shm; do mount -o remount,bind,ro $path; done
fi
exec chroot . "$@"
