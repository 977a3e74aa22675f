"""How a peer starts, in the virtual environment that `make peers` makes, and what the peers keep in it."""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
# The environment's folder, where its Python is what runs.
STARTED = "LLAMA2_BENCH_PEER"


def runtime():
    return Path(os.environ.get("LLAMA2_BENCH_RUNTIME") or REPOSITORY / ".runtime").absolute()


def start(environment="peers", without_it="run `make peers`", huge_pages=False):
    """Goes on in the environment's Python and takes stdout; returns the extension. The first thing that a peer's worker does.

    With `huge_pages` large allocations are in huge pages, as those of the engines in Rust that gain by it.
    """
    folder = runtime() / environment
    python = folder / "bin" / "python"
    if os.environ.get(STARTED) != str(folder):
        for file, place, remedy in ((python, folder, without_it), (library(), library(), "run `make build`")):
            if not file.exists():
                print(json.dumps({"reply": "failed", "phase": "load", "message": f"{place} is not there: {remedy}"}))
                sys.exit(1)
        # `import` writes no .pyc beside the sources, and a library of the user's own is not looked at.
        os.execve(python, [python, "-s", "-B", *sys.argv], {**os.environ, STARTED: str(folder)})
    loop = extension(library())
    variable = loop.huge_pages_variable() if huge_pages else None
    if variable:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **dict([variable])})
    loop.take_stdout()
    kernels = str(runtime() / "peers" / "inductor")
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TORCHINDUCTOR_CACHE_DIR=kernels)
    return loop


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
    """The folder of the model's checkpoint in HF's format; one of seeded weights is written by `llama2-bench synth`."""
    model = request["model"]
    if "checkpoint" in model:
        return Path(model["checkpoint"]["dir"])
    seeded, precision = model["seeded"], request["precision"]

    def synth(folder):
        config = folder.with_suffix(".json")
        config.write_text(json.dumps(seeded["config"]))
        command = [program(), "synth", "--model", config, "--out", folder]
        command += ["--seed", str(seeded["seed"]), "--precision", precision]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
        config.unlink()
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"llama2-bench synth ended with {done.returncode}")

    return made_once("checkpoints", {"seeded": seeded, "precision": precision}, synth)


def program():
    """llama2-bench itself, which names itself to its workers."""
    return Path(os.environ.get("LLAMA2_BENCH") or REPOSITORY / "target" / "release" / "llama2-bench")


def made_once(kind, key, make):
    """A folder that `make(folder)` filled for this `key` once, now or by an earlier worker."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = runtime() / "peers" / kind / digest
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
