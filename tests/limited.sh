#!/bin/sh
# SPDX-License-Identifier: MIT
# limited.sh SECONDS PROGRAM [ARGUMENTS]: runs a program. One that has not ended after SECONDS is aborted: its name, and the
# stacks of its threads where gdb is here, go to stderr, and the exit status is that of an abort, 134.
limit=$1
shift
"$@" &
program=$!

stacks() {
  if command -v gdb >/dev/null; then
    gdb -p "$program" -batch -nx -ex 'set pagination off' -ex 'thread apply all backtrace 40' 2>/dev/null |
      grep -E '^(Thread|#)'
  else
    echo 'gdb is not here to show the stacks'
  fi
}

watch() {
  trap 'kill "$nap" 2>/dev/null; exit' TERM
  sleep "$limit" >/dev/null 2>&1 & # it may outlive a watcher that ends at once: then it holds no pipe open
  nap=$!
  wait "$nap"
  trap '' TERM
  kill -0 "$program" 2>/dev/null || exit
  echo "did not end in $limit s, and is aborted: $*"
  stacks
  kill -ABRT "$program"
  for _ in 1 2 3 4 5; do
    sleep 1
    kill -0 "$program" 2>/dev/null || exit
  done
  kill -KILL "$program" 2>/dev/null
}
watch "$@" >&2 &
watcher=$!
trap 'kill -TERM "$program" "$watcher" 2>/dev/null' INT TERM

wait "$program"
status=$?
kill -TERM "$watcher" 2>/dev/null
exit "$status"
