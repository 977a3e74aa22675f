#!/usr/bin/env bash
# Builds libllama2_bench_mpi.so, with which workers can be several ranks, where MPI's compiler and libclang are there; says what
# to install where they are not. Arguments go to cargo: --release.
set -euo pipefail
cd "$(dirname "$0")/.."

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p | grep -q 'libclang.*\.so' || compgen -G '/usr/lib/llvm*/lib/libclang*.so*' >/dev/null
}
if ! command -v mpicc >/dev/null || ! has_libclang; then
    echo "build_mpi: no mpicc, or no libclang: world_size above 1 needs both (Debian: apt-get install libopenmpi-dev openmpi-bin libclang-dev)" >&2
    exit 0
fi
# The crate type is given here: a build of the workspace must not leave a library without MPI in its place.
cargo rustc --quiet -p collective-mpi --features mpi --lib --crate-type cdylib "$@"
