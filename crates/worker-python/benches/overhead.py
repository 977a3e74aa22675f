#!/usr/bin/env python3
"""What the timing loop costs around an engine in Python: a generation whose forwards do nothing.

    cargo build --release -p worker-python && python3 crates/worker-python/benches/overhead.py

The engine is a worker of its own, asked through the pipe as any other. Beside it stands `cargo bench -p worker`, the same of an
engine in Rust. Python 3.11 or newer.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "scripts" / "workers"))
sys.dont_write_bytecode = True

from worker import peers

FORWARDS = 200_000


class Nothing:
    vocab_size, max_position_embeddings = 1, 1 << 20

    def hello(self):
        return {"engine": "nothing", "libraries": [], "devices": []}

    def load(self, request):
        return {"weights_bytes": 0, "notes": []}

    def begin(self, prompt_ids, generation_length):
        pass

    def reset(self):
        pass

    prefill = select = decode = end = reset

    def tokens(self):
        return [[]]

    def logits(self):
        return []


class WithClock(Nothing):
    """As an engine that may run on a GPU."""

    synchronize = mark = device_seconds = Nothing.reset


def measure(name):
    load = {"request": "load", "model": {"checkpoint": {"dir": ""}}, "device": "cpu", "precision": "fp32"}
    load |= {"threads": 1, "memory_limit_bytes": None}
    procedure = {"warmup_runs": 1000, "prompt_runs": 1, "generations": 1}
    ask = {"request": "measure", "prompt_ids": [[0]], "generation_length": FORWARDS, "procedure": procedure}
    requests = "".join(json.dumps(request) + "\n" for request in (load, ask))
    command = [sys.executable, __file__, name]
    done = subprocess.run(command, input=requests, stdout=subprocess.PIPE, text=True, check=True)
    [generation] = json.loads(done.stdout.splitlines()[-1])["generations"]
    timed = statistics.median(generation["token_seconds"])
    print(f"{name}: {1e9 * timed:.0f} ns in a timed forward, {1e9 * generation['wall_seconds'] / FORWARDS:.0f} ns a token in all")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        extension = peers.extension(peers.library())
        extension.take_stdout()
        extension.serve(globals()[sys.argv[1]]())
    else:
        for name in ("Nothing", "WithClock"):
            measure(name)
