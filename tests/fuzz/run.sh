#!/bin/sh
# Fuzzes every target, one after the other, and prints what came of each.
#
#     tests/fuzz/run.sh [SECONDS] [TARGET…]        SECONDS for each target, 60 where it is left out
#
# It needs `cargo install cargo-fuzz` and a C++ compiler; the stable toolchain is enough. What it finds is kept in
# target/fuzz/artifacts/<target>, and makes it exit with 1. Inputs that reach new code are gathered in
# target/fuzz/corpus/<target>; `MINIMISE=1` adds the smallest of them to tests/corpora, up to 8 KiB for each target.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
here=$PWD
out=$here/target/fuzz
RUSTC_BOOTSTRAP=1 cargo fuzz build --fuzz-dir tests/fuzz -s none --target-dir "$out" target
program=$(find "$out"/*/release -maxdepth 1 -name target -type f)
[ $# -gt 0 ] || set -- $(ls tests/corpora)
found=0
for name in "$@"; do
    gathered=$out/corpus/$name kept=$out/artifacts/$name log=$out/$name.log
    mkdir -p "$gathered" "$kept"
    status=0
    FUZZ_TARGET=$name nice -n 19 "$program" "$gathered" "tests/corpora/$name" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -malloc_limit_mb=256 -max_len=16384 -len_control=50 \
        -print_final_stats=1 -artifact_prefix="$kept/" >"$log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p' "$log" | tail -n 1)
    findings=$(find "$kept" -type f | wc -l)
    [ "$status" -eq 0 ] && [ "$findings" -eq 0 ] || found=1
    printf '%-12s %10s executions, %s, %s MiB at most, %s finding(s), exit %s\n' \
        "$name" "${runs:-?}" "${covered:-?}" "${peak:-?}" "$findings" "$status"
    if [ -n "${MINIMISE:-}" ]; then
        small=$out/minimised/$name
        rm -rf "$small" && mkdir -p "$small"
        FUZZ_TARGET=$name nice -n 19 "$program" -merge=1 "$small" "tests/corpora/$name" "$gathered" >>"$log" 2>&1 || true
        room=8192
        for file in $(ls -rS "$small"); do
            size=$(wc -c <"$small/$file")
            [ "$size" -le "$room" ] || break
            cp "$small/$file" "tests/corpora/$name/$file"
            room=$((room - size))
        done
    fi
done
exit $found
