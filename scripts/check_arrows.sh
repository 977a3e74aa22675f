#!/usr/bin/env bash
# The plan's arrows (ARCHITECTURE.md): who may depend on whom, proved from Cargo's own graph.
set -euo pipefail
cd "$(dirname "$0")/.."

crates=$(cargo tree --workspace --depth 0 --edges normal --prefix none | awk 'NF {print $1}' | sort -u)

# allowed CRATE DEPENDENCY...: the workspace crates that CRATE may depend on directly.
allowed() {
    local crate=$1 found extra
    shift
    found=$(cargo tree -p "$crate" --depth 1 --edges normal,build --prefix none | awk 'NR > 1 && NF {print $1}' | sort -u)
    extra=$(comm -12 <(echo "$found") <(echo "$crates") | grep -vxF "$(printf '%s\n' "$@" "$crate")" || true)
    if [ -n "$extra" ]; then
        echo "check_arrows: $crate must not depend on: $(echo $extra)" >&2
        exit 1
    fi
}

allowed protocol
allowed stats
allowed llama protocol
allowed collective protocol
allowed collective-mpi collective
allowed bandwidth
allowed worker bandwidth collective protocol stats
allowed gpu protocol
allowed parity protocol worker
allowed engine-mock collective llama protocol worker
allowed engine-reference llama protocol worker
allowed engine-onnxruntime collective llama protocol worker
allowed engine-torch collective llama protocol worker
allowed harness bandwidth gpu llama protocol
allowed report llama protocol stats
allowed audit llama protocol report
allowed compare protocol report stats
allowed page audit compare llama protocol report stats
allowed fuzz
allowed llama2-bench audit compare harness llama page protocol report
echo "check_arrows: $(echo "$crates" | wc -l) crates, every arrow as planned"
