#!/usr/bin/env bash
# Installs what several ranks need to be built and started, on a Debian that this may change: for CI.
set -euo pipefail

if command -v mpicc >/dev/null && command -v mpirun >/dev/null && compgen -G '/usr/lib/llvm*/lib/libclang*.so*' >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "install_mpi: neither root nor apt-get: tests of several ranks will be skipped" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends libopenmpi-dev openmpi-bin libclang-dev >/dev/null
