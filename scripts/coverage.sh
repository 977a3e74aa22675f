#!/usr/bin/env bash
# Which lines the Rust tests run: a table, and target/coverage/html/index.html. Run by `make coverage`.
#
#   scripts/coverage.sh                      # every test: builds everything a second time, into target/coverage
#   scripts/coverage.sh -p stats -p compare  # the tests of these crates
#
# A program that a test kills reports none of its lines.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo llvm-cov --version >/dev/null 2>&1; then
    echo "coverage: no cargo-llvm-cov: cargo install cargo-llvm-cov --locked" >&2
    exit 2
fi
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
if [ -z "${LLVM_COV:-}" ] && command -v "llvm-cov-$llvm" "llvm-profdata-$llvm" >/dev/null; then
    LLVM_COV=$(command -v "llvm-cov-$llvm") LLVM_PROFDATA=$(command -v "llvm-profdata-$llvm")
    export LLVM_COV LLVM_PROFDATA
elif [ -z "${LLVM_COV:-}" ] && ! compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/llvm-cov" >/dev/null; then
    echo "coverage: no llvm-cov for LLVM $llvm: rustup component add llvm-tools (Debian: apt-get install llvm-$llvm)" >&2
    exit 2
fi

export CARGO_TARGET_DIR=$PWD/target/coverage LLAMA2_BENCH_CACHE=$PWD/target/cache
variables=$(cargo llvm-cov show-env --sh)
eval "$variables"
cargo llvm-cov clean --workspace
case " $* " in
    # The end-to-end tests start these.
    "  " | *" llama2-bench "* | *" --workspace "*) cargo build --workspace --lib --bins ;;
esac
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --no-fail-fast "${@:---workspace}"
else
    cargo test --no-fail-fast "${@:---workspace}"
fi
cargo llvm-cov report "$@" --html --output-dir target/coverage
cargo llvm-cov report "$@" --summary-only
