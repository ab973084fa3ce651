#!/bin/sh
# Prints the last lines of a file.
lines=20
if [ "$1" = -n ]; then
  lines=$2
  shift 2
fi
exec tail -n "$lines" -- "$1"
