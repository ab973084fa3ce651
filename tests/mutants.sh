#!/bin/sh
# Puts each of the bugs in tests/mutants into a copy of the source, one after the other, and demands that the test which
# the bug names fails, and in the words that it names: a build that breaks or another fault is no catch.
#
#     tests/mutants.sh [NAME…]          all of them, or those whose names hold one of the words
#     KEEP=1 tests/mutants.sh [NAME…]   leaves the copy and its build in target/mutants, for the next time
#
# It prints a line for each, keeps what its test said in target/mutants/<name>.log, and exits with 1 where a bug
# survives or does not apply any more. It needs Linux and GNU coreutils, and 3 GB of disk.
set -eu
cd "$(dirname "$0")/.."
here=$PWD
work=$here/target/mutants
tree=$work/tree
limit=${LIMIT:-1200}
temporary=$(mktemp -d)
export CARGO_TARGET_DIR="$work/target" CARGO_INCREMENTAL=1 CARGO_TERM_COLOR=never

# The dependencies are taken from the normal build where there is one; only our own crate is built anew.
seed() {
    from=$here/target/debug to=$CARGO_TARGET_DIR/debug
    if [ -d "$to" ] || [ ! -d "$from/deps" ]; then
        return
    fi
    mkdir -p "$to/deps" "$to/.fingerprint" "$to/build"
    for kind in .fingerprint build; do
        find "$from/$kind" -mindepth 1 -maxdepth 1 ! -name 'autometta-*' -exec cp -a -t "$to/$kind" {} +
    done
    find "$from/deps" -maxdepth 1 -type f \( -name '*.rlib' -o -name '*.rmeta' -o -name '*.so' -o -name '*.d' \) \
        ! -name '*autometta*' -exec cp -a --link -t "$to/deps" {} +
}

# Only what differs is written, so that what was built for the last mutant still counts.
copy() {
    mkdir -p "$tree"
    for part in src tests templates schemas docs examples packaging benches memory build.rs Cargo.toml Cargo.lock \
        README.md CHANGELOG.md LICENSE; do
        find "$part" -type d -exec mkdir -p "$tree/{}" \;
        (cd "$tree" && find "$part" -type f 2>/dev/null || true) | while read -r file; do
            [ -e "$file" ] || rm -f "$tree/$file"
        done
        find "$part" -type f | while read -r file; do
            cmp -s "$file" "$tree/$file" || cp "$file" "$tree/$file"
        done
    done
}

# git must not take the copy for a part of the repository around it.
change() {
    (cd "$tree" && GIT_CEILING_DIRECTORIES=$work git apply "$@")
}

told() {
    sed -n "s/^$2: //p" "$1"
}

# A bug may be that something is left running. Whatever it is, it has its test's folder in its environment or command.
end_what_is_left() {
    for process in /proc/[0-9]*; do
        if cat "$process/environ" "$process/cmdline" 2>/dev/null | grep -qaF "$temporary"; then
            kill -9 "${process#/proc/}" 2>/dev/null || true
        fi
    done
    find "$temporary" -mindepth 1 -delete 2>/dev/null || true
}

# Whether a name is one of those that were asked for.
is_wanted() {
    name=$1
    shift
    [ $# -gt 0 ] || return 0
    for word in "$@"; do
        case $name in *"$word"*) return 0 ;; esac
    done
    return 1
}

# What came of one mutant, as a word.
try() {
    patch=$1 log=$2 said=$3
    shift 3
    change "$here/$patch" || { echo 'DOES NOT APPLY'; return; }
    # The program and the test's name: of both, only the program is built.
    if (cd "$tree" && cargo test --quiet "$1" "$2" --no-run) >"$log" 2>&1; then
        status=0
        (cd "$tree" && TMPDIR=$temporary timeout "$limit" cargo test --quiet "$@") >>"$log" 2>&1 || status=$?
        case $status in
            0) echo SURVIVED ;;
            124) echo "NO END WITHIN $limit s" ;;
            *) if grep -qF -- "$said" "$log"; then echo caught; else echo "DID NOT SAY: $said"; fi ;;
        esac
    else
        echo 'DOES NOT BUILD'
    fi
    end_what_is_left
    change --reverse "$here/$patch"
}

mkdir -p "$work"
seed
copy
caught=0 missed=0
printf '%-34s %-58s %s\n' mutant 'caught by' seconds
for patch in tests/mutants/*.patch; do
    name=$(basename "$patch" .patch)
    is_wanted "$name" "$@" || continue
    command=$(told "$patch" 'Caught by')
    begun=$(date +%s)
    # shellcheck disable=SC2086 # the words of a command
    verdict=$(try "$patch" "$work/$name.log" "$(told "$patch" Says)" ${command#cargo test })
    if [ "$verdict" = caught ]; then
        caught=$((caught + 1)) verdict=${command#cargo test }
    else
        missed=$((missed + 1))
    fi
    printf '%-34s %-58s %s\n' "$name" "$verdict" $(($(date +%s) - begun))
done
rm -rf "$temporary"
[ -n "${KEEP:-}" ] || rm -rf "$tree" "$CARGO_TARGET_DIR"
echo "$caught caught, $missed not"
[ "$missed" -eq 0 ]
