"""One forward of each kind for a profiler: call by call crates/worker/src/profile.rs."""

import ctypes
import sys

from .timing import check_finite


class Profilers:
    """NVIDIA's profilers, as far as this process reaches them: the driver's switch, and NVTX through a torch built with CUDA."""

    def __init__(self):
        self.notes = []
        try:
            self.driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            self.driver = None
            self.notes.append(f"no CUDA driver, so no profiler is switched on: {error}")
        torch = sys.modules.get("torch")
        self.nvtx = torch.cuda.nvtx if torch and torch.version.cuda else None
        if self.nvtx is None:
            self.notes.append("no NVTX ranges: this worker has no torch with CUDA")

    def start(self):
        self._call("cuProfilerStart")

    def stop(self):
        self._call("cuProfilerStop")

    def push(self, name):
        if self.nvtx:
            self.nvtx.range_push(name)

    def pop(self):
        if self.nvtx:
            self.nvtx.range_pop()

    def _call(self, function):
        if self.driver:
            code = getattr(self.driver, function)()
            if code:
                self.notes.append(f"{function} failed with error {code}: no profiler records this")


def profile(engine, prompt_ids, generation_length, warmup_runs, reporter, profilers):
    """Warm-ups as of a measurement, then one prefill, one choice of tokens and one decode forward with the profiler on."""
    reporter.begin("prompt", warmup_runs)
    engine.keeps_logits = False
    engine.begin(prompt_ids, generation_length)
    for _ in range(warmup_runs):
        _prefill(engine, reporter)
    decodes = min(generation_length, warmup_runs)
    reporter.begin("decode", decodes + 3)
    _prefill(engine, reporter)
    for _ in range(decodes):
        engine.select()
        engine.decode()
        engine.synchronize()
        reporter.step(None)

    engine.reset()
    engine.synchronize()
    cell = f"{len(prompt_ids)}x{len(prompt_ids[0])}"
    profilers.start()
    try:
        for name in ("prefill", "select", "decode"):
            profilers.push(f"{name} {cell}")
            try:
                getattr(engine, name)()
                engine.synchronize()
            finally:
                profilers.pop()
            if name != "select":
                reporter.step(None)
    finally:
        profilers.stop()

    check_finite(engine.logits())
    engine.end()
    return {"notes": profilers.notes}


def _prefill(engine, reporter):
    engine.reset()
    engine.prefill()
    engine.synchronize()
    reporter.step(None)
