#!/bin/sh
# Builds the programs in the Dockerfile's build stage and lays them into a folder with their runtimes:
# scripts/container/build.sh VARIANT FOLDER [REVISION]. The sources have no history there: REVISION is what --version and runs say.
set -eu
cd "$(dirname "$0")/../.."
variant=$1 folder=$2
if [ -n "${3:-}" ]; then
    export LLAMA2_BENCH_REVISION="$3"
fi
make tarball VARIANT="$variant"
mkdir -p "$folder"
tar -xzf target/dist/llama2-bench-*.tar.gz -C "$folder" --strip-components=1
mv .runtime "$folder"
# Headers are for builds.
rm -rf "$folder/.runtime/torch/include" "$folder/.runtime/nvidia/cu13/include"
# No layer keeps what is built on the way.
rm -rf target
