#!/bin/bash
# image.sh [MACHINE SUITE KERNEL [engines|peers]]: makes what test machines boot from, and prints the directory that holds it.
#
#   MACHINE   x86_64 (unless told) or aarch64
#   SUITE     of Debian: what the root file system is made of; bookworm unless told
#   KERNEL    the suite whose cloud kernel it is; SUITE unless told
#   engines   with container engines
#   peers     with proxies that ours is measured beside
#
#   vmlinuz              the kernel; NVMe and ext4 are built in, so it needs no initramfs
#   root.img             Debian with systemd, ssh and the tools that scenarios use; image/ is copied over it. Where SELinux's
#                        policy is in it, files have their labels; whether it is in force, the kernel's arguments say
#   modules/, busybox    what enclave/build.sh makes the nested enclave from
#   vhost-device-vsock   gives a machine a vsock device with any CID, in user space: a program of this machine
#   key, known_hosts     to log in with ssh, and to know that it is our machine that answers
#
# The directory is .cache/e2e/image-<hash>, where the hash covers the arguments, this script and image/: nothing is made twice.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../.cache/e2e
machine=${1:-x86_64}
suite=${2:-bookworm}
kernel_suite=${3:-$suite}
extra=${4:-}

packages=systemd,systemd-sysv,dbus,udev,kmod,iproute2,procps,util-linux,openssh-server,python3,openssl,socat,curl,rpm,gnupg,runc
selinux=,policycoreutils,selinux-utils
case $suite in
  bookworm) packages+=,dnf ;;
  trixie) packages+=,dnf ;;
  sid) packages+=,dnf5$selinux ;;
esac
if [ "$machine" = x86_64 ] && [ "$suite" = bookworm ] && [ "$kernel_suite" = bookworm ]; then
  packages+=,qemu-system-x86,cloud-init$selinux # for the files of tests that run on nothing else
fi
case $extra in
  engines)
    packages+=,docker.io,containerd,podman,crun,netavark,catatonit,aardvark-dns,nftables,iptables,apparmor
    [ "$suite" = bookworm ] || packages+=,docker-cli ;;
  peers) packages+=,haproxy,ncat ;;
esac
debian_machine=$(sed 's/x86_64/amd64/; s/aarch64/arm64/' <<<"$machine")

fail() { echo "image.sh: $1. Hint: $2" >&2; exit 1; }
say() { echo "image.sh: $1" >&2; }

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
key=$(cd "$here" && { echo "$machine $suite $kernel_suite $extra"; find image.sh image -type f | LC_ALL=C sort | xargs sha256sum; } | sha256sum | cut -c1-16)
image=$cache/image-$key

exec 9>"$cache/lock"
flock --shared 9
find "$cache" -maxdepth 1 -name 'image-*' -mtime +7 -exec rm -rf {} + # no run used them for a week
exec 8>"$cache/lock.$machine-$suite-$kernel_suite$extra"
flock 8 # two runs that start together make it once
if [ -e "$image" ]; then touch "$image"; echo "$image"; exit; fi

[ "$(uname -m)" = x86_64 ] || fail "test machines are made on x86_64, this machine is $(uname -m)" "run it on an x86_64 machine"
[ "$(id -u)" = 0 ] || fail "making the image takes root (it unpacks a root file system)" "run 'sudo tests/e2e/image.sh $*' once"
command -v mmdebstrap >/dev/null || fail "mmdebstrap is not installed" "run 'scripts/deps.sh e2e'"
find_mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 'Created-By: Packages' | sed -n 1p
}
mirror=$(find_mirror)
[ -n "$mirror" ] || { apt-get -qq update >&2 && mirror=$(find_mirror); } # apt tells nothing of an archive whose lists it has not
[ -n "$mirror" ] || fail "apt on this machine names no Debian mirror" "add one below /etc/apt/sources.list.d"

