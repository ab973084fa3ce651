#!/bin/sh
# Empties a folder.
set -eu
case ${1:-} in
  '' | /) echo 'usage: clear.sh FOLDER' >&2; exit 2 ;;
esac
find "$1" -mindepth 1 -delete
