#!/bin/sh
# Moves what a log holds out of the way.
file=$1
cp "$file" "$file.1"
: >"$file"
