"""The worker's own memory. Linux."""

import re
from pathlib import Path


def reset_peak():
    """Lets the peak start anew from what is resident now; False where that is not allowed (`man 5 proc`, clear_refs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes():
    """The most that was resident since `reset_peak`."""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def words_of(error):
    """The library's own message; of Python's own errors the kind as well, for it says more than `'x'` or nothing."""
    text = str(error)
    is_plain = isinstance(error, (MemoryError, LookupError, TypeError, AttributeError)) or not text
    return f"{type(error).__name__}: {text}".rstrip(": ") if is_plain else text
