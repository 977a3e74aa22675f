#!/usr/bin/env python3
"""Check everything but Rust and C++ with linters: `make lint`.

    python3 scripts/lint.py                # all of them
    python3 scripts/lint.py ruff typos     # these alone
    python3 scripts/lint.py --fix          # let ruff and typos put right what they can

ruff        Python: faults (`ruff.toml`) and format
typos       misspellings in every file (`_typos.toml`)
shellcheck  bash scripts
zizmor      GitHub workflows and actions: their schema, and what lets somebody else's code in (`zizmor.yml`)
hadolint    Dockerfiles

They are installed into target/lint-venv, at the versions and hashes of scripts/lint-requirements.txt.

Exit codes: 0 nothing found, 1 something found or no clone, 2 the linters could not be installed.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from locked_environment import locked_environment

ROOT = Path(__file__).resolve().parent.parent


def files(*patterns):
    """Files that git knows or would add, from the root; a pattern without a slash fits in every folder."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(listed, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
    # Git also lists what was deleted and not committed yet.
    return [name for name in names if name and (ROOT / name).is_file()]


def commands(fix):
    """The commands of each linter; those without a file to check are left out."""
    scripts = files("*.sh", ".ci/run")
    workflows = files(".github/workflows/*.yml", ".github/workflows/*.yaml", "action.yml", "examples/ci/github.yml")
    dockerfiles = files("Dockerfile", "*.Dockerfile", "Dockerfile.*")
    fixes = ["--fix"] if fix else []
    return {
        "ruff": [["ruff", "check", "--quiet", *fixes], ["ruff", "format", "--quiet", *([] if fix else ["--diff"])]],
        "typos": [["typos", *(["--write-changes"] if fix else [])]],
        "shellcheck": [["shellcheck", *scripts]] if scripts else [],
        "zizmor": [["zizmor", "--quiet", "--offline", "--strict-collection", *workflows]] if workflows else [],
        "hadolint": [["hadolint", "--no-color", *dockerfiles]] if dockerfiles else [],
    }


def main():
    parser = argparse.ArgumentParser(description="Check everything but Rust and C++ with linters.")
    try:
        linters = commands(False)
    except (OSError, subprocess.CalledProcessError):
        sys.exit("lint: no list of files: it needs git, and a clone of the repository")
    parser.add_argument("names", nargs="*", metavar="LINTER", help=f"run these alone: {', '.join(linters)}")
    parser.add_argument("--fix", action="store_true", help="let ruff and typos put right what they can")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in linters:
            parser.error(f"no linter {name}: choose from {', '.join(linters)}")
    programs = locked_environment("lint")
    failed = {}
    for name, runs in commands(arguments.fix).items():
        for program, *words in runs if not arguments.names or name in arguments.names else ():
            done = subprocess.run([programs / program, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode != 0:
                print(done.stdout, end="")
                failed[name] = True
    if failed:
        print(f"lint: {' and '.join(failed)} found something: see above", file=sys.stderr)
        sys.exit(1)
    print(f"lint: {', '.join(arguments.names or linters)}: nothing found")


if __name__ == "__main__":
    main()
