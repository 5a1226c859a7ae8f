#!/bin/bash
# rpm 4.18.0 (Debian 12, amd64): %config(noreplace) does not protect a file that an earlier package of the same transaction made.
#
# Guess:  package "list" has a file as %config(noreplace). Where another file is in its place already, that file stays, and the
#         package's goes beside it as .rpmnew. So it does not matter whether "list" comes together with "proxy", whose %post makes a
#         first version of the file, or later.
# Really: what becomes of each file is decided before the first package of the transaction is installed. Together, the file that
#         %post made a moment ago is replaced, and nothing tells so: no .rpmnew, no .rpmorig. One after the other, it stays. An
#         installation that is interrupted between the two and run again ends like the second way, with other contents.
#
# It needs root, because rpm enters the directory into which it installs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq -o APT::Sandbox::User=root rpm=4.18.0+dfsg-1+deb12u1 rpm-common=4.18.0+dfsg-1+deb12u1 \
  librpm9=4.18.0+dfsg-1+deb12u1 librpmbuild9=4.18.0+dfsg-1+deb12u1 librpmio9=4.18.0+dfsg-1+deb12u1 \
  librpmsign9=4.18.0+dfsg-1+deb12u1 liblua5.3-0=5.3.6-2
for package in *.deb; do dpkg-deb --extract "$package" root; done
export LD_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu:root/lib/x86_64-linux-gnu RPM_CONFIGDIR=$work/root/usr/lib/rpm
package() { # NAME, another field, %post, %files
  printf '%s\n' "Name: $1" 'Version: 1' 'Release: 1' "Summary: $1" 'License: none' 'BuildArch: noarch' "$2" '%description' "$1" \
    '%install' 'mkdir -p %{buildroot}/etc/proxy' 'echo "of the package list" >%{buildroot}/etc/proxy/list' \
    "$3" '%files' "$4" >"$1.spec"
  root/usr/bin/rpmbuild -bb --quiet --define "_topdir $work/build" "$1.spec"
}
package proxy '' '%post -p <lua>
local file = io.open("/etc/proxy/list", "r")
if not file then
  file = io.open("/etc/proxy/list", "w")
  file:write("of proxy, by %post\n")
  print("  %post of proxy makes the list")
end
file:close()' '%exclude /etc/proxy/list
%dir /etc/proxy'
package list 'Requires: proxy' '' '%config(noreplace) /etc/proxy/list'
show() { for file in "$1"/etc/proxy/*; do echo "  ${file##*/}: $(cat "$file")"; done; }
install() { root/usr/bin/rpm --root "$work/$1" --force-debian --install "${@:2}" 2>&1; }
proxy=build/RPMS/noarch/proxy-1-1.noarch.rpm list=build/RPMS/noarch/list-1-1.noarch.rpm
{
  mkdir together one-by-one
  echo 'in one transaction:'
  install together $proxy $list
  show together
  echo 'in two:'
  install one-by-one $proxy
  install one-by-one $list
  show one-by-one
} | tee seen
diff - seen <<'SEEN'
in one transaction:
  %post of proxy makes the list
  list: of the package list
in two:
  %post of proxy makes the list
warning: /etc/proxy/list created as /etc/proxy/list.rpmnew
  list: of proxy, by %post
  list.rpmnew: of the package list
SEEN
