#!/usr/bin/env bash
# Installs what tests, and the documentation site, need on a Debian that this may change: for CI.
set -euo pipefail

packages=()
if ! command -v mpicc >/dev/null || ! command -v mpirun >/dev/null || ! compgen -G '/usr/lib/llvm*/lib/libclang*.so*' >/dev/null; then
    packages+=(libopenmpi-dev openmpi-bin libclang-dev)
fi
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=(python3-venv)
fi
if ! python3 -c 'import pip' 2>/dev/null; then
    packages+=(python3-pip)
fi
if ! command -v chromium >/dev/null; then
    packages+=(chromium fonts-dejavu-core)
fi
if [ ${#packages[@]} = 0 ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "install_debian: it takes root and apt-get to install ${packages[*]}" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
