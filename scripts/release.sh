#!/bin/bash
# release.sh VERSION: checks, tests, builds and tags a release; the packages of both architectures, with checksums, are in
# build/release afterwards. Nothing is published. RELEASE_TESTS=no leaves the tests out, for a dry run.
set -euo pipefail
version=$1
fail() { echo "release.sh: $1. Hint: $2" >&2; exit 1; }

[ -z "$(git status --porcelain)" ] || fail 'the working tree has changes' 'commit or remove them'
grep -q "^## \[$version\]" CHANGELOG.md || fail "CHANGELOG.md has no section [$version]" 'rename "Unreleased", with the date'
if git rev-parse -q --verify "refs/tags/v$version" >/dev/null; then fail "the tag v$version is there" 'raise "version" in package.json'; fi
[ "${RELEASE_TESTS:-yes}" = no ] || make test

out=build/release
rm -rf "$out"
mkdir -p "$out"
for arch in x86_64 aarch64; do
  make rpm vsock-forwarder ARCH=$arch
  folder=build
  [ "$arch" = "$(uname -m)" ] || folder=build/$arch
  for part in '' -selinux -enclave; do cp "build/nitro-enclaves-vsock-proxy$part-$version-1.$arch.rpm" "$out/"; done
  cp "$folder/vsock-forwarder" "$out/vsock-forwarder-$version.$arch"
done
(cd "$out" && sha256sum -- * >SHA256SUMS)
git tag -a "v$version" -m "vsock-proxy $version"
echo "v$version is tagged; the artefacts are in $out:"
cat "$out/SHA256SUMS"
