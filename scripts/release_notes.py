#!/usr/bin/env python3
"""Print the notes of a release: its section of CHANGELOG.md, which a release must have.

    python3 scripts/release_notes.py VERSION          # 0.1.0, or the tag v0.1.0

Errors: VERSION is not the workspace's version in Cargo.toml; CHANGELOG.md has no section for it, or an empty one, or one that
says that it is not released; "Unreleased" still has entries. Relative links are made absolute for the release's page.

Exit codes: 0 printed, 1 an error.
"""

import argparse
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


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
    if "not released yet" in found[version]:
        raise NotReady(f'CHANGELOG.md: the section of {version} says "not released yet"')
    return found[version]


def absolute_links(text, base):
    return re.sub(r"\]\((?!\w+:|#)([^)]+)\)", lambda link: f"]({base}/{link[1]})", text)


def main():
    parser = argparse.ArgumentParser(description="Print the notes of a release.")
    parser.add_argument("version", metavar="VERSION", help="such as 0.1.0, or the tag v0.1.0")
    version = parser.parse_args().version
    try:
        text = notes(version, (ROOT / "Cargo.toml").read_text(), (ROOT / "CHANGELOG.md").read_text())
    except NotReady as error:
        print(f"release_notes: {error}", file=sys.stderr)
        return 1
    # GitHub Actions says which repository the links lead to.
    if repository := os.environ.get("GITHUB_REPOSITORY"):
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        text = absolute_links(text, f"{server}/{repository}/blob/v{version.removeprefix('v')}")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
