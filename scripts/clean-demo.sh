#!/usr/bin/env bash
# Drops what `make demo` keeps: databases, logs, keys. Refuses while a demo uses them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[[ -d .demo ]] || exit 0

# A running demo holds a lock on this file. Where there is no flock(1) nobody can tell.
if [[ -e .demo/lock ]] && command -v flock >/dev/null 2>&1; then
  if ! flock --nonblock .demo/lock true; then
    echo "make: a demo is running here: end it first (Ctrl-C)" >&2
    exit 1
  fi
fi
rm -rf .demo
