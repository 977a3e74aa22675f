#!/usr/bin/env python3
"""Check what the programs of a build need from the machine that runs them.

    python3 scripts/check_linkage.py [--glibc 2.28] [FILE | FOLDER ...]

FILE is an ELF program or library; a FOLDER (default: target/release) stands for the llama2-bench* and libllama2_bench_*.so in it.
Each file gets a line: the newest version that it needs of glibc and libstdc++, and its libraries. Every program may need
glibc and libgcc_s. The torch engine may also need libtorch with what libtorch itself needs, and the MPI library may need MPI.

--glibc: fail above this version of glibc, and above the versions of libstdc++ and libgcc that manylinux_2_28 allows.

Exit codes: 0 nothing else is needed, 1 something is, 2 no such file, or readelf (binutils) is missing.
"""

import argparse
import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SYSTEM = ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1", "ld-linux-*.so.[12]"]
# libtorch_cpu.so itself needs libstdc++; the wheel of torch brings libgomp.
TORCH = ["libtorch*.so", "libc10.so", "libgomp.so.1", "libstdc++.so.6"]
EXTRA = {"llama2-bench-torch": TORCH, "libllama2_bench_mpi.so": ["libmpi.so.*"]}
# https://github.com/pypa/auditwheel: manylinux-policy.json, manylinux_2_28.
MANYLINUX = {"GLIBCXX": (3, 4, 24), "CXXABI": (1, 3, 11), "GCC": (7, 0, 0)}


def version(text):
    return tuple(map(int, text.split(".")))


def dotted(numbers):
    return ".".join(map(str, numbers))


def needs(dynamic, versions):
    """The libraries, the search path and the newest symbol versions, of the output of `readelf -d` and `readelf -V`."""
    libraries = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    search_path = ":".join(re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", dynamic))
    newest = {}
    # Only versions that the file needs: those that a library defines are in another section.
    needed = versions.partition(".gnu.version_r")[2]
    for name, numbers in re.findall(r"Name: (GLIBC|GLIBCXX|CXXABI|GCC)_([\d.]+)", needed):
        newest[name] = max(newest.get(name, (0,)), version(numbers))
    return libraries, search_path, newest


def readelf(flag, path):
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(["readelf", "-W", flag, path], check=True, capture_output=True, text=True, env=environment).stdout


def faults(name, libraries, newest, glibc):
    """What a file needs beyond what it may need."""
    allowed = SYSTEM + EXTRA.get(name, [])
    found = [f"needs {lib}" for lib in libraries if not any(fnmatch.fnmatchcase(lib, pattern) for pattern in allowed)]
    if glibc:
        for symbols, most in {"GLIBC": glibc, **MANYLINUX}.items():
            if newest.get(symbols, (0,)) > most:
                found.append(f"needs {symbols}_{dotted(newest[symbols])}, and {dotted(most)} is the most")
    return found


def files(paths):
    for path in paths:
        if path.is_dir():
            inside = [*path.glob("llama2-bench*"), *path.glob("libllama2_bench_*.so")]
            yield from sorted(file for file in inside if file.is_file() and file.suffix in ("", ".so"))
        else:
            yield path


def check(paths, glibc=None):
    """Print a line for each file; returns how many have a fault."""
    faulty = 0
    for path in files(paths):
        libraries, search_path, newest = needs(readelf("-d", path), readelf("-V", path))
        symbols = " ".join(f"{name} {dotted(numbers)}" for name, numbers in sorted(newest.items()) if name.startswith("GLIBC"))
        print(f"{path.name}: {symbols}; {' '.join(libraries)}" + (f"; RUNPATH {search_path}" if search_path else ""))
        found = faults(path.name, libraries, newest, glibc)
        for fault in found:
            print(f"check_linkage: {path}: {fault}", file=sys.stderr)
        faulty += bool(found)
    return faulty


def main():
    parser = argparse.ArgumentParser(description="Check what programs need from the machine that runs them.")
    parser.add_argument("paths", nargs="*", type=Path, metavar="FILE | FOLDER", help="default: target/release")
    parser.add_argument("--glibc", type=version, help="the newest version of glibc that a file may need, such as 2.28")
    arguments = parser.parse_args()
    paths = arguments.paths or [Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"]
    try:
        if not list(files(paths)):
            print(f"check_linkage: no program in {' '.join(map(str, paths))}", file=sys.stderr)
            return 2
        return 1 if check(paths, arguments.glibc) else 0
    except FileNotFoundError:
        print("check_linkage: no readelf: install binutils", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"check_linkage: {error.stderr.strip()}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
