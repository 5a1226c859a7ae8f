#!/bin/bash
# quickjs.sh DIRECTORY: unpacks QuickJS there, the JavaScript engine of vsock-enclave. Debian has the source in its archive; apt reaches
# it by this machine's own mirror, whatever release that is of, and checks it by the sum below.
set -euo pipefail
version=2025.04.26
sha256=ec81da5b3249ed648dbc7df4a1654988910e66a118d9b71cb63534216efcfbbe
path=pool/main/q/quickjs/quickjs_$version.orig.tar.xz

directory=$1
tarball=.cache/${path##*/}

fail() { echo "quickjs.sh: $1. Hint: $2" >&2; exit 1; }

find_mirror() {
  # shellcheck disable=SC2016 # it is apt that fills it in
  apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 'Created-By: Packages' | sed -n 1p
}

if ! sha256sum --check --status <<<"$sha256  $tarball" 2>/dev/null; then
  mirror=$(find_mirror)
  [ -n "$mirror" ] || { apt-get -qq update >&2 && mirror=$(find_mirror); } # apt tells nothing of an archive whose lists it has not
  [ -n "$mirror" ] || fail "apt on this machine names no Debian mirror" "add one below /etc/apt/sources.list.d"
  mkdir -p .cache
  /usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file "${mirror%/}/$path" "$tarball" "SHA256:$sha256" >&2 ||
    fail "$path could not be fetched" "put that file of Debian's archive, or of snapshot.debian.org, into .cache/"
fi
rm -rf "$directory"
mkdir -p "$directory"
tar -xJf "$tarball" -C "$directory" --strip-components=1
