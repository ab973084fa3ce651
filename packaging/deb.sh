#!/usr/bin/env bash
# Builds the Debian package and prints its path. Needs cargo-deb (cargo install cargo-deb).
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

# The day of the commit, so that the same commit makes the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git show -s --format=%ct HEAD 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

cargo build --profile dist --locked --bin autometta
packaging/assets.sh "$target/dist/autometta" target/packaging

field() { sed -n "s/^$1 = \"\(.*\)\"$/\1/p" Cargo.toml | head -n 1; }
cat >target/packaging/changelog <<END
autometta ($(field version)-1) unstable; urgency=medium

  * Version $(field version); CHANGELOG.md says what is new.

 -- $(field maintainer)  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
cargo deb --no-build --quiet >/dev/null
ls "$target"/debian/autometta_"$(field version)"-1_*.deb
