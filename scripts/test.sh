#!/usr/bin/env bash
# Every test: the scripts', then the workspace's. Run by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 scripts/test_setup.py
python3 scripts/test_gpu_bundle.py
python3 scripts/test_workers.py
scripts/check_arrows.sh

# The end-to-end tests start the workers' programs, which `cargo test` alone does not build for them.
cargo build --workspace --bins
cargo test --workspace --doc --quiet >/dev/null
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --no-fail-fast
else
    cargo test --workspace --no-fail-fast
fi
