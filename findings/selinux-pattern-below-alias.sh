#!/bin/bash
# libselinux 3.4, selinux-policy-default 2.20221101 (Debian 12, amd64): a label for a path below an alias is never given.
#
# Guess:  the pattern `/var/run/proxy(/.*)?` of a policy module matches the file /var/run/proxy/socket, whose path it spells.
# Really: file_contexts.subs_dist of the policy says that /var/run is /run. The path that is looked up is rewritten by it, the
#         patterns are not, so this one matches nothing, under either path, and what compiles it says nothing. Policies differ in
#         the direction: a module for several of them needs both patterns.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq -o APT::Sandbox::User=root selinux-utils=3.4-1+b6 libselinux1=3.4-1+b6 libsepol2=3.4-2.1 \
  libpcre2-8-0=10.42-1+deb12u2 selinux-policy-default=2:2.20221101-9
for package in *.deb; do dpkg-deb --extract "$package" root; done
export LD_LIBRARY_PATH=root/lib/x86_64-linux-gnu:root/usr/lib/x86_64-linux-gnu
look_up() { echo "$1 $(root/usr/sbin/selabel_lookup -b file -f contexts -k "$1" -t file)"; }
printf '%s(/.*)?\tsystem_u:object_r:%s_t:s0\n' /run run /var/run var_run /var/run/proxy proxy >contexts
{
  root/usr/sbin/sefcontext_compile contexts && echo compiled
  look_up /var/run/proxy/socket
  cp root/etc/selinux/default/contexts/files/file_contexts.subs_dist contexts.subs_dist
  grep '^/var/run ' contexts.subs_dist
  look_up /var/run/proxy/socket
  look_up /run/proxy/socket
} 2>&1 | tee seen
diff - seen <<'SEEN'
compiled
/var/run/proxy/socket Default context: system_u:object_r:proxy_t:s0
/var/run /run
/var/run/proxy/socket Default context: system_u:object_r:run_t:s0
/run/proxy/socket Default context: system_u:object_r:run_t:s0
SEEN
