#!/usr/bin/env python3
"""Check a packed release: unpack it into a temporary folder, and run its programs there.

    python3 scripts/test_tarball.py [--runtimes .runtime] target/dist/llama2-bench-*.tar.gz

`--version`, `doctor`, and a cell of the mock engine are run. With --runtimes, the folder that scripts/setup.py filled is linked
beside bin/, where setup.py of the tarball would make it, and cells of the engines without Python are run, too.

Exit codes: 0 the programs run, 1 one does not.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CELL = "--batch-size 1 --prompt-length 16 --generation-length 128"
# Settings of this machine that would hide that a program can't find something.
LEFT_OUT = {"LD_LIBRARY_PATH", "LIBTORCH", "LLAMA2_BENCH_RUNTIME"}


def run(command, folder):
    """Run a command of the release in a folder with no other files of it above."""
    print(f"$ {command}", flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    words = shlex.split(command)
    subprocess.run([folder / "bin" / words[0], *words[1:]], cwd=folder.parent / "work", env=environment, check=True)


def main():
    parser = argparse.ArgumentParser(description="Check a packed release.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--runtimes", type=Path, help="runtimes that scripts/setup.py fetched, to run engines with")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        (top / "work").mkdir()
        with tarfile.open(arguments.archive) as archive:
            archive.extractall(top, filter="data")
        folder = top / arguments.archive.name.removesuffix(".tar.gz")
        engines = "mock"
        if arguments.runtimes:
            (folder / ".runtime").symlink_to(arguments.runtimes.absolute())
            engines = "mock,onnxruntime,pytorch-eager,pytorch-compile"
        try:
            subprocess.run([sys.executable, folder / "scripts/setup.py", "--help"], check=True, stdout=subprocess.DEVNULL)
            for command in ("--version", "doctor", f"run --engine {engines} {CELL} --out run"):
                run(f"llama2-bench {command}", folder)
            cells = (top / "work/run/summary.csv").read_text().count("\n") - 1
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"test_tarball: {error}", file=sys.stderr)
            return 1
        if cells != len(engines.split(",")):
            print(f"test_tarball: {cells} cells of {engines}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
