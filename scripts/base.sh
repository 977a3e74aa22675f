#!/usr/bin/env bash
# Checks out the revision that a gate compares with, and prints its commit. For CI: action.yml and examples/ci/gitlab.yml call it.
#
#   scripts/base.sh REVISION FOLDER
#
# REVISION is a full commit hash, or a branch or tag of origin. FOLDER becomes a worktree of the repository in the working
# directory; a worktree that an earlier job left there is replaced. Exits with 2 and one line that says why where there is none.
set -euo pipefail

fail() {
    echo "base: $1" >&2
    exit 2
}

if [ $# -ne 2 ]; then
    sed -n '4p' "$0" >&2
    exit 2
fi
revision=$1 folder=$2
if [ -z "$revision" ]; then
    fail "no base to compare with: this event has none; name a commit or branch"
fi
# GitHub's `before` and GitLab's CI_COMMIT_BEFORE_SHA.
if [[ $revision =~ ^0+$ ]]; then
    fail "no base to compare with: this push creates the branch, so no commit was there before it; name a commit or branch"
fi
if ! git check-ref-format --allow-onelevel "$revision" || [[ $revision == -* ]]; then
    fail "${revision@Q} is not the name of a commit or branch"
fi

is_hash=false
if [[ $revision =~ ^([0-9a-f]{40}|[0-9a-f]{64})$ ]]; then
    is_hash=true
fi
if "$is_hash" && git cat-file -e "$revision^{commit}" 2>/dev/null; then
    commit=$revision
else
    # A depth would cut the history of a clone that has all of it.
    depth=()
    if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
        depth=(--depth 1)
    fi
    said=$(git fetch --quiet --no-tags "${depth[@]}" -- origin "$revision" 2>&1) ||
        fail "$revision can't be fetched from origin; a full commit hash, a branch or a tag can (${said//$'\n'/; })"
    commit=$(git rev-parse --verify 'FETCH_HEAD^{commit}')
fi

git worktree prune
if [ -e "$folder" ] || [ -L "$folder" ]; then
    git worktree remove --force -- "$folder" 2>/dev/null ||
        fail "$folder is there, and no worktree of this repository: remove it"
fi
git worktree add --quiet --detach -- "$folder" "$commit" >&2 || fail "no worktree of $commit in $folder"
echo "$commit"
