#!/usr/bin/env python3
"""Build the documentation site of docs/ and mkdocs.yml into target/site: `make docs`.

    python3 scripts/docs.py            # build
    python3 scripts/docs.py serve      # show the site, and build it again after each change

Errors: a link to a page, file or heading that is not there, a page that mkdocs.yml's nav lacks, a request to another host.
MkDocs is installed into target/docs-venv, at the versions and hashes of scripts/docs-requirements.txt.

Exit codes: 0 the site is built, 1 a page has an error, 2 MkDocs could not be installed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from locked_environment import locked_environment

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "target" / "site"


def main():
    mkdocs = locked_environment("docs") / "mkdocs"
    # The theme warns of a version of MkDocs that is not the locked one.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    if sys.argv[1:] == ["serve"]:
        sys.exit(subprocess.run([mkdocs, "serve"], cwd=ROOT, env=environment).returncode)
    # Not --quiet: strict mode then sees no warnings, either.
    built = subprocess.run([mkdocs, "build", "--strict"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    print("".join(line for line in built.stderr.splitlines(True) if not line.startswith("INFO")), end="", file=sys.stderr)
    if built.returncode != 0:
        sys.exit(1)
    for page in sorted(SITE.rglob("*.html")):
        for request in re.findall(r'<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)="https?:[^"]*"', page.read_text()):
            print(f"docs: {page.relative_to(SITE)} asks another host: {request}", file=sys.stderr)
            sys.exit(1)
    print(f"docs: {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
