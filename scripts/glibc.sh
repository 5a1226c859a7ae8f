#!/bin/bash
# glibc.sh stand-ins COMPILER DIRECTORY: writes what the addon links with so that it runs on an older glibc than this machine's.
# glibc.sh check FILE...: fails for each symbol that a file needs from a newer glibc than the floor.
set -euo pipefail
export LC_ALL=C

# The newest glibc that the addon may need; Node's own binary needs as much. Amazon Linux 2023 has 2.34.
floor=2.28

# "SYMBOL VERSION" for each pair that the file defines (for) or needs (-for) from glibc; the oldest version first.
symbols() {
  objdump -T "$2" | awk -v defined="$1" '
    match($0, /GLIBC_[0-9.]+/) && ($0 ~ /\*UND\*/) != defined { print $NF, substr($0, RSTART + 6, RLENGTH - 6) }
  ' | sort -k 1,1 -k 2,2V
}

newer='function newer(version, at) { split(version, at, "."); split(floor, top, "."); return at[1] > top[1] || at[1] == top[1] && at[2] > top[2] }'

# glibc 2.34 moved libpthread into libc and gave its symbols a second, newer version, which a link takes. The stand-in
# is the libpthread.so.0 of the floor: only names with old versions, which every later glibc still has.
stand_ins() {
  local compiler=$1 directory=$2 libc
  libc=$("$compiler" -print-file-name=libc.so.6)
  mkdir -p "$directory"
  symbols 1 "$libc" | awk -v floor="$floor" "$newer"'
    $1 ~ /^_*(pthread|sem)_/ && !newer($2) { old[$1] = $2 }
    $1 ~ /^_*(pthread|sem)_/ && newer($2) { moved[$1] }
    END {
      for (name in moved) if (name in old) {
        printf ".globl %s\n.type %s, %%function\n%s:\n", name, name, name
        nodes[old[name]] = nodes[old[name]] " " name ";"
      }
      for (version in nodes) printf "GLIBC_%s { global:%s };\n", version, nodes[version] > map
    }' map="$directory/libpthread.map" >"$directory/libpthread.s"
  "$compiler" -nostdlib -shared -Wl,-soname,libpthread.so.0 -Wl,--version-script="$directory/libpthread.map" \
    -o "$directory/libpthread.so" "$directory/libpthread.s"

  # libstdc++.a uses glibc 2.32 to find out whether the process has a single thread, to save atomic operations. The
  # proxy has several threads.
  echo '.globl __libc_single_threaded; .hidden __libc_single_threaded; .bss; __libc_single_threaded: .zero 1' |
    "$compiler" -c -x assembler -o "$directory/single_threaded.o" -
}

check() {
  local file status=0
  for file in "$@"; do
    symbols 0 "$file" | awk -v floor="$floor" -v file="$file" "$newer"'
      { any = 1 }
      newer($2) { printf "%s: %s is from glibc %s, but %s must do. Hint: use an older call (statx for stat), or extend scripts/glibc.sh\n", file, $1, $2, floor; bad = 1 }
      END {
        if (!any) printf "%s: needs nothing from glibc, so this is not a file to check\n", file
        exit bad || !any
      }' >&2 || status=1
  done
  return $status
}

case "${1:-}" in
  stand-ins) stand_ins "$2" "$3" ;;
  check) check "${@:2}" ;;
  *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac
