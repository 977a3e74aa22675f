"""How a peer starts: which Python runs it, and where what it makes once is kept."""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

# The clone; PREFIX/share/llama2-bench of the environment that pip installed the wheel into.
REPOSITORY = Path(__file__).resolve().parents[3]
PREFIX = REPOSITORY.parent.parent
INSTALLED_BY_PIP = REPOSITORY == PREFIX / "share/llama2-bench" and any(PREFIX.glob("lib*/python3*/*-packages/llama2_bench-*.dist-info"))
REMEDY = "run `pip install 'llama2-bench[peers]'`" if INSTALLED_BY_PIP else "run `make peers`"
# The precisions below 16 bits: bits of a weight, and consecutive weights that share a scale; None where an output channel does.
QUANTIZATIONS = {"int8": (8, 32), "int8-g128": (8, 128), "int8-channel": (8, None), "int4": (4, 32), "int4-g128": (4, 128)}
# The environment's folder, where its Python is what runs.
STARTED = "LLAMA2_BENCH_PEER"


def runtime():
    return Path(os.environ.get("LLAMA2_BENCH_RUNTIME") or REPOSITORY / ".runtime").absolute()


def kept():
    """The folder of what the peers make once; of an installed wheel in the cache of llama2-bench (`cache_folder` in crates/harness)."""
    if not INSTALLED_BY_PIP:
        return runtime() / "peers"
    folders = [Path(os.environ.get(name, "")) for name in ("LLAMA2_BENCH_CACHE", "XDG_CACHE_HOME", "HOME")]
    for folder, below in zip(folders, ("peers", "llama2-bench/peers", ".cache/llama2-bench/peers"), strict=True):
        if folder.is_absolute():
            return folder / below
    raise RuntimeError("no folder for checkpoints and compiled models: set LLAMA2_BENCH_CACHE to one")


def start(*modules, environment="peers", remedy=REMEDY, huge_pages=False):
    """Goes on in the environment's Python, which must have `modules`, and takes stdout; returns the extension. The first thing that a
    peer's worker does.

    With `huge_pages` large allocations are in huge pages, as those of the engines in Rust that gain by it.
    """
    folder = PREFIX if INSTALLED_BY_PIP else runtime() / environment
    python = folder / "bin" / "python"
    if os.environ.get(STARTED) != str(folder):
        if not python.exists():
            fail(f"{python} is not there: {remedy} in a virtual environment" if INSTALLED_BY_PIP else f"{folder} is not there: {remedy}")
        if not library().exists():
            fail(f"{library()} is not there: run `make build`")
        # `import` writes no .pyc beside the sources, and a library of the user's own is not looked at.
        os.execve(python, [python, "-s", "-B", *sys.argv], {**os.environ, STARTED: str(folder)})
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        fail(f"no {', '.join(missing)} in {folder}: {remedy}")
    loop = extension(library())
    variable = loop.huge_pages_variable() if huge_pages else None
    if variable:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **dict([variable])})
    loop.take_stdout()
    kernels = str(kept() / "inductor")
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TORCHINDUCTOR_CACHE_DIR=kernels)
    return loop


def fail(message):
    """Answers in the place of hello, before stdout is taken."""
    print(json.dumps({"reply": "failed", "phase": "load", "message": message}))
    sys.exit(1)


def library():
    """crates/worker-python, which is built beside llama2-bench."""
    return program().with_name("libllama2_bench_worker.so")


def extension(path):
    """The module `llama2_bench_worker` in this library: the timing loop, the pipe and the rest of crates/worker."""
    spec = importlib.util.spec_from_file_location("llama2_bench_worker", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def checkpoint(request):
    """The folder of the model's checkpoint in HF's format, in the precision asked for where that is below 16 bits.

    `llama2-bench synth` writes one of seeded weights, `llama2-bench quantize` the quantized one of another.
    """
    model, precision = request["model"], request["precision"]
    if "checkpoint" in model:
        given = Path(model["checkpoint"]["dir"])
        if precision not in QUANTIZATIONS or _is_quantized(given):
            return given

        def quantize(folder):
            _run("quantize", "--model", given, "--out", folder, "--precision", precision)

        return made_once("checkpoints", {"files": fingerprint(given), "precision": precision}, quantize)
    seeded = model["seeded"]

    def synth(folder):
        config = folder.with_suffix(".json")
        config.write_text(json.dumps(seeded["config"]))
        try:
            _run("synth", "--model", config, "--out", folder, "--seed", str(seeded["seed"]), "--precision", precision)
        finally:
            config.unlink()

    return made_once("checkpoints", {"seeded": seeded, "precision": precision}, synth)


def _is_quantized(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    return (config.get("quantization_config") or {}).get("quant_method") == "compressed-tensors"


def _run(command, *arguments):
    done = subprocess.run([program(), command, *arguments], stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"llama2-bench {command} ended with {done.returncode}")


def convert(file, *arguments):
    """Runs a file beside this one in a process of its own, so that what a conversion takes is not in the worker's peak memory."""
    command = [sys.executable, "-s", "-B", Path(__file__).with_name(file), *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"{file} ended with {done.returncode}"])[-1]
        kind, _, message = last.partition(": ")
        raise ValueError(message) if kind == "ValueError" else RuntimeError(last)


def refuse_quantized(request, why):
    if request["precision"] in QUANTIZATIONS:
        raise ValueError(f"precision {request['precision']}: {why}")


def program():
    """llama2-bench itself, which names itself to its workers."""
    folder = PREFIX / "bin" if INSTALLED_BY_PIP else REPOSITORY / "target" / "release"
    return Path(os.environ.get("LLAMA2_BENCH") or folder / "llama2-bench")


def made_once(kind, key, make):
    """A folder that `make(folder)` filled for this `key` once, now or by an earlier worker."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = kept() / kind / digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o666)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            make(partial)
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def fingerprint(folder):
    """What tells a checkpoint from a later one at the same place: its files' names, sizes and times."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
    return [[str(folder.resolve()), path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def weights_bytes(folder):
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
