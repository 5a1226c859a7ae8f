#!/bin/bash
# image.sh: makes what the test machines boot from, and prints the directory that holds it.
#
#   vmlinuz              Debian's cloud kernel; NVMe and ext4 are built in, so it needs no initramfs
#   root.img             Debian with systemd, ssh and the tools that scenarios use; image/ is copied over it
#   modules/, busybox    what enclave/build.sh makes the nested enclave from
#   vhost-device-vsock   gives a machine a vsock device with any CID, in user space
#   key, known_hosts     to log in with ssh, and to know that it is our machine that answers
#
# The directory is .cache/e2e/image-<hash>, where the hash covers this script and image/: nothing is made twice.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../.cache/e2e
suite=bookworm
packages=systemd,systemd-sysv,dbus,udev,kmod,iproute2,procps,util-linux,openssh-server
packages+=,python3,openssl,socat,curl,rpm,dnf,qemu-system-x86,gnupg,cloud-init,runc

fail() { echo "image.sh: $1. Hint: $2" >&2; exit 1; }
say() { echo "image.sh: $1" >&2; }

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
key=$(cd "$here" && find image.sh image -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16)
image=$cache/image-$key

exec 9>"$cache/lock"
flock 9 # two runs that start together make it once
find "$cache" -maxdepth 1 -name 'image-*' -mtime +7 -exec rm -rf {} + # no run used them for a week
if [ -e "$image" ]; then touch "$image"; echo "$image"; exit; fi

[ "$(uname -m)" = x86_64 ] || fail "test machines are x86_64, this machine is $(uname -m)" "run it on an x86_64 machine"
[ "$(id -u)" = 0 ] || fail "making the image takes root (it unpacks a root file system)" "run 'sudo tests/e2e/image.sh' once"
command -v mmdebstrap >/dev/null || fail "mmdebstrap is not installed" "run 'scripts/deps.sh e2e'"
find_mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 'Created-By: Packages' | sed -n 1p
}
mirror=$(find_mirror)
[ -n "$mirror" ] || { apt-get -qq update >&2 && mirror=$(find_mirror); } # apt tells nothing of an archive whose lists it has not
[ -n "$mirror" ] || fail "apt on this machine names no Debian mirror" "add one below /etc/apt/sources.list.d"

started=$SECONDS
rm -rf --one-file-system "$cache"/work.* # of runs that were killed
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 755 "$work"

# A view of Debian that leaves the machine's own apt sources and lists alone.
mkdir -p "$work"/apt/{lists,cache/archives}/partial
for s in $suite sid; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $s main"
done >"$work/apt/sources.list"
view() {
  local command=$1; shift
  "$command" -qq -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::status=/dev/null \
    -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Default-Release=$suite -o APT::Sandbox::User=root "$@"
}
# unpack PACKAGE SUITE DIRECTORY
unpack() {
  (cd "$work/apt" && view apt-get download "$1/$2" && dpkg -x "$1"_*.deb "$3") 2>"$work/log" ||
    fail "cannot fetch $1 from $mirror: $(tail -n1 "$work/log")" "check the network"
}

say "fetching packages (Debian $suite; vhost-device-vsock from sid)"
view apt-get -o APT::Update::Error-Mode=any update 2>"$work/log" ||
  fail "cannot read the package lists of $mirror: $(tail -n1 "$work/log")" "check the network"
kernel=$(view apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n1)
unpack "$kernel" $suite "$work/kernel"
unpack busybox-static $suite "$work/busybox"
unpack vhost-device-vsock sid "$work/vhost"
"$work/vhost/usr/bin/vhost-device-vsock" --version >/dev/null ||
  fail "vhost-device-vsock of Debian sid does not run here" "it may need a newer Debian than this machine's"

say "unpacking the root file system"
root=$work/root
mmdebstrap --quiet --variant=minbase --mode=root --include=$packages \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  $suite "$root" "$mirror" 2>"$work/log" || fail "mmdebstrap failed: $(tail -n1 "$work/log")" "check the network"
cp -a "$work/kernel/lib/modules" "$root/lib/"
cp "$work"/kernel/boot/vmlinuz-* "$root/boot/vmlinuz"
depmod -b "$root" "$(ls "$root/lib/modules")"
cp -r --no-preserve=ownership "$here/image/." "$root/"
chroot "$root" systemctl --quiet enable network ready ssh
chroot "$root" systemctl --quiet mask getty@tty1 serial-getty@ttyS0 systemd-logind fstrim.timer e2scrub_reap e2scrub_all.timer \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer dnf-makecache.timer
# They make nothing here, and cost each boot and each daemon-reload half of its time.
mkdir -p "$root/etc/systemd/system-generators"
for generator in "$root"/lib/systemd/system-generators/*; do
  ln -s /dev/null "$root/etc/systemd/system-generators/$(basename "$generator")"
done
echo parent >"$root/etc/hostname"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id" # without one, systemd takes each boot for the first
: >"$root/etc/fstab"
ssh-keygen -q -t ed25519 -N '' -C e2e -f "$work/key"
install -D -m600 "$work/key.pub" "$root/root/.ssh/authorized_keys"
sed 's/^/parent /' "$root/etc/ssh/ssh_host_ed25519_key.pub" >"$work/known_hosts"

say "writing the image"
mkdir "$work/image"
mke2fs -q -t ext4 -O ^has_journal -m0 -d "$root" "$work/image/root.img" 2G >/dev/null
mv "$work/kernel/boot"/vmlinuz-* "$work/image/vmlinuz"
mv "$root/lib/modules" "$work/busybox/bin/busybox" "$work/vhost/usr/bin/vhost-device-vsock" \
  "$work/key" "$work/known_hosts" "$work/image/"
chown -R --reference="$here" "$work/image" "$cache/lock" # whose checkout it is can use it without being root
mv "$work/image" "$image"
say "made $image in $((SECONDS - started)) s"
echo "$image"
