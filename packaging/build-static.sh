#!/usr/bin/env bash
# Builds a binary for Linux that needs no library of the machine it runs on, and prints its path.
# With the musl target (rustup target add x86_64-unknown-linux-musl) it is fully portable. Without it, glibc is linked
# in: that runs anywhere too, but looks up users with whatever glibc the machine has.
set -euo pipefail
cd "$(dirname "$0")/.."
machine=$(uname -m)
target=${CARGO_TARGET_DIR:-target}

installed=$(rustup target list --installed 2>/dev/null || true)
if grep -qx "$machine-unknown-linux-musl" <<<"$installed"; then
  triple=$machine-unknown-linux-musl
else
  triple=$machine-unknown-linux-gnu
  echo "no musl target is installed; linking glibc statically" >&2
fi
# With --target, the flags do not reach build scripts and macros, which have to be dynamic. The second one is for a quick
# start: memory/decision-one-place.md.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static -C relocation-model=static" \
  cargo build --profile dist --locked --bin autometta --target "$triple"

binary=$target/$triple/dist/autometta
if readelf --program-headers "$binary" | grep -q INTERP; then
  echo "$binary still asks for a dynamic loader" >&2
  exit 1
fi
echo "$binary"
