#!/usr/bin/env python3
"""Check a wheel: install it into a fresh virtual environment, and run its programs there.

    python3 scripts/test_wheel.py [WHEEL]

WHEEL is by default the newest of target/wheels. The libraries are those that `make setup` unpacked from the same packages that the
wheel's extras name, linked into site-packages: nothing is downloaded. Checked: what is said without them, without the peers' packages and
with an ONNX Runtime that is too old; that those in the working folder are not used; that a link to the installed configs is all that the
guides' commands need; `--version` and `doctor`; a cell of onnxruntime and one of pytorch-eager.

Exit codes: 0 all is as it should be, 1 something is not.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = Path(os.environ.get("LLAMA2_BENCH_RUNTIME") or ROOT / ".runtime").absolute()
ENGINES = "onnxruntime,pytorch-eager"
# An ONNX Runtime before the interface that the engine is compiled for: it has no such interface, and says its version.
TOO_OLD = "1.23.2"
OLD_LIBRARY = f"""
static const void *get_api(unsigned version) {{ return 0; }}
static const char *get_version(void) {{ return "{TOO_OLD}"; }}
static const struct {{ const void *(*get_api)(unsigned); const char *(*get_version)(void); }} base = {{ get_api, get_version }};
const void *OrtGetApiBase(void) {{ return &base; }}
"""
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
    work = top / "work"
    # As people make them: within the folder that they work in.
    environment = work / "environment"
    work.mkdir()
    venv.create(environment, with_pip=True)
    bench = environment / "bin/llama2-bench"
    run(
        [environment / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index", wheel],
        work,
    )
    # Somebody else's folder does not decide which libraries are loaded.
    (work / ".runtime").symlink_to(RUNTIME)
    expect(r"no native libraries: run `pip install 'llama2-bench\[cpu\]'`", run([bench, "--version"], work))
    # The mock and the reference need no library.
    said = run([bench, "doctor"], work, expected=1)
    expect(r"libtorch_cpu.so is not there: run `pip install 'llama2-bench\[cpu\]'`", re.sub(r"\s+", " ", said))

    (work / ".runtime").unlink()

    (work / "configs").symlink_to(environment / "share/llama2-bench/configs")
    said = run([bench, "doctor", "--engines-file", "configs/peers.toml"], work, expected=1)
    for modules in ("torch, transformers", "onnxruntime_genai, .*", "llama_cpp, .*"):
        expect(rf"no {modules} in {environment}: run `pip install 'llama2-bench\[peers\]'`", re.sub(r"\s+", " ", said))
    run([bench, "run", "configs/llama2-15m-peers-fp32-cpu.toml", "--engines-file", "configs/peers.toml", "--list"], work)

    [packages] = environment.glob("lib/python3*/site-packages")
    old = packages / "onnxruntime/capi" / f"libonnxruntime.so.{TOO_OLD}"
    old.parent.mkdir(parents=True)
    (top / "old.c").write_text(OLD_LIBRARY)
    run(["cc", "-shared", "-fPIC", "-o", old, top / "old.c"], work)
    said = run([environment / "bin/llama2-bench-onnxruntime"], work, expected=2)
    expect(rf"(?m)\A.*'{TOO_OLD}': run `pip install 'llama2-bench\[cpu\]'`\n\Z", said)

    shutil.rmtree(packages / "onnxruntime")
    for path in RUNTIME.iterdir():
        (packages / path.name).symlink_to(path)
    said = run([bench, "--version"], work)
    for library, folder in (("ONNX Runtime", "onnxruntime/capi"), ("libtorch", "torch/lib")):
        expect(rf"{library} \d[\d.]+: {packages}/{folder}/", said)
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
