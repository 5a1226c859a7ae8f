#!/bin/bash
# runc 1.1.5, crun 1.8.1 (Debian 12, amd64): one seccomp profile gives two errnos for a system call that is newer than the profile.
#
# Guess:  a call that the profile does not list fails with defaultErrnoRet of the profile, here EPERM, in every runtime.
# Really: runc compares the number of the call with the highest one that the profile lists, and says ENOSYS for those above it,
#         whatever defaultErrnoRet says; crun says EPERM. A C library that takes ENOSYS as "use the older call" works with the
#         one and fails with the other, from the same config.json.
#
# It needs root, and gives itself a mount namespace with cgroup v2.
set -euo pipefail
[ "${1:-}" = inside ] || exec unshare --mount --propagation private "$0" inside
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq -o APT::Sandbox::User=root runc=1.1.5+ds1-1+deb12u1 crun=1.8.1-1+deb12u1 libyajl2=2.1.0-3+deb12u2 \
  libseccomp2=2.5.4-1+deb12u1
for package in *.deb; do dpkg-deb --extract "$package" root; done
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu
mkdir -p bundle/rootfs/proc
gcc -static -x c -o bundle/rootfs/try - <<'C'
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static void call(const char *what, long number) {
  syscall(number, -1L, -1L, -1L);
  printf("%s: %s\n", what, strerror(errno));
}
int main(void) {
  call("socket, not listed", SYS_socket);
  call("9000, not in any kernel", 9000);
}
C
cat >bundle/config.json <<'JSON'
{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
 "process": {"args": ["/try"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true},
 "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}],
  "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
   {"action": "SCMP_ACT_ALLOW", "names": ["read", "write", "close", "fstat", "newfstatat", "mmap", "mprotect", "munmap", "brk",
    "rt_sigaction", "rt_sigprocmask", "ioctl", "execve", "exit", "exit_group", "arch_prctl", "set_tid_address", "set_robust_list",
    "rseq", "prlimit64", "readlink", "readlinkat", "getrandom", "futex", "sigaltstack", "capget", "capset", "prctl", "setuid",
    "setgid", "setgroups", "chdir", "fcntl", "openat", "openat2", "getdents64", "statfs", "fstatfs", "getpid", "gettid", "getppid",
    "nanosleep", "epoll_ctl", "epoll_pwait", "tgkill", "dup3", "access", "faccessat2", "stat", "lseek", "poll", "close_range",
    "clone", "sched_yield", "pipe2", "pread64"]}]}}}
JSON
{
  echo "runc:" && root/usr/sbin/runc --root "$work/runc" run --bundle bundle finding
  echo "crun:" && root/usr/bin/crun --cgroup-manager=disabled --root "$work/crun" run --bundle bundle finding
} </dev/null 2>&1 | tee seen
diff - seen <<'SEEN'
runc:
socket, not listed: Operation not permitted
9000, not in any kernel: Function not implemented
crun:
socket, not listed: Operation not permitted
9000, not in any kernel: Operation not permitted
SEEN
