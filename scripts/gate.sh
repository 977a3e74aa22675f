#!/usr/bin/env bash
# Measures a sweep with two builds, interleaved on this machine, and compares them. For CI: action.yml and examples/ci/ call it.
#
#   scripts/gate.sh SWEEP BASE OUT [flags of `llama2-bench run --against`, such as --threshold 5% or --budget 15m]
#
# BASE is the base revision's build: the folder of its workers, or an engines.toml that names them. OUT gets both runs' folders,
# comment.md, junit.xml and comparison.json; an OUT with the runs of an earlier gate is refused. Exits as `llama2-bench run
# --against` does: 0 nothing regressed, 1 a regression or a cell that failed, 2 bad input, 3 inconclusive.
#
# Where no base can be built, BASE may be the folder of an earlier run (measurements.jsonl in it), or not be there yet: then this
# run is kept as OUT/candidate, tomorrow's BASE. That is the second choice: two runs one after the other differ without a change,
# by how much only HISTORY says, and without it a change below about 25 % is provisional. Flags are then those of `compare`.
#
#   LLAMA2_BENCH   the program, of the head revision [default: llama2-bench]
#   ENGINES        the head revision's engines.toml, where its workers are not the program's own
#   REVISION       what is measured, such as a commit; HISTORY, where given, is the folder that keeps it for `history`
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '4p' "$0" >&2
    exit 2
fi
sweep=$1 base=$2 out=$3
shift 3

fail() {
    echo "gate: $1" >&2
    exit 2
}

if [ -z "$base" ]; then
    fail "BASE is empty: give the base revision's workers, or the folder of an earlier run"
fi
# A folder that is not there yet may be one of an earlier run; a file may not.
if [[ $base == *.toml && ! -f $base ]]; then
    fail "no $base: BASE is the base revision's engines.toml, the folder of its workers, or of an earlier run"
fi
for runs in "$out/runs" "$out/candidate"; do
    if [ -e "$runs" ] || [ -L "$runs" ]; then
        fail "$runs is there, of an earlier gate: remove $out, or name another OUT"
    fi
done
bench=${LLAMA2_BENCH:-llama2-bench}

engines=()
if [ -n "${ENGINES:-}" ]; then
    engines=(--engines-file "$ENGINES")
fi
keep=() history=()
if [ -n "${HISTORY:-}" ]; then
    keep=(--history "$HISTORY" --revision "${REVISION:-unknown}")
    history=(--history "$HISTORY")
fi
formats=(--format terminal --format "markdown=$out/comment.md" --format "junit=$out/junit.xml" --format "json=$out/comparison.json")
if [ -n "${GITHUB_ACTIONS:-}" ]; then
    formats+=(--format github)
fi
mkdir -p -- "$out"

if [ -f "$base" ] || { [ -d "$base" ] && [ ! -e "$base/measurements.jsonl" ]; }; then
    exec "$bench" run "$sweep" --out "$out/runs" --against "$base" "${engines[@]}" "${keep[@]}" "${formats[@]}" "$@"
fi

for flag in "$@"; do
    case $flag in
        --budget* | --until-clear)
            fail "$flag is for two builds: $base is not one"
            ;;
    esac
done
run=0
"$bench" run "$sweep" --out "$out/candidate" --peaks again "${engines[@]}" "${keep[@]}" || run=$?
if [ "$run" -gt 1 ]; then
    exit "$run"
fi
if [ ! -e "$base/measurements.jsonl" ]; then
    echo "gate: no baseline in $base yet: nothing is compared" >&2
    exit "$run"
fi
compared=0
"$bench" compare "$base" "$out/candidate" "${history[@]}" "${formats[@]}" "$@" || compared=$?
if [ "$run" -ne 0 ] && [ "$compared" -ne 2 ]; then
    exit "$run"
fi
exit "$compared"
