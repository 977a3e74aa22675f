#!/usr/bin/env python3
"""Print the notes of a release: its section of CHANGELOG.md, which a release must have.

    python3 scripts/release_notes.py VERSION          # 0.1.0, or the tag v0.1.0

Errors: VERSION is not the workspace's version in Cargo.toml; CHANGELOG.md has no section for it, or an empty one; "Unreleased" still
has entries; the section or a document says that nothing is released yet. Relative links are made absolute for the release's page.

Exit codes: 0 printed, 1 an error.
"""

import argparse
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What a release makes false, and where it is said; install.md is the page of the wheel on PyPI, which can't be changed later.
UNRELEASED = re.compile("not released yet|been released yet|not on PyPI yet")
DOCUMENTS = ["README.md", "SECURITY.md", "docs/guide/install.md", "docs/internals/releasing.md"]


class NotReady(Exception):
    pass


def workspace_version(manifest):
    """workspace.package.version of a Cargo.toml (Python 3.9 has no tomllib)."""
    section = re.search(r"^\[workspace\.package\]\n((?:[^\[\n].*\n|\n)*)", manifest, re.MULTILINE)
    found = section and re.search(r'^version = "([^"]+)"$', section[1], re.MULTILINE)
    if not found:
        raise NotReady("Cargo.toml: no version in [workspace.package]")
    return found[1]


def sections(changelog):
    """The headings of the second level, without a date, with the text below each."""
    parts = re.split(r"^## +(.*)\n", changelog, flags=re.MULTILINE)[1:]
    return {re.sub(r" \(.*\)$", "", heading.strip()): text.strip() for heading, text in zip(parts[::2], parts[1::2], strict=True)}


def notes(version, manifest, changelog):
    """The section of this version or tag; raises where the release is not ready."""
    version = version.removeprefix("v")
    if version != workspace_version(manifest):
        raise NotReady(f"version {version} is not that of Cargo.toml: {workspace_version(manifest)}")
    found = sections(changelog)
    if found.get("Unreleased"):
        raise NotReady(f'CHANGELOG.md: move the entries of "Unreleased" below "## {version} (DATE)"')
    if not found.get(version):
        raise NotReady(f'CHANGELOG.md: no entries below "## {version} (DATE)"')
    check_released("CHANGELOG.md", found[version])
    return found[version]


def check_released(file, text):
    """Raise where a text says that nothing is released yet."""
    if said := UNRELEASED.search(text):
        raise NotReady(f'{file}: says "{said[0]}"')


def absolute_links(text, version, folder=""):
    """Text of a file in `folder` whose relative links lead to the repository at a version; unchanged outside GitHub Actions, which says
    which repository it is."""
    repository = os.environ.get("GITHUB_REPOSITORY")
    if not repository:
        return text
    base = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}/blob/v{version.removeprefix('v')}/{folder}"
    return re.sub(r"\]\((?!\w+:|#)([^)]+)\)", lambda link: f"]({base}{link[1]})", text)


def main():
    parser = argparse.ArgumentParser(description="Print the notes of a release.")
    parser.add_argument("version", metavar="VERSION", help="such as 0.1.0, or the tag v0.1.0")
    version = parser.parse_args().version
    try:
        text = notes(version, (ROOT / "Cargo.toml").read_text(), (ROOT / "CHANGELOG.md").read_text())
        for file in DOCUMENTS:
            check_released(file, (ROOT / file).read_text())
    except NotReady as error:
        print(f"release_notes: {error}", file=sys.stderr)
        return 1
    print(absolute_links(text, version))
    return 0


if __name__ == "__main__":
    sys.exit(main())
