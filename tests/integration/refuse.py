"""refuse.py RULE... -- COMMAND...: runs it where the kernel refuses system calls, as a container's seccomp profile does.

A rule is CALL=ERRNO, or CALL:ARGUMENT:BITS=ERRNO for calls with all of these bits in that argument, counted from 0. The call
"after-4.14" stands for all that are newer than Linux 4.14, as enclaves have it.
"""

import ctypes
import errno
import os
import struct
import sys

CALLS = {
    "x86_64": {"memfd_create": 319, "openat": 257, "connect": 42, "socket": 41},
    "aarch64": {"memfd_create": 279, "openat": 56, "connect": 203, "socket": 198},
}[os.uname().machine]

# Calls are numbered as they come: the last one before is statx, in both tables. x32 has no part in this.
FIRST_AFTER_4_14 = {"x86_64": 333, "aarch64": 292}[os.uname().machine]

# linux/filter.h, linux/seccomp.h; of struct seccomp_data: nr at 0, the low half of argument n at 16 + 8 n.
LOAD, AND, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
ERRNO, ALLOW = 0x00050000, 0x7FFF0000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def instructions(rule):
    what, reason = rule.split("=")
    name, *only = what.split(":")
    checks = []
    if only:
        argument, bits = int(only[0]), int(only[1], 0)
        checks = [(LOAD, 0, 0, 16 + 8 * argument), (AND, 0, 0, bits), (EQUAL, 0, 1, bits)]
    refusal = (RETURN, 0, 0, ERRNO | getattr(errno, reason))
    is_meant = (AT_LEAST, FIRST_AFTER_4_14) if name == "after-4.14" else (EQUAL, CALLS[name])
    return [(LOAD, 0, 0, 0), (is_meant[0], 0, len(checks) + 1, is_meant[1]), *checks, refusal]


end = sys.argv.index("--")
program = [step for rule in sys.argv[1:end] for step in instructions(rule)] + [(RETURN, 0, 0, ALLOW)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
description = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
for words in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, description, 0, 0)]:
    if libc.prctl(*words) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])
