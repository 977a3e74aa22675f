#!/usr/bin/env python3
"""Pack the programs of a build as a wheel: `make wheel`.

    python3 scripts/wheel.py [--programs target/release] [--glibc 2.28] [--out target/wheels]

Leaves OUT/llama2_bench-VERSION-py3-none-manylinux_2_N_ARCHITECTURE.whl. `pip install 'llama2-bench[cpu]'` puts the
programs into the environment's bin, and ONNX Runtime and libtorch into its site-packages, where the programs look for them. Sweeps,
models and the peers' workers are put into its share/llama2-bench. N is the newest glibc that a program needs. The extras pin what
scripts/runtimes and scripts/peers-requirements.in pin. maturin packs one crate and compiles it itself; we pack programs of several
crates that are already built, and a wheel is an archive with four files of its own.

Two runs with the same programs write the same bytes. --glibc: see scripts/check_linkage.py, which checks every program first.

Exit codes: 0 packed, 1 a program needs too much, 2 it could not be done.
"""

import base64
import hashlib
import platform
import re
import sys
import zipfile
from pathlib import Path

import check_linkage
import release_notes
import tarball

ROOT = Path(__file__).resolve().parent.parent
# The libraries that each extra installs, and the files that pin them.
EXTRAS = {
    "cpu": {"onnxruntime-cpu.txt": ["onnxruntime"], "torch-cpu.txt": ["torch"]},
    "cuda": {"onnxruntime-cuda.txt": ["onnxruntime-gpu"], "torch-cuda.txt": ["torch"]},
}
# MPI is not the same on two machines.
LEFT_OUT = {"libllama2_bench_mpi.so"}
# Side by side, as in a clone: configs/peers.toml names the workers.
SHARED = ["configs", "scripts/workers"]


def pins(folder):
    """The requirements of each extra, such as `torch==2.11.0`."""
    peers = peers_pins()
    for extra, files in EXTRAS.items():
        for file, names in files.items():
            text = (folder / file).read_text()
            for name in names:
                pin = re.search(rf"^{name}==\S+", text, re.MULTILINE)[0]
                if extra == "cpu" and pin not in peers:
                    raise tarball.CannotPack(f"{folder / file}: {pin}, which peers-requirements.in does not pin")
                yield extra, pin
    for pin in peers:
        yield "peers", pin


def peers_pins():
    """What `make peers` is asked for, without the tools that build llama.cpp, which pip fetches, and CUDA's headers for pytorch-aoti."""
    text = (ROOT / "scripts/peers-requirements.in").read_text()
    return [pin for pin in re.findall(r"^[\w.-]+==\S+$", text, re.MULTILINE) if not pin.startswith("nvidia-")]


def metadata(version, requirements):
    lines = [
        "Metadata-Version: 2.4",
        "Name: llama2-bench",
        f"Version: {version}",
        "Summary: Measures LLaMA inference engines, and regenerates the published LLaMA-2 latency and throughput tables",
        "License-Expression: MIT",
        "License-File: LICENSE",
        "Requires-Python: >=3.11",
        "Classifier: Environment :: Console",
        "Classifier: Environment :: GPU :: NVIDIA CUDA",
        "Classifier: Operating System :: POSIX :: Linux",
        "Classifier: Programming Language :: Rust",
        "Classifier: Topic :: System :: Benchmark",
        *(f"Provides-Extra: {extra}" for extra in dict.fromkeys(extra for extra, _ in requirements)),
        *(f'Requires-Dist: {pin}; extra == "{extra}"' for extra, pin in requirements),
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join(lines) + "\n\n" + release_notes.absolute_links((ROOT / "docs/guide/install.md").read_text(), version, "docs/guide/")


def platform_tag(programs):
    """The oldest platform that has the glibc that every program needs."""
    newest = [check_linkage.needs("", check_linkage.readelf("-V", path))[2].get("GLIBC", (2, 28)) for path in programs]
    major, minor = max([*newest, (2, 28)])[:2]
    return f"manylinux_{major}_{minor}_{platform.machine()}"


def for_site_packages(program):
    """A program without the folders of a clone at the end of its search path: an environment may be in a folder that has libraries of
    somebody else's."""
    begin = program.find(b":$ORIGIN/../../.runtime/")
    if begin < 0:
        return program
    end = program.index(b"\0", begin)
    return program[:begin] + bytes(end - begin) + program[end:]


def write(wheel, files, executable):
    """Write an archive of `files`, name to content, and the record of their hashes, in which nothing depends on when it was made."""
    name, version = wheel.name.split("-")[:2]
    record_name = f"{name}-{version}.dist-info/RECORD"
    record = []
    wheel.parent.mkdir(parents=True, exist_ok=True)
    partial = wheel.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:

        def add(member, content):
            info = zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if member in executable else 0o100644) << 16
            archive.writestr(info, content)

        for member, content in files.items():
            add(member, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{member},sha256={digest},{len(content)}\n")
        add(record_name, "".join([*record, f"{record_name},,\n"]).encode())
    partial.replace(wheel)


def shared_files():
    """The files of the folders in SHARED, in one order."""
    for name in SHARED:
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def pack(folder, version, out):
    """Write the wheel of the programs in a folder into `out`; returns its path."""
    programs = sorted(path for path in folder.iterdir() if path.name not in LEFT_OUT)
    runtimes = ROOT / "scripts" / "runtimes"
    if platform.machine() == "aarch64":
        runtimes /= "aarch64"
    name = f"llama2_bench-{version}"
    tag = f"py3-none-{platform_tag(programs)}"
    scripts = {f"{name}.data/scripts/{path.name}": path for path in programs}
    data = {f"{name}.data/data/share/llama2-bench/{path.relative_to(ROOT)}": path for path in shared_files()}
    info = {
        "METADATA": metadata(version, list(pins(runtimes))),
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: llama2-bench {version}\nRoot-Is-Purelib: false\nTag: {tag}\n",
        "licenses/LICENSE": (ROOT / "LICENSE").read_text(),
    }
    files = {member: for_site_packages(path.read_bytes()) for member, path in scripts.items()}
    files |= {member: path.read_bytes() for member, path in data.items()}
    files |= {f"{name}.dist-info/{file}": text.encode() for file, text in info.items()}
    # pip and uv keep the mode of what they unpack.
    executable = {member for member, path in data.items() if path.stat().st_mode & 0o100}
    wheel = out / f"{name}-{tag}.whl"
    write(wheel, files, executable | scripts.keys())
    return wheel


if __name__ == "__main__":
    sys.exit(tarball.command("wheel", "Pack the programs of a build as a wheel.", pack, "wheels"))
