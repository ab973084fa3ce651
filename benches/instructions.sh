#!/bin/sh
# How many instructions an idle tick executes, which no other work on the machine changes; and how many they were when
# somebody last wrote them down, in benches/instructions.txt.
#
#   benches/instructions.sh           prints both, and fails where one has risen by more than a tenth
#   benches/instructions.sh --write   writes down what they are now
#
# It needs valgrind, and target/release/autometta.
set -eu
cd "$(dirname "$0")/.."
program=$PWD/target/release/autometta
record=benches/instructions.txt
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# Nothing of whoever runs this: an environment's size alone changes the count.
clean() {
    env -i HOME="$place/user" PATH=/usr/local/bin:/usr/bin:/bin AUTOMETTA_HOME="$place/home" "$@"
}

counted() {
    clean valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 >/dev/null |
        sed -n 's/.*Collected : *//p'
}

repository() {
    mkdir -p "$place/$1"
    (
        cd "$place/$1"
        clean git init -q -b main .
        clean git -c user.name=o -c user.email=o@local commit -q --allow-empty -m Begin
        clean "$program" init >/dev/null 2>&1
    )
}

mkdir "$place/user"
repository one
# The first tick writes what the second finds.
clean "$program" tick >/dev/null
one=$(counted tick --repo "$place/one")
fleet=$(counted tick)
for name in two three four five six; do repository $name; done
clean "$program" tick >/dev/null
six=$(counted tick)

found=$(printf 'idle tick of one repository\t%s\nidle tick of every subscriber, one\t%s\nidle tick of every subscriber, six\t%s\n' \
    "$one" "$fleet" "$six")
if [ "${1:-}" = --write ]; then
    printf '%s\n' "$found" >"$record"
fi
printf '%s\n' "$found" | awk -F '\t' -v record="$record" '
    BEGIN { while ((getline line < record) > 0) { split(line, part, "\t"); known[part[1]] = part[2] } }
    {
        was = known[$1]
        if (was == "") { printf "%-40s %11d, and nobody wrote down what it was\n", $1, $2; bad = 1; next }
        rise = ($2 - was) * 100 / was
        printf "%-40s %11d instructions, %+.1f%% of %d\n", $1, $2, rise, was
        if (rise > 10) bad = 1
    }
    END {
        if (bad) print "an idle tick has become dearer by more than a tenth: find out why, or `benches/instructions.sh --write`"
        exit bad
    }'
