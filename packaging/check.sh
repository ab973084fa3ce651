#!/usr/bin/env bash
# Tries every way to install, from a clean clone of this checkout's commit, into folders that are thrown away.
#   packaging/check.sh [--static]      with the static binary too, which takes a whole build of its own
# Needs cargo and git; what else is missing (cargo-deb, dpkg-deb, lintian, ruby) is said and left out.
set -euo pipefail
cd "$(dirname "$0")/.."
static=${1:-}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Dependencies are built once for all of it, and may be kept from one check to the next.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/packaging-check}
mkdir -p "$CARGO_TARGET_DIR"
CARGO_TARGET_DIR=$(realpath "$CARGO_TARGET_DIR")

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }
left_out() { printf '\n-- left out: %s is not installed: %s\n' "$1" "$2"; }

# Runs a binary as somebody would who has just installed it.
tried() {
  "$1" --version
  env -i HOME="$scratch/home" PATH="$PATH" "$1" demo >"$scratch/demo.log" || { cat "$scratch/demo.log"; exit 1; }
  echo "its demo ends as it should"
}

git clone --quiet . "$scratch/clone"
cd "$scratch/clone"

step "what a registry's package holds"
cargo package --list --quiet >"$scratch/list"
junk=$(grep -Ev '^(src|templates|schemas|docs|examples|packaging)/|^(build\.rs|README\.md|CHANGELOG\.md|LICENSE|Cargo\.(toml|lock|toml\.orig)|\.cargo_vcs_info\.json)$' "$scratch/list" || true)
test -z "$junk" || { echo "junk: $junk"; exit 1; }
echo "$(wc -l <"$scratch/list") files"

step "cargo install from that package, outside any checkout"
cargo package --no-verify --quiet
tar -xzf "$CARGO_TARGET_DIR"/package/autometta-*.crate -C "$scratch"
cargo install --quiet --locked --path "$scratch"/autometta-*/ --root "$scratch/from-package"
"$scratch/from-package/bin/autometta" --version | grep -Ex 'autometta [0-9.]+'

step "cargo install from the checkout"
# To cargo both copies are one package, and it would take the first one's for built.
cargo clean --quiet --profile dist --package autometta
cargo install --quiet --locked --path . --root "$scratch/root"
"$scratch/root/bin/autometta" --version | grep -F "($(git rev-parse --short=7 HEAD) "
tried "$scratch/root/bin/autometta"

step "the manual and the completions"
packaging/assets.sh "$scratch/root/bin/autometta" "$scratch/assets"
bash -n "$scratch/assets/completions/autometta.bash"
if command -v zsh >/dev/null; then zsh -n "$scratch/assets/completions/_autometta"; else left_out zsh "its completions"; fi
if command -v fish >/dev/null; then fish -n "$scratch/assets/completions/autometta.fish"; else left_out fish "its completions"; fi
find "$scratch/assets/man" -name "*.1" | wc -l

step "the Debian package"
if command -v cargo-deb >/dev/null && command -v dpkg-deb >/dev/null; then
  deb=$(packaging/deb.sh)
  dpkg-deb --info "$deb"
  dpkg-deb --contents "$deb"
  dpkg-deb --extract "$deb" "$scratch/deb"
  tried "$scratch/deb/usr/bin/autometta"
  # Left out: the address is to be filled in, and only an upload to Debian's own archive closes a bug there.
  unasked=bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs
  if command -v lintian >/dev/null; then
    lintian --fail-on error,warning --suppress-tags "$unasked" "$deb" && echo "lintian has no complaints"
  else
    left_out lintian "the package's check"
  fi
else
  left_out cargo-deb "the Debian package"
fi

step "the Homebrew formula"
sed -e "s/{{version}}/1.2.3/" -e "s/{{sha256}}/$(printf '' | sha256sum | cut -d' ' -f1)/" -e "s/{{repository}}/example/" \
  packaging/homebrew/autometta.rb >"$scratch/autometta.rb"
if grep -n '{{' "$scratch/autometta.rb"; then echo "a placeholder is left"; exit 1; fi
if command -v ruby >/dev/null; then ruby -c "$scratch/autometta.rb"; else left_out ruby "the formula's syntax"; fi

if [ "$static" = --static ]; then
  step "the static binary"
  binary=$(packaging/build-static.sh)
  ldd "$binary" || true
  # An empty root has no library to offer.
  mkdir -p "$scratch/empty"
  cp "$binary" "$scratch/empty/"
  if [ "$(id -u)" = 0 ]; then env -i HOME=/ "$(command -v chroot)" "$scratch/empty" /autometta --version; fi
  tried "$binary"
fi
step "done"
