"""The parts of a worker's duties that are torch's, whichever engine runs on it."""

import torch

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def library():
    return {"name": "torch", "version": torch.__version__, "path": torch.__file__}


def devices():
    return [{"device": "cpu", "unusable": None}, *cuda_devices()]


def cuda_devices():
    if torch.cuda.is_available():
        return [{"device": f"cuda:{index}", "unusable": None} for index in range(torch.cuda.device_count())]
    built = "torch sees no NVIDIA GPU" if torch.version.cuda else "this build of torch has no CUDA"
    return [{"device": "cuda", "unusable": built}]


def set_up(device, threads):
    """Threads, and of a GPU that it is the one that torch's streams and statistics are about."""
    torch.set_num_threads(threads)
    if device != "cpu":
        torch.cuda.set_device(device)


def bound_memory(device, limit):
    """Limits torch's allocator to `limit` bytes, or not at all where that is None; returns notes for the reader."""
    if device == "cpu":
        if limit is not None:
            raise ValueError("device_memory_limit: cpu has no memory of its own: use memory_limit, or a device such as cuda:0")
        return []
    total = torch.cuda.mem_get_info(device)[1]
    torch.cuda.set_per_process_memory_fraction(1.0 if limit is None else min(limit / total, 1.0), device)
    if limit is None:
        return []
    if limit >= total:
        return [f"the device memory limit of {limit} bytes has no effect: the GPU has {total} bytes"]
    beside = "torch's allocator; what CUDA itself holds comes on top"
    return [f"device memory is limited to {limit} of {total} bytes ({beside})"]


class TorchClock:
    """A base for engines whose forwards torch puts into the current CUDA stream, or computes before it returns."""

    marks = None

    def synchronize(self):
        if self.device != "cpu":
            torch.cuda.synchronize()

    def mark(self):
        if self.device != "cpu":
            self.marks = self.marks or [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            self.marks.reverse()
            self.marks[1].record()

    def device_seconds(self):
        return self.marks[0].elapsed_time(self.marks[1]) / 1000 if self.marks else None

    def device_peak_bytes(self):
        return torch.cuda.max_memory_reserved()

    def empty_device(self):
        """Frees memory before a cell, so that the peak is the cell's own."""
        if self.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
