#!/bin/bash
# shadow-utils 4.13 (passwd 1:4.13+dfsg1-1+deb12u2, Debian 12, amd64): what an interrupted groupadd leaves, no later call mends.
#
# Guess:  `getent group G || groupadd G`, as packages and provisioning write it, ends in the same state whenever it was
#         interrupted before: groupadd removes the lock of a process that there is no more.
# Really: the lock, yes. But group(5) and gshadow(5) change one after the other. After an interruption between the two, the group
#         is there and has no line in gshadow; groupadd and usermod --append leave it so. groupmod --password writes
#         the line. And the file with the number of the process, of which the lock is a link, stays for good.
#
# The interruption is that of an instance that stops: SIGKILL, at the system call that is named.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq -o APT::Sandbox::User=root passwd=1:4.13+dfsg1-1+deb12u2 strace=6.1-0.1 libunwind8=1.6.2-3
for package in *.deb; do dpkg-deb --extract "$package" root; done
export LD_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu
bin=root/usr/sbin
begin() { # a machine with one user
  rm -rf machine
  mkdir -p machine/etc
  echo 'user:x:1000:1000::/:/bin/sh' >machine/etc/passwd
  echo 'user:!:19000::::::' >machine/etc/shadow
  echo 'user:x:1000:' >machine/etc/group
  echo 'user:!::' >machine/etc/gshadow
}
interrupted_at() { # a system call, and which one of them
  root/usr/bin/strace --quiet=all --output=/dev/null --trace="$1" --inject="$1:signal=KILL:when=$2" \
    $bin/groupadd --prefix "$work/machine" --gid 900 ne || echo "  groupadd: interrupted"
} 2>&-
show() {
  echo "  group: $(grep ^ne: machine/etc/group || echo none), gshadow: $(grep ^ne: machine/etc/gshadow || echo none)"
  echo "  beside them:$(find machine/etc -name '*.*' -printf ' %f\n' | sort | sed 's/[0-9]\+/PID/' | tr -d '\n')"
}
{
  echo 'at the second rename(2):'
  begin
  interrupted_at rename 2
  show
  echo 'the same, and usermod:'
  $bin/usermod --prefix "$work/machine" --append --groups ne user
  show
  echo 'and groupadd:'
  $bin/groupadd --prefix "$work/machine" --gid 900 ne 2>&1 | sed 's/^/  /' || true
  show
  echo 'and groupmod --password:'
  $bin/groupmod --prefix "$work/machine" --password '!' ne
  show
  echo 'at the first link(2), and groupadd again:'
  begin
  interrupted_at link 1
  $bin/groupadd --prefix "$work/machine" --gid 900 ne
  show
} | tee seen
diff - seen <<'SEEN'
at the second rename(2):
  groupadd: interrupted
  group: ne:x:900:, gshadow: none
  beside them: gshadow.lock
the same, and usermod:
  group: ne:x:900:user, gshadow: none
  beside them:
and groupadd:
  groupadd: group 'ne' already exists
  group: ne:x:900:user, gshadow: none
  beside them:
and groupmod --password:
  group: ne:x:900:user, gshadow: ne:!::user
  beside them:
at the first link(2), and groupadd again:
  groupadd: interrupted
  group: ne:x:900:, gshadow: ne:!::
  beside them: group.PID
SEEN
