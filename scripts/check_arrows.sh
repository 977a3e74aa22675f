#!/usr/bin/env bash
# Checks who may depend on whom (the table of docs/internals/architecture.md) by Cargo's own graph, and that the files which the documentation names exist.
# Backquotes in its regular expressions are those of markdown.
# shellcheck disable=SC2016
set -euo pipefail
cd "$(dirname "$0")/.."

map=docs/internals/architecture.md
listed=()
crates=$(cargo tree --workspace --depth 0 --edges normal --prefix none | awk 'NF {print $1}' | sort -u)

# The package in crates/$1.
name() { if [ "$1" = cli ]; then echo llama2-bench; else echo "$1"; fi; }

# allowed CRATE DEPENDENCY...: the workspace crates that CRATE may depend on directly.
allowed() {
    local crate=$1 found extra
    shift
    found=$(cargo tree -p "$crate" --depth 1 --edges normal,build --prefix none | awk 'NR > 1 && NF {print $1}' | sort -u)
    extra=$(comm -12 <(echo "$found") <(echo "$crates") | grep -vxF "$(printf '%s\n' "$@" "$crate")" || true)
    if [ -n "$extra" ]; then
        echo "check_arrows: $crate must not depend on: ${extra//$'\n'/ }" >&2
        exit 1
    fi
}

# The map's table is the list: `crates/X` in its first column, what X may depend on in its last.
while IFS='|' read -r _ place _ knows _; do
    crate=$(sed -nE 's/^ *`crates\/([a-z-]+)` *$/\1/p' <<<"$place")
    [ -n "$crate" ] || continue
    listed+=("$(name "$crate")")
    read -ra dependencies <<<"$(sed -E 's/;.*//; s/nothing//; s/,/ /g' <<<"$knows")"
    allowed "$(name "$crate")" "${dependencies[@]}"
done < "$map"
missing=$(comm -23 <(echo "$crates") <(printf '%s\n' "${listed[@]}" | sort))
if [ -n "$missing" ]; then
    echo "check_arrows: not in $map's table: ${missing//$'\n'/ }" >&2
    exit 1
fi

# Paths in backquotes: from the root, or from `crates/`.
mapfile -t documents < <(find docs -name '*.md' | sort)
stale=$(
    grep -onE '`(crates|configs|docs|scripts|examples|fixtures|[a-z-]+/(src|tests))/[^` ]*`' \
        CONTRIBUTING.md README.md SECURITY.md "${documents[@]}" |
        while IFS=: read -r document line path; do
            path=$(tr -d '`' <<<"$path")
            compgen -G "$path" >/dev/null || compgen -G "crates/$path" >/dev/null || echo "  $document:$line: $path"
        done
)
if [ -n "$stale" ]; then
    printf 'check_arrows: no such file:\n%s\n' "$stale" >&2
    exit 1
fi
echo "check_arrows: $(echo "$crates" | wc -l) crates, every arrow as $map has it"
