#!/usr/bin/env bash
# Every test: the scripts', then the workspace's. Run by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 scripts/test_setup.py
python3 scripts/test_gpu_bundle.py
python3 scripts/test_workers.py
scripts/check_arrows.sh

# Ranks' tests are skipped where MPI can't be built with, and only there.
scripts/build_mpi.sh
if command -v mpirun >/dev/null && [ -e "${CARGO_TARGET_DIR:-target}/debug/libllama2_bench_mpi.so" ]; then
    export LLAMA2_BENCH_REQUIRE_MPI=1
fi

# The report is looked at in a real browser. CI gets one; where there is none those tests are skipped, and say so.
install_chromium() {
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
}
if [ "${CI:-}" = true ] && ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    install_chromium >/dev/null || echo "test.sh: chromium could not be installed: pages are not looked at" >&2
fi
if [ "${CI:-}" = true ] && command -v chromium >/dev/null; then
    export LLAMA2_BENCH_NEEDS_CHROMIUM=1
fi

# The end-to-end tests start the workers' programs, which `cargo test` alone does not build for them.
cargo build --workspace --bins
cargo test --workspace --doc --quiet >/dev/null
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --no-fail-fast
else
    cargo test --workspace --no-fail-fast
fi
