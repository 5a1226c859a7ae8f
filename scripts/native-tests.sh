#!/bin/bash
# native-tests.sh PROGRAM...: runs the tests of the data plane one after the other. Each must end in time, with status 0
# and without any output of its sanitizer.
set -euo pipefail

limit_s=120
export ASAN_OPTIONS=halt_on_error=1:detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

[ $# -gt 0 ] || { echo 'native-tests.sh: no tests. Hint: they are native/tests/*/*.cc' >&2; exit 1; }
for program in "$@"; do
  echo "▶ $program"
  # ThreadSanitizer of GCC 12 cannot place its shadow memory if the kernel randomizes addresses too widely.
  setarch --addr-no-randomize timeout --kill-after=5 $limit_s "$program" || {
    echo "native-tests.sh: $program failed (status $?; 124 means that it took over $limit_s s)" >&2
    exit 1
  }
done
