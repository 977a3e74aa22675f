#!/usr/bin/env bash
# Measures a sweep and holds it against the baseline that an earlier job kept. For CI: action.yml and examples/ci/ call it.
#
#   scripts/gate.sh SWEEP BASELINE OUT [flags of `llama2-bench compare`]
#
# BASELINE is the folder of an earlier run; where there is none yet, the sweep is measured and nothing is compared. OUT gets
# candidate/ (the run, tomorrow's baseline), comment.md, junit.xml and comparison.json. Exits as `llama2-bench compare` does:
# 0 nothing regressed, 1 a regression or a cell that failed, 2 bad input, 3 inconclusive.
#
#   LLAMA2_BENCH   the program [default: llama2-bench]
#   REVISION       what is measured, such as a commit; HISTORY, where given, is the folder that keeps it for `history`
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '4p' "$0" >&2
    exit 2
fi
sweep=$1 baseline=$2 out=$3
shift 3
bench=${LLAMA2_BENCH:-llama2-bench}

history=()
if [ -n "${HISTORY:-}" ]; then
    history=(--history "$HISTORY" --revision "${REVISION:-unknown}")
fi
mkdir -p "$out"
run=0
"$bench" run "$sweep" --out "$out/candidate" "${history[@]}" || run=$?
if [ "$run" -gt 1 ]; then
    exit "$run"
fi
if [ ! -e "$baseline/measurements.jsonl" ]; then
    echo "gate: no baseline in $baseline yet: nothing is compared" >&2
    exit "$run"
fi
formats=(--format terminal --format "markdown=$out/comment.md" --format "junit=$out/junit.xml" --format "json=$out/comparison.json")
if [ -n "${GITHUB_ACTIONS:-}" ]; then
    formats+=(--format github)
fi
compared=0
"$bench" compare "$baseline" "$out/candidate" "${formats[@]}" "$@" || compared=$?
if [ "$run" -ne 0 ]; then
    exit "$run"
fi
exit "$compared"
