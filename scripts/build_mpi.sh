#!/usr/bin/env bash
# Builds libllama2_bench_mpi.so, with which workers can be several ranks, where MPI's compiler and libclang are there; says what
# to install where they are not. `--lint` checks it instead; other arguments go to cargo, such as --release.
set -euo pipefail
cd "$(dirname "$0")/.."

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib/llvm*/lib/libclang*.so*' >/dev/null || ldconfig -p | grep -q 'libclang[-.]'
}
if ! command -v mpicc >/dev/null || ! has_libclang; then
    echo "build_mpi: no mpicc, or no libclang: without them world_size stays 1 (Debian: apt-get install libopenmpi-dev openmpi-bin libclang-dev)" >&2
    exit 0
fi
if [ "${1:-}" = --lint ]; then
    exec cargo clippy --quiet -p collective-mpi --features mpi --lib -- -D warnings
fi
# The crate type is given here: a build of the workspace must not leave a library without MPI in its place.
cargo rustc --quiet -p collective-mpi --features mpi --lib --crate-type cdylib "$@"
