#!/bin/sh
# orphans.sh: a command that leaves its children to the first process, and ends in its own way when it is told to.
trap 'echo got TERM; exit 42' TERM
for _ in 1 2 3 4 5; do (sh -c 'exit 5' &); done
until [ "$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') [RSDZ] 1 ')" = 1 ]; do :; done
echo no zombies
while :; do sleep 60 & wait $!; done
