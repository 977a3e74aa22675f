#!/usr/bin/env python3
"""Lock what `make peers`, `make docs` and `make lint` install: every package at one version, with its hashes.

    pip install uv
    python3 scripts/lock_requirements.py [--upgrade] [NAME ...]

It makes NAME-requirements.txt of NAME-requirements.in in scripts/: of each, or of those named. The listed hashes are those of
the wheels for Linux with glibc and CPython 3.11 or newer: on x86_64 and aarch64, or on x86_64 alone where nobody has tried the
packages elsewhere. A package without such a wheel is built from source, and stands in NAME-source-requirements.txt with the hash of
its source archive. Versions that are locked stay, without --upgrade.

Needs Python 3.11 or newer, uv and the package index. No package is installed.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
OLDEST_PYTHON = "3.11"
# Python tag, ABI tag and platform tag of a wheel's name. cp313t is the ABI without the GIL.
FITTING_WHEEL = r"-(?!pp)[\w.]+-(none|abi3|cp31[1-9])-(any|(linux|manylinux[\w.]*)_({architectures}))\.whl$"
ONLY_X86_64 = {"peers", "vllm"}
HEAD = "# Made by `python3 scripts/lock_requirements.py` of {source}: not edited by hand. {what}\n"


def uv(*words):
    subprocess.run(["uv", "pip", "compile", "--quiet", "--universal", f"--python-version={OLDEST_PYTHON}", *words], check=True)


def pins(source, locked, upgrade):
    """The packages that `source` needs, as uv lists them: with name, version, marker, wheels and sdist."""
    with tempfile.TemporaryDirectory() as folder:
        versions, hashes = Path(folder, "versions.txt"), Path(folder, "pylock.toml")
        # uv keeps the versions that it finds in the output file.
        versions.write_text("".join(path.read_text() for path in locked if path.exists()))
        uv("--no-annotate", *(["--upgrade"] if upgrade else []), f"--output-file={versions}", source)
        uv("--no-deps", "--format=pylock.toml", f"--output-file={hashes}", versions)
        return tomllib.loads(hashes.read_text())["packages"]


def line(package, archives):
    marker = f" ; {package['marker']}" if "marker" in package else ""
    hashes = sorted(archive["hashes"]["sha256"] for archive in archives)
    return " \\\n    ".join([f"{package['name']}=={package['version']}{marker}", *(f"--hash=sha256:{sha256}" for sha256 in hashes)])


def lock(source, upgrade):
    wheels = source.with_suffix(".txt")
    archives = SCRIPTS / source.name.replace("-requirements.in", "-source-requirements.txt")
    architectures = "x86_64" if source.name.removesuffix("-requirements.in") in ONLY_X86_64 else "x86_64|aarch64"
    pattern = re.compile(FITTING_WHEEL.format(architectures=architectures))
    built, unpacked = [], []
    for package in pins(source, (wheels, archives), upgrade):
        fitting = [wheel for wheel in package.get("wheels", ()) if pattern.search(wheel["url"])]
        if fitting:
            unpacked.append(line(package, fitting))
        elif "sdist" in package:
            built.append(line(package, [package["sdist"]]))
        else:
            marker = package.get("marker", "none")
            print(f"left out: {package['name']}, which has no wheel for Linux and no source (marker: {marker})")
    for path, lines, what in ((wheels, unpacked, "Wheels."), (archives, built, "Built from source.")):
        path.unlink(missing_ok=True)
        if lines:
            path.write_text(HEAD.format(source=source.name, what=what) + "\n".join(lines) + "\n")
        print(f"{path.name}: {len(lines)} packages")


def main():
    names = sorted(path.name.removesuffix("-requirements.in") for path in SCRIPTS.glob("*-requirements.in"))
    parser = argparse.ArgumentParser(description="Lock the packages that the scripts install, with hashes.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"lock these alone: {', '.join(names)}")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that the .in files allow")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in names:
            parser.error(f"no {name}-requirements.in in {SCRIPTS}: choose from {', '.join(names)}")
    try:
        for name in arguments.names or names:
            lock(SCRIPTS / f"{name}-requirements.in", arguments.upgrade)
    except FileNotFoundError:
        sys.exit("error: no uv: `pip install uv`")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: uv ended with {error.returncode}: its reason is above")


if __name__ == "__main__":
    main()
