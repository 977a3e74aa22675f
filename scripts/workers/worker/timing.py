"""The timing loop of METHODOLOGY.md, call by call that of crates/worker/src/timing.rs; and untimed generation."""

import hashlib
import math
import struct
import sys
import time

from . import until
from .memory import peak_bytes, reset_peak


def measure(engine, prompt_ids, generation_length, procedure, reporter):
    """Measures one cell."""
    warmup_runs, prompt_runs = procedure["warmup_runs"], procedure["prompt_runs"]
    peak_since_reset = reset_peak()
    reporter.begin("prompt", warmup_runs + prompt_runs)
    engine.keeps_logits = False
    engine.begin(prompt_ids, generation_length)
    prompts = []
    for run in range(warmup_runs + prompt_runs):
        engine.reset()
        latency = _time(engine, engine.prefill, reporter)
        if run >= warmup_runs:
            prompts.append(latency)
            if _is_known(procedure, prompt_runs, [host for host, _ in prompts]):
                break

    warmup = min(generation_length, warmup_runs)
    reporter.begin("decode", warmup + 1 + procedure["generations"] * (1 + generation_length))
    _generation(engine, warmup, reporter)
    generations, on_device = [], []
    for _ in range(procedure["generations"]):
        generation, device_seconds = _generation(engine, generation_length, reporter)
        generations.append(generation)
        on_device.append(device_seconds)
        series = [[one["wall_seconds"] for one in generations]]
        if generation_length > 0:
            series.append([sum(one["token_seconds"]) / generation_length for one in generations])
        if _is_known(procedure, procedure["generations"], *series):
            break

    check_finite(engine.logits())
    measured = {
        "prompt_seconds": [host for host, _ in prompts],
        "generations": generations,
        "memory": {
            "weights_bytes": None,
            "kv_cache_bytes": engine.kv_cache_bytes(),
            "peak_bytes": _peak(engine, peak_since_reset),
        },
        "tokens_sha256": tokens_sha256(engine.tokens()),
    }
    device_seconds = {"prompt": [device for _, device in prompts], "tokens": on_device}
    if all(seconds is not None for row in [device_seconds["prompt"], *on_device] for seconds in row):
        measured["device_seconds"] = device_seconds
    try:
        engine.end()
    except Exception as error:
        # The cell is measured; the next `begin` says whether the engine can go on.
        print(error, file=sys.stderr)
    return measured


def _is_known(procedure, most, *series):
    """Whether the means of these series are known as well as the procedure asks, so that nothing more of them is timed."""
    share = procedure.get("until")
    if share is None or not until.is_look(len(series[0]), least := min(procedure["min_runs"], most)):
        return False
    return until.is_reached(series, share, least, most)


def _generation(engine, generation_length, reporter):
    """Choosing tokens is between the timed forwards, and inside the wall clock."""
    tokens = []
    engine.reset()
    engine.synchronize()
    start = time.perf_counter()
    prompt, _ = _time(engine, engine.prefill, reporter)
    for _ in range(generation_length):
        engine.select()
        tokens.append(_time(engine, engine.decode, reporter))
    wall = time.perf_counter() - start
    host, device = [host for host, _ in tokens], [device for _, device in tokens]
    return {"prompt_seconds": prompt, "token_seconds": host, "wall_seconds": wall}, device


def _time(engine, forward, reporter):
    """Seconds of one forward by the host's clock and by the device's, the device idle before and after it."""
    engine.synchronize()
    engine.mark()
    start = time.perf_counter()
    forward()
    engine.mark()
    engine.synchronize()
    host = time.perf_counter() - start
    reporter.step(host)
    return host, engine.device_seconds()


def _peak(engine, peak_since_reset):
    if engine.device != "cpu":
        return engine.device_peak_bytes()
    return peak_bytes() if peak_since_reset else None


def generate(engine, prompt_ids, max_new_tokens, keep_logits, reporter):
    """`max_new_tokens` greedy tokens a row, and the logits that chose them."""
    reporter.begin("prompt", 1)
    engine.keeps_logits = True
    engine.begin(prompt_ids, max_new_tokens - 1)
    engine.reset()
    digest, kept = hashlib.sha256(), []
    for step in range(max_new_tokens):
        if step == 0:
            engine.prefill()
            reporter.begin("decode", max_new_tokens - 1)
        else:
            engine.decode()
        engine.synchronize()
        rows = engine.logits()
        check_finite(rows)
        for row in rows:
            digest.update(row)
        if keep_logits:
            kept.append([memoryview(row).tolist() for row in rows])
        engine.select()
    engine.synchronize()
    tokens = engine.tokens()
    engine.end()
    return {"tokens": tokens, "logits_sha256": digest.hexdigest(), "logits": kept if keep_logits else None}


def check_finite(rows):
    """An engine that computes NaN is fast at computing nothing."""
    logits = [logit for row in rows for logit in memoryview(row).tolist()]
    wrong = sum(not math.isfinite(logit) for logit in logits)
    if wrong:
        raise ArithmeticError(f"{wrong} of {len(logits)} logits are not finite numbers")


def tokens_sha256(rows):
    return hashlib.sha256(b"".join(struct.pack(f"<{len(row)}I", *row) for row in rows)).hexdigest()
