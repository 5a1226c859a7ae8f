#!/bin/bash
# release.sh VERSION: checks, tests, builds and tags a release. Afterwards build/release has the packages and the static programs
# for both machines, with checksums. Nothing is published or pushed. RELEASE_TESTS=no leaves the tests out, for a dry run.
set -euo pipefail
version=$1
# Each make below chooses its number of jobs itself, and not by what the make that runs this script can share.
unset MAKEFLAGS MFLAGS MAKELEVEL
fail() { echo "release.sh: $1. Hint: $2" >&2; exit 1; }

[ -z "$(git status --porcelain)" ] || fail 'the working tree has changes' 'commit or remove them'
grep -q "^## \[$version\]" CHANGELOG.md || fail "CHANGELOG.md has no section [$version]" 'rename "Unreleased", with the date'
if git rev-parse -q --verify "refs/tags/v$version" >/dev/null; then fail "the tag v$version is there" 'raise "version" in package.json'; fi
git var GIT_COMMITTER_IDENT >/dev/null 2>&1 || fail 'git does not know who tags' 'git config user.name NAME and user.email ADDRESS'
[ "${RELEASE_TESTS:-yes}" = no ] || make test

out=build/release
rm -rf "$out"
mkdir -p "$out"
for arch in x86_64 aarch64; do
  make rpm ARCH=$arch
  folder=build
  [ "$arch" = "$(uname -m)" ] || folder=build/$arch
  for part in '' -selinux -enclave; do cp "build/nitro-enclaves-vsock-proxy$part-$version-1.$arch.rpm" "$out/"; done
  for program in vsock-forwarder vsock-enclave; do cp "$folder/$program" "$out/$program-$version.$arch"; done
done
(cd "$out" && sha256sum -- * >SHA256SUMS)
[ -z "$(git status --porcelain)" ] || fail 'the tests or the build changed the working tree' 'see git status'
git tag -a "v$version" -m "vsock-proxy $version"
echo "v$version is tagged; the artefacts are in $out:"
cat "$out/SHA256SUMS"
