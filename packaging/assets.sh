#!/usr/bin/env bash
# Writes what a package holds beside the binary: the manual and the completions, made by the binary itself.
#   packaging/assets.sh BINARY FOLDER
set -euo pipefail
binary=$(realpath "$1")
folder=$2

# A build machine's account may have no home; nothing is read from it.
export AUTOMETTA_HOME="${AUTOMETTA_HOME:-/nonexistent}"
rm -rf "$folder"
mkdir -p "$folder/completions"
"$binary" man --out "$folder/man" >/dev/null
"$binary" completions bash >"$folder/completions/autometta.bash"
"$binary" completions zsh >"$folder/completions/_autometta"
"$binary" completions fish >"$folder/completions/autometta.fish"
