#!/usr/bin/env python3
"""Check a wheel: install it into a fresh virtual environment, and run its programs there.

    python3 scripts/test_wheel.py [WHEEL]

WHEEL is by default the newest of target/wheels. pip installs ONNX Runtime, and `.runtime/torch`, which `make setup` filled, stands in
for pip's torch, which comes with 3 GB of CUDA. Checked: what is said without the libraries and with an ONNX Runtime that is too old;
`--version` and `doctor`; a cell of onnxruntime and one of pytorch-eager.

Exit codes: 0 all is as it should be, 1 something is not.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = Path(os.environ.get("LLAMA2_BENCH_RUNTIME") or ROOT / ".runtime").absolute()
ENGINES = "onnxruntime,pytorch-eager"
# An ONNX Runtime before the interface that the engine is compiled for.
TOO_OLD = "1.23.2"
CELL = f"--engine {ENGINES} --batch-size 1 --prompt-length 16 --generation-length 128 --prompt-runs 3"
# Settings of this machine that would hide that a program can't find something.
LEFT_OUT = {"LD_LIBRARY_PATH", "LIBTORCH", "LLAMA2_BENCH_RUNTIME"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}


class Wrong(Exception):
    pass


def run(words, folder, expected=0):
    """Run a command; returns what it wrote, of stdout and stderr."""
    print("$ " + " ".join(str(word) for word in words), flush=True)
    result = subprocess.run(words, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != expected:
        raise Wrong(f"exit code {result.returncode}, not {expected}:\n{result.stdout}")
    return result.stdout


def expect(pattern, text):
    if not re.search(pattern, text):
        raise Wrong(f"no {pattern!r} in:\n{text}")


def check(wheel, top):
    work, environment = top / "work", top / "environment"
    work.mkdir()
    venv.create(environment, with_pip=True)
    pip = [environment / "bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "--no-deps"]
    bench = environment / "bin/llama2-bench"
    run([*pip, "--no-index", wheel], work)
    expect(r"no native libraries: run `pip install 'llama2-bench\[cpu\]'`", run([bench, "--version"], work))
    # The mock and the reference need no library.
    said = run([bench, "doctor"], work, expected=1)
    expect(r"libtorch_cpu.so is not there: run `pip install 'llama2-bench\[cpu\]'`", re.sub(r"\s+", " ", said))

    run([*pip, f"onnxruntime=={TOO_OLD}"], work)
    [packages] = environment.glob("lib/python3*/site-packages")
    for name in ("torch", "nvidia"):
        (packages / name).symlink_to(RUNTIME / name)
    said = run([environment / "bin/llama2-bench-onnxruntime"], work, expected=2)
    expect(rf"(?m)\A.*'{TOO_OLD}': run `pip install 'llama2-bench\[cpu\]'`\n\Z", said)

    onnxruntime = re.search(r"^onnxruntime==(\S+)", (ROOT / "scripts/runtimes/onnxruntime-cpu.txt").read_text(), re.MULTILINE)[1]
    run([*pip, f"onnxruntime=={onnxruntime}"], work)
    expect(rf"ONNX Runtime {onnxruntime}: {packages}/onnxruntime/capi/", run([bench, "--version"], work))
    said = run([bench, "doctor"], work)
    for engine in ENGINES.split(","):
        expect(rf"(?m)^{engine} +usable", said)
    run([bench, "run", *CELL.split(), "--out", "run"], work)
    cells = (work / "run/summary.csv").read_text().count("\n") - 1
    if cells != len(ENGINES.split(",")):
        raise Wrong(f"{cells} cells of {ENGINES}")


def main():
    parser = argparse.ArgumentParser(description="Check a wheel.")
    parser.add_argument("wheel", type=Path, nargs="?")
    arguments = parser.parse_args()
    wheels = sorted((ROOT / "target/wheels").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    wheel = arguments.wheel or (wheels[-1] if wheels else None)
    if wheel is None:
        print("test_wheel: no wheel in target/wheels: run `make wheel`", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        try:
            check(wheel.absolute(), Path(temporary))
        except Wrong as wrong:
            print(f"test_wheel: {wrong}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
