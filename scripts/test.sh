#!/usr/bin/env bash
# Every test: the scripts', then the workspace's. Run by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 scripts/test_setup.py
python3 scripts/test_gpu_bundle.py
scripts/check_arrows.sh

# Ranks' tests are skipped where MPI can't be built with, and only there.
scripts/build_mpi.sh
if command -v mpirun >/dev/null && [ -e "${CARGO_TARGET_DIR:-target}/debug/libllama2_bench_mpi.so" ]; then
    export LLAMA2_BENCH_REQUIRE_MPI=1
fi

# The end-to-end tests start the workers' programs, which `cargo test` alone does not build for them.
cargo build --workspace --bins
cargo test --workspace --doc --quiet >/dev/null
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --no-fail-fast
else
    cargo test --workspace --no-fail-fast
fi
