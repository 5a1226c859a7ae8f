#!/bin/bash
# libraries.sh ARCH DIRECTORY: collects the libraries of Debian 12 that the executable needs (ARCH: amd64 or arm64), and
# Debian's record of them.
#
# The packages come from this machine's sources of Debian, in the newest version there; apt verifies their signatures.
# The installed packages and apt's state do not change.
set -euo pipefail

arch=$1 directory=$2
case $arch in
  amd64) triplet=x86_64-linux-gnu loader=lib64/ld-linux-x86-64.so.2 ;;
  arm64) triplet=aarch64-linux-gnu loader=lib/ld-linux-aarch64.so.1 ;;
  *) echo "libraries.sh: $arch is neither amd64 nor arm64" >&2; exit 2 ;;
esac
# Libraries have the names that the loader uses, without the version at the end.
files=(
  "libc6 lib/$triplet/${loader##*/}"
  "libc6 lib/$triplet/libc.so.6"
  "libc6 lib/$triplet/libdl.so.2"
  "libc6 lib/$triplet/libm.so.6"
  "libc6 lib/$triplet/libpthread.so.0"
  "libgcc-s1 lib/$triplet/libgcc_s.so.1"
  "libstdc++6 usr/lib/$triplet/libstdc++.so.6"
)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{state/lists,cache/archives}/partial "$work"/debs
: >"$work/state/status"
apt=(apt-get -qq -o "APT::Architecture=$arch" -o "APT::Architectures::=$arch" -o "APT::Sandbox::User=root"
  -o "Dir::State=$work/state" -o "Dir::State::status=$work/state/status" -o "Dir::Cache=$work/cache")
"${apt[@]}" update
(cd "$work/debs" && "${apt[@]}" download libc6 libgcc-s1 libstdc++6 gcc-12-base)

rm -rf "$directory"
mkdir -p "$directory/var/lib/dpkg/status.d"
for deb in "$work"/debs/*.deb; do
  package=$(dpkg-deb -f "$deb" Package)
  dpkg-deb -x "$deb" "$work/$package"
  [ "$package" = gcc-12-base ] && continue # the licence of the two that are made of GCC
  { echo 'Status: install ok installed'; dpkg-deb -f "$deb"; } >"$directory/var/lib/dpkg/status.d/$package"
done
for file in "${files[@]}"; do
  read -r package path <<<"$file"
  install -D -m 755 "$work/$package/$path" "$directory/$path"
done
mkdir -p "$directory/${loader%/*}"
ln -s "/lib/$triplet/${loader##*/}" "$directory/$loader"
install -D -m 644 "$work/libc6/usr/share/doc/libc6/copyright" "$directory/usr/share/doc/libc6/copyright"
install -D -m 644 "$work/gcc-12-base/usr/share/doc/gcc-12-base/copyright" "$directory/usr/share/doc/gcc-12-base/copyright"
