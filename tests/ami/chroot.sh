#!/bin/bash
# chroot.sh SUITE: makes a root directory of Debian SUITE with the tools that tests/ami needs of it, and prints its path.
#
#   bookworm     dnf 4 with rpm 4, as Amazon Linux 2023 has them
#   sid          dnf 5 with rpm 6, as Amazon Linux 2027 has them
#   sid-rpmlint  rpmlint with rpm 6
#   trixie       moto, which answers as AWS does, the AWS CLI, and dnf 4
#
# It is .cache/chroots/SUITE-<hash>, where the hash covers the suite, its packages and the recipe: nothing is made twice. Tests never
# write to it.
set -euo pipefail
suite=$1
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../.cache/chroots

packages=rpm,systemd,passwd,gnupg,curl,ca-certificates,strace
case $suite in
  bookworm) packages+=,dnf ;;
  trixie) packages+=,dnf,awscli,python3-moto,python3-flask,python3-flask-cors,python3-openapi-spec-validator ;;
  sid) packages+=,dnf5 ;;
  sid-rpmlint) packages=rpm,rpmlint,binutils ;;
esac

fail() { echo "chroot.sh: $1. Hint: $2" >&2; exit 1; }

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
root=$cache/$suite-$(sha256sum <<<"$suite $packages, recipe 1" | cut -c1-16)

exec 9>"$cache/lock.$suite"
flock 9 # two runs that start together make it once
find "$cache" -maxdepth 1 -name "$suite-*" ! -path "$root" -mtime +7 -exec rm -rf --one-file-system {} + # of older scripts
if [ -e "$root" ]; then echo "$root"; exit; fi

[ "$(id -u)" = 0 ] || fail "making a root directory takes root" "run 'sudo tests/ami/chroot.sh $suite' once"
command -v mmdebstrap >/dev/null || fail "mmdebstrap is not installed" "run 'scripts/deps.sh ami'"
find_mirror() {
  # shellcheck disable=SC2016 # it is apt that fills it in
  apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 'Created-By: Packages' | sed -n 1p
}
mirror=$(find_mirror)
[ -n "$mirror" ] || { apt-get -qq update >&2 && mirror=$(find_mirror); } # apt tells nothing of an archive whose lists it has not
[ -n "$mirror" ] || fail "apt on this machine names no Debian mirror" "add one below /etc/apt/sources.list.d"

started=$SECONDS
echo "chroot.sh: unpacking Debian $suite" >&2
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
# The lists of sid may be past their date at a mirror. Without eatmydata, dpkg waits for the disk at each file, which takes most of
# the time.
mmdebstrap --quiet --variant=minbase --mode=root --include=$packages --aptopt='Acquire::Check-Valid-Until "false"' \
  --hook-dir=/usr/share/mmdebstrap/hooks/eatmydata \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  "${suite%-*}" "$work/root" "$mirror" 2>"$work/log" || fail "mmdebstrap failed: $(tail -n1 "$work/log")" "check the network"
mv "$work/root" "$root"
echo "chroot.sh: made $root in $((SECONDS - started)) s" >&2
echo "$root"
