#!/bin/bash
# build.sh DIRECTORY MACHINE RPM...: fills the directory with what the test of the service installs: these packages, and stand-ins
# for those of Amazon Linux and for AWS's package. `make e2e-packages` calls it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$1"
mkdir -p "$1"
cp "${@:3}" "$1"
directory=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build NAME RELEASE
build() {
  rpmbuild -bb --quiet --define "_topdir $work" --define "_rpmdir $directory" --define '_rpmfilename %{name}-%{release}.rpm' \
    --define "release_number $2" --define "provides $work/provides" "$here/$1.spec" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
}

awk -v machine="$2" '
  /^#/ || !NF { next }
  $1 == "any" { for (i = 2; i <= NF; i++) print "Provides: " $i; next }
  $1 == machine { print "Provides: " $2 "()(64bit)"; for (i = 3; i <= NF; i++) print "Provides: " $2 "(" $i ")(64bit)" }
' "$here/amazon-linux-2023.txt" >"$work/provides"
build amazon-linux 1
build aws-nitro-enclaves-cli 1
build aws-nitro-enclaves-cli 2
