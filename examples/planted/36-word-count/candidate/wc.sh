#!/bin/sh
# Counts words.
set -eu
words() { tr -s '[:space:]' '\n' <"$1" | grep -v '^$'; }
if [ "${1:-}" = --longest ]; then
  words "$2" | awk 'length($0) > length(best) { best = $0 } END { print best }'
else
  words "${1:-/dev/null}" | wc -l | tr -d ' '
fi
