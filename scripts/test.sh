#!/usr/bin/env bash
# Every test: the scripts', then the workspace's. Run by `make test`; arguments are features to build with.
set -euo pipefail
cd "$(dirname "$0")/.."
# What engines answer here is not kept among the user's.
export LLAMA2_BENCH_CACHE="$PWD/target/cache"

# Runs a command, and shows what it printed when it has ended.
whole() {
    local text code=0
    text=$("$@" 2>&1) || code=$?
    echo "$text"
    [ "$code" -eq 0 ] || echo "test.sh: $*: exit code $code"
    return "$code"
}
# Packs the programs of this build.
wheel() {
    rm -rf target/test-wheels
    python3 scripts/wheel.py --programs target/debug --out target/test-wheels && python3 scripts/test_wheel.py target/test-wheels/*.whl
}
export -f whole wheel
# Runs commands that share nothing, a line each: as many at a time as there are cores.
each() {
    xargs -P "$(nproc)" -I {} bash -c 'whole {}'
}

# Those that take longest come first.
each <<'END'
python3 scripts/test_action.py
python3 scripts/test_run_pip.py
python3 scripts/test_peers.py
python3 scripts/test_setup_faults.py
python3 scripts/test_gpu_bundle.py
python3 scripts/test_gpu_checks.py
scripts/check_arrows.sh
python3 scripts/test_setup.py
python3 scripts/test_release.py
python3 scripts/test_gate.py
python3 scripts/test_container.py
python3 scripts/check_names.py
END

# Tests of ranks are skipped without MPI, and tests of pages without a browser. In CI they fail instead.
scripts/build_mpi.sh
if [ "${CI:-}" = true ]; then
    export LLAMA2_BENCH_REQUIRE_MPI=1 LLAMA2_BENCH_NEEDS_CHROMIUM=1
elif [ -z "${LLAMA2_BENCH_CHROMIUM:-}" ] &&
    ! command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null; then
    echo "test.sh: no chromium: pages are not looked at (Debian: apt-get install chromium fonts-dejavu)" >&2
fi

# The end-to-end tests start the workers' programs, which `cargo test` alone does not build for them; those in Python load a library.
# With the tests in the same build, nothing is compiled a second time for their dependencies' features.
cargo build --workspace --lib --bins --tests "$@"
each <<'END'
make --no-print-directory docs-check
python3 scripts/test_gpu_rehearsal.py
python3 scripts/test_workers.py
wheel
python3 scripts/test_check_docs.py
END
cargo test --workspace --doc --quiet "$@" >/dev/null
if cargo nextest --version >/dev/null 2>&1; then
    # One more than there are cores: many tests wait, and engines' tests for each other.
    cargo nextest run --workspace --no-fail-fast --test-threads "$(($(nproc) + 1))" "$@"
else
    cargo test --workspace --no-fail-fast "$@"
fi
