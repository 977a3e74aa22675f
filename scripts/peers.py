#!/usr/bin/env python3
"""Install the peers, the engines that people would otherwise use: `make peers`. configs/peers.toml names them.

    .runtime/peers    transformers, ONNX Runtime GenAI, llama.cpp (built here, some minutes), at the versions of
                      scripts/peers-requirements.txt; and, made by their workers, checkpoints, GGUF and ONNX models
    .runtime/vllm     vLLM, at the version of scripts/vllm-requirements.txt, where there is an NVIDIA driver

scripts/lock_requirements.py makes these files: every package that is installed has one version and its hashes there. What has
no wheel is in peers-source-requirements.txt, and is built with the tools of peers-requirements.txt.

Set LLAMA2_BENCH_RUNTIME to use another folder than .runtime. A second run does what the first left undone, and puts back
packages whose files do not have the size that their RECORD says.

Exit codes: 0 everything is in place, 2 it could not be done, 130 interrupted.
"""

import csv
import subprocess
import sys
import venv
from pathlib import Path

from run_pip import SetupError, run_pip
from setup import Runtime, detect_variant, exit_code, remove, runtime_folder, say, state

SCRIPTS = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)


def damaged_files(installed):
    """The files of a package that do not have the size that its RECORD says; None where that can't be read.

    `installed` is the package's .dist-info folder.
    """
    try:
        with open(installed / "RECORD", newline="") as record:
            sizes = [(installed.parent / row[0], int(row[2])) for row in csv.reader(record) if row[2]]
    except (OSError, ValueError, IndexError, csv.Error):
        return None
    return [path for path, size in sizes if state(path) != size]


def forget_damaged(environment):
    """Have pip see which packages are not whole: it goes by their .dist-info alone."""
    for installed in environment.glob("lib/python*/site-packages/*.dist-info"):
        damaged = damaged_files(installed)
        if damaged != []:
            say(f"{environment.name}: {installed.stem} is not as it was installed, and is put back")
            # pip overwrites files, and no folders.
            for path in damaged or ():
                if path.is_dir() and environment.resolve() in path.resolve().parents:
                    remove(path)
            remove(installed)


def install(environment, lock):
    """Install NAME-requirements.txt, only wheels, then build what NAME-source-requirements.txt lists."""
    say(f"{environment.name}: {environment.name}-requirements.txt into {environment}")
    forget_damaged(environment)
    python = environment / "bin" / "python"
    if not python.exists() or not any(environment.glob("lib/python*/site-packages/pip-*.dist-info")):
        try:
            venv.create(environment, with_pip=True)
        except subprocess.CalledProcessError as error:
            raise SetupError(f"{environment}: no virtual environment (on Debian: apt install python3-venv): {error}") from None
    # The lock is complete, so nothing is looked up.
    words = ["install", "--quiet", "--no-deps", "--require-hashes"]
    wheels, archives = (SCRIPTS / f"{environment.name}-{kind}.txt" for kind in ("requirements", "source-requirements"))
    run_pip(python, [*words, "--only-binary=:all:", f"--requirement={wheels}"], environment.parent, lock)
    if archives.exists():
        # Without build isolation, which would fetch build tools without hashes.
        run_pip(python, [*words, "--no-build-isolation", f"--requirement={archives}"], environment.parent, lock)


def install_all():
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:2]))
        raise SetupError(f"the peers need Python {'.'.join(map(str, OLDEST_PYTHON))} or newer, and this is {found}")
    folder = runtime_folder()
    with Runtime(folder).lock() as lock:
        install(folder / "peers", lock)
        if detect_variant() == "cuda":
            install(folder / "vllm", lock)
        else:
            say("vllm: left out, for there is no NVIDIA driver")


if __name__ == "__main__":
    sys.exit(exit_code(install_all))
