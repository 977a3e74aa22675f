#!/usr/bin/env bash
# `make bench`: a first table as soon as one engine is built, then all engines, and the built-in sweep.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
    printf '\n== %s\n' "$1"
}
# With --workspace, each build has the features of every crate: the second one compiles nothing again.
build() {
    cargo build --release --workspace --exclude testing --exclude fuzz "$@"
}
bench=target/release/llama2-bench
# The reference, too: no figure is printed of an engine that was not verified.
first=(--bin llama2-bench --bin llama2-bench-onnxruntime --bin llama2-bench-reference)

if [ ! -x target/release/llama2-bench-torch ]; then
    step "1 of 4: build llama2-bench and the engine onnxruntime (2 minutes on two cores)"
    build "${first[@]}"
    step "2 of 4: a first table, of three cells (10 seconds)"
    "$bench" run --engine onnxruntime --batch-size 1
fi
step "3 of 4: build all engines (a minute on two cores)"
build "${first[@]}" --bin llama2-bench-torch --bin llama2-bench-mock
step "4 of 4: measure 18 cells of three engines (a minute)"
"$bench" run
