#!/bin/sh
# Prints the lines of a file sorted by bytes, each once.
set -eu
sort -u -- "$1"
