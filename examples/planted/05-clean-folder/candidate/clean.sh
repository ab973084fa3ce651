#!/bin/sh
# Removes the temporary files of a folder.
set -eu
sh -c "rm -f $1/*.tmp"
