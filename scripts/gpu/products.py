#!/usr/bin/env python3
"""Time the matrix products of a 7B forward at few rows, and one large product sustained for seconds.

    products.py --device cuda:0

Decode multiplies 1, 4 or 16 rows with weights that have to be read from memory, so each product is judged by bytes of
weights per second. Every launch takes other weights, more together than the GPU's cache holds, and a CUDA graph launches
them, several times between two events of the GPU's clock, so that neither cache nor launch overhead is timed. With
`--device cpu` everything is small and the host's clock is used: that is a rehearsal.
"""

import argparse
import subprocess
import time

import torch

HIDDEN, INTERMEDIATE = 4096, 11008
# Name, outputs, inputs: F.linear's weight is [outputs, inputs].
PRODUCTS = (
    ("q, k, v or o", HIDDEN, HIDDEN),
    ("packed q, k, v", 3 * HIDDEN, HIDDEN),
    ("gate or up", INTERMEDIATE, HIDDEN),
    ("packed gate and up", 2 * INTERMEDIATE, HIDDEN),
    ("down", HIDDEN, INTERMEDIATE),
    ("logits", 32000, HIDDEN),
)
ROWS = (1, 4, 16)
# Weights are rotated through this many bytes, several times a GPU's last cache.
ROTATED_BYTES = 1 << 30
REPEATS = 10
# One run takes about 0.2 ms, a launch and a wait 15 to 30 µs: several runs are launched before the GPU is waited for.
RUNS_BETWEEN_EVENTS = 10
SUSTAINED_SIZE, SUSTAINED_SECONDS = 8192, 3.0
SMI = ("clocks.sm", "power.draw", "temperature.gpu", "clocks_event_reasons.active")


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def launches(device, inputs, weights):
    """A function that multiplies `inputs` with all weights once; a CUDA graph on a GPU."""

    def all_products():
        for weight in weights:
            torch.nn.functional.linear(inputs, weight)

    all_products()
    if device.type != "cuda":
        return all_products
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        all_products()
    wait(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        all_products()
    return graph.replay


def seconds_of_one(device, rows, outputs, inputs, count, dtype):
    weights = [torch.randn(outputs, inputs, device=device, dtype=dtype) * 0.01 for _ in range(count)]
    run = launches(device, torch.randn(rows, inputs, device=device, dtype=dtype), weights)
    run()
    wait(device)
    times = [seconds_of_run(device, run) for _ in range(REPEATS if device.type == "cuda" else 2)]
    return sorted(times)[len(times) // 2] / count


def seconds_of_run(device, run):
    """Mean seconds of one run: on a GPU by its own clock, of several runs between two events."""
    if device.type != "cuda":
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(RUNS_BETWEEN_EVENTS):
        run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / RUNS_BETWEEN_EVENTS


def libraries(device):
    """The libraries that torch can take products from, and a function that chooses one."""
    choose = getattr(torch.backends.cuda, "preferred_blas_library", None)
    if device.type != "cuda" or choose is None:
        return [("torch", lambda: None)]
    return [(name, lambda name=name: choose(name)) for name in ("cublas", "cublaslt")]


def few_rows(device, dtype, shrink):
    print("| Library | Product | Rows | Time (µs) | Weights (GB/s) |")
    print("|---|---|---|---|---|")
    for library, choose in libraries(device):
        choose()
        for name, outputs, inputs in PRODUCTS:
            outputs, inputs = outputs // shrink, inputs // shrink
            weight_bytes = outputs * inputs * dtype.itemsize
            count = max(2, ROTATED_BYTES // weight_bytes) if device.type == "cuda" else 2
            for rows in ROWS:
                seconds = seconds_of_one(device, rows, outputs, inputs, count, dtype)
                rate = weight_bytes / seconds / 1e9
                print(f"| {library} | {name} | {rows} | {seconds * 1e6:.1f} | {rate:.0f} |", flush=True)


def sustained(device, dtype, size, seconds):
    """Multiplies two square matrices for so long; prints the rate of each half second beside the GPU's own log."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    torch.matmul(left, right)
    wait(device)
    smi = start_smi(device)
    begin = last = time.perf_counter()
    products = 0
    print("\n| Since the start (s) | TFLOP/s |")
    print("|---|---|")
    while last - begin < seconds:
        for _ in range(8 if device.type == "cuda" else 1):
            torch.matmul(left, right)
            products += 1
        wait(device)
        now = time.perf_counter()
        if now - last >= seconds / 6:
            print(f"| {now - begin:.2f} | {2 * size**3 * products / (now - last) / 1e12:.1f} |", flush=True)
            products, last = 0, now
        elif now - begin >= seconds:
            break
    if smi is not None:
        smi.terminate()
        print(f"\nnvidia-smi every 200 ms: {', '.join(SMI)}\n{smi.communicate()[0].strip()}", flush=True)


def start_smi(device):
    if device.type != "cuda":
        return None
    command = ["nvidia-smi", "-i", str(device.index or 0), f"--query-gpu={','.join(SMI)}", "--format=csv,noheader"]
    try:
        return subprocess.Popen([*command, "-lms", "200"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError as error:
        print(f"nvidia-smi: {error.strerror}: no clocks")
        return None


def main():
    parser = argparse.ArgumentParser(description="Time the matrix products of a 7B forward.")
    parser.add_argument("--device", default="cuda:0")
    device = torch.device(parser.parse_args().device)
    on_gpu = device.type == "cuda"
    dtype = torch.float16 if on_gpu else torch.float32
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name(device) if on_gpu else 'CPU'}, {dtype}\n")
    with torch.inference_mode():
        few_rows(device, dtype, 1 if on_gpu else 16)
        sustained(device, dtype, SUSTAINED_SIZE if on_gpu else 128, SUSTAINED_SECONDS if on_gpu else 0.1)


if __name__ == "__main__":
    main()
