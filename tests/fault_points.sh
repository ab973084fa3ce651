#!/bin/sh
# Every fault at every fault point of the reference nights (docs/proof.md): prints how many points, passages, cases and
# failures there are and how long it took, and fails where anything does.
#
#   tests/fault_points.sh              all of it
#   tests/fault_points.sh work         one night
#   tests/fault_points.sh 'work 3/10'  every tenth of its cases, beginning with the fourth
#
# AUTOMETTA_FAULT_WORKERS says how many worlds are worked in at once; the cores and one more is what it takes by itself.
# AUTOMETTA_FAULT_SEED turns the errors that each passage gets: four runs with 0 to 3 give each all four.
set -eu
cd "$(dirname "$0")/.."
cargo test --quiet --profile proof --test fault_points --no-run
AUTOMETTA_FAULT_MATRIX="${1:-all}" exec cargo test --quiet --profile proof --test fault_points -- --nocapture