started=$SECONDS
rm -rf --one-file-system "$cache/work.$machine-$suite-$kernel_suite$extra".* # of runs that were killed
work=$(mktemp -d "$cache/work.$machine-$suite-$kernel_suite$extra.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 755 "$work"

# view MACHINE COMMAND...: of apt, on Debian, leaving the machine's own sources and lists alone. The lists of sid may be past
# their date at a mirror.
view() {
  local of=$1 command=$2; shift 2
  "$command" -qq -o Dir::Etc::sourcelist="$work/apt/$of/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::status=/dev/null \
    -o Dir::State::Lists="$work/apt/$of/lists" -o Dir::Cache="$work/apt/$of/cache" -o APT::Sandbox::User=root \
    -o Acquire::Check-Valid-Until=false -o APT::Architecture="$of" -o APT::Architectures::="$of" "$@"
}
# look MACHINE SUITE...: reads the lists of packages
look() {
  local of=$1; shift
  mkdir -p "$work/apt/$of"/{lists,cache/archives}/partial
  printf "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror %s main\n" "$@" >"$work/apt/$of/sources.list"
  view "$of" apt-get -o APT::Update::Error-Mode=any update 2>"$work/log" ||
    fail "cannot read the package lists of $mirror: $(tail -n1 "$work/log")" "check the network"
}
# unpack MACHINE PACKAGE SUITE DIRECTORY
unpack() {
  (cd "$work/apt" && view "$1" apt-get download "$2/$3" && dpkg -x "$2"_*.deb "$4" && rm "$2"_*.deb) 2>"$work/log" ||
    fail "cannot fetch $2 from $mirror: $(tail -n1 "$work/log")" "check the network"
}

say "fetching packages (Debian $suite for $machine, kernel of $kernel_suite; vhost-device-vsock from sid)"
look "$debian_machine" "$kernel_suite"
# What the kernel's package leads to: the kernel itself and its modules, which are packages of their own in newer suites.
mapfile -t kernel < <(view "$debian_machine" apt-get install --simulate --no-install-recommends "linux-image-cloud-$debian_machine" |
  sed -n 's/^Inst \(linux-\(base\|image\|binary\|modules\)-[0-9][^ ]*\) .*/\1/p')
[ ${#kernel[@]} -gt 0 ] || fail "Debian $kernel_suite has no cloud kernel for $machine" "see linux-image-cloud-$debian_machine"
for package in "${kernel[@]}"; do unpack "$debian_machine" "$package" "$kernel_suite" "$work/kernel"; done
vmlinuz=$(find "$work/kernel" -name 'vmlinuz*' -type f | head -n1)
modules=$(find "$work/kernel" -path '*/lib/modules' -type d)
rm -rf "$work/apt/$debian_machine"
look amd64 bookworm sid
unpack amd64 busybox-static bookworm "$work/busybox"
unpack amd64 vhost-device-vsock sid "$work/vhost"
"$work/vhost/usr/bin/vhost-device-vsock" --version >/dev/null ||
  fail "vhost-device-vsock of Debian sid does not run here" "it may need a newer Debian than this machine's"

say "unpacking the root file system"
root=$work/root
# foreign COMMAND...: runs it where the kernel executes programs of the test machine by an emulator; in a user namespace of
# its own, whose binfmt_misc (since Linux 6.7) is nobody else's.
foreign() {
  if [ "$machine" = x86_64 ]; then "$@"; return; fi
  mkfifo "$work"/{unshared,mapped}
  # It is root there once its users are mapped, and has root's capabilities with the next program that it executes.
  unshare --user --mount bash -c 'echo >"$0/unshared"; read -r <"$0/mapped"; exec bash -euc "$@"' "$work" '
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    magic="\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    mask="\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
    echo ":aarch64:M::$magic:$mask:$(type -P qemu-aarch64-static):F" >/proc/sys/fs/binfmt_misc/register
    exec "$@"' bash "$@" &
  read -r <"$work/unshared"
  echo '0 0 65536' >"/proc/$!/uid_map"
  echo '0 0 65536' >"/proc/$!/gid_map"
  echo >"$work/mapped"
  wait $!
}
# Without eatmydata, dpkg waits for the disk at each file, which takes most of the time.
foreign mmdebstrap --quiet --variant=minbase --mode=root --architectures="$debian_machine" --include=$packages \
  --hook-dir=/usr/share/mmdebstrap/hooks/eatmydata \
  --aptopt='Acquire::Check-Valid-Until "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$suite" "$root" "$mirror" 2>"$work/log" || fail "mmdebstrap failed: $(tail -n1 "$work/log")" "check the network"
cp -a "$modules" "$root/lib/"
cp "$vmlinuz" "$root/boot/vmlinuz"
depmod -b "$root" "$(ls "$root/lib/modules")"
cp -r --no-preserve=ownership "$here/image/." "$root/"
# systemctl of this machine: the other may be for another processor. That of ssh would not do, and is enabled by its package.
systemctl --quiet --root="$root" enable network ready
systemctl --quiet --root="$root" mask getty@tty1 serial-getty@ttyS0 serial-getty@ttyAMA0 systemd-logind fstrim.timer e2scrub_reap e2scrub_all.timer \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer dnf-makecache.timer dnf5-makecache.timer
rm -f "$root/etc/dnf/libdnf5-plugins/local.conf" # it wants createrepo_c, and dnf5 fails without
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
if [[ $packages = *$selinux* ]]; then
  # Not by apt: as its package is set up, sid's turns off a module that it has not, and fails.
  look amd64 "$suite"
  unpack amd64 selinux-policy-default "$suite" "$root"
  printf 'SELINUX=enforcing\nSELINUXTYPE=default\n' >"$root/etc/selinux/config"
  cd "$root/usr/share/selinux/default"
  if [ "$suite" = sid ]; then
    # With all of its modules, a change of the policy takes an emulated machine a minute and a half.
    policy=(base.pp.bz2 unconfined.pp.bz2 ssh.pp.bz2 xserver.pp.bz2 xdg.pp.bz2 ../rpm.cil)
  else
    policy=(*.pp.bz2)
  fi
  cd "$here"
  unshare --mount sh -ec '
    mount -t proc none "$0/proc"
    exec chroot "$0" sh -ec "
      cd /usr/share/selinux/default
      semodule -X 100 -n -s default --install \$*
      setfiles -F /etc/selinux/default/contexts/files/file_contexts /" sh "$@"' "$root" "${policy[@]}" >"$work/log" 2>&1 ||
    fail "SELinux cannot be set up: $(tail -n1 "$work/log")" "labels take a file system that keeps security.selinux"
fi

say "writing the image"
mkdir "$work/image"
mke2fs -q -t ext4 -O ^has_journal -m0 -d "$root" "$work/image/root.img" 3G >/dev/null
mv "$vmlinuz" "$work/image/vmlinuz"
mv "$root/lib/modules" "$work/busybox/bin/busybox" "$work/vhost/usr/bin/vhost-device-vsock" \
  "$work/key" "$work/known_hosts" "$work/image/"
chown -R --reference="$here" "$work/image" "$cache"/lock* # whose checkout it is can use it without being root
mv "$work/image" "$image"
say "made $image in $((SECONDS - started)) s"
echo "$image"
