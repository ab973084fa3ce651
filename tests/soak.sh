#!/bin/sh
# The large soak (docs/proof.md): every stage must reach the end that the model gives it, and nothing may be left over.
# Prints what came to which end, what was killed, how long it took and how much memory it needed.
#
#   tests/soak.sh                  2,000 stages over 20 repositories
#   tests/soak.sh 600 20           fewer
#   tests/soak.sh 2000 20 4711     with another seed
#
# KEEP=1 leaves the box of a soak that found something where it is.
set -eu
cd "$(dirname "$0")/.."
cargo test --quiet --profile proof --test soak --no-run
[ -z "${KEEP:-}" ] || export AUTOMETTA_SOAK_KEEP=1
AUTOMETTA_SOAK_STAGES="${1:-2000}" AUTOMETTA_SOAK_REPOS="${2:-20}" AUTOMETTA_SOAK_SEED="${3:-7}" \
  exec cargo test --quiet --profile proof --test soak -- --nocapture every_stage
