"""The programs and libraries that a plan runs with: unpacked from a bundle, or those of a checkout.

A bundle (scripts/gpu-bundle) has versions.json beside run-gpu-checks. It is unpacked into a scratch folder laid out like
a checkout after `make setup build`: configs/, scripts/workers/, target/release/, .runtime/.
"""

import hashlib
import importlib.util
import json
import lzma
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = "llama2-bench"
# The libraries that the onnxruntime engine loads, from the packages of torch's wheel.
CUDA_LIBRARIES = {
    "cu13": (
        "libcudart.so.13",
        "libcublasLt.so.13",
        "libcublas.so.13",
        "libnvrtc.so.13",
        "libcurand.so.10",
        "libcufft.so.12",
    ),
    "cudnn": ("libcudnn.so.9", "libcudnn_graph.so.9", "libcudnn_ops.so.9", "libcudnn_heuristic.so.9"),
}
PACKAGES = {
    "libcudart.so.13": "nvidia-cuda-runtime",
    "libcublasLt.so.13": "nvidia-cublas",
    "libcublas.so.13": "nvidia-cublas",
    "libnvrtc.so.13": "nvidia-cuda-nvrtc",
    "libcurand.so.10": "nvidia-curand",
    "libcufft.so.12": "nvidia-cufft",
}


class Unusable(Exception):
    """This machine can't run a plan; one line for each reason."""


@dataclass
class Torch:
    """A torch installation, found without importing it."""

    folder: Path
    version: str | None = None
    cuda: str | None = None


@dataclass
class Installation:
    """Where the programs are, and the environment that they need."""

    program: Path
    # The folder with configs/ and scripts/, in which the workers in Python find the program.
    root: Path
    variables: dict
    # Facts for summary.json.
    about: dict = field(default_factory=dict)

    def own(self, path):
        """The installation's copy of a file of scripts/gpu; any other file is left where it is."""
        return self.root / "scripts/gpu" / path.name if path.parent == HERE else path


def read_versions(bundle):
    """The bundle's versions.json, or None for a folder that is no bundle."""
    try:
        return json.loads((bundle / "versions.json").read_text())
    except FileNotFoundError:
        return None


def from_checkout(root, programs=None):
    """Use what `make setup build` left in a checkout."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or root / "target")
    folder = programs or next((target / name for name in ("release", "debug") if (target / name / PROGRAM).exists()), None)
    if folder is None or not (folder / PROGRAM).exists():
        raise Unusable(f"{folder or target} has no {PROGRAM}: run `make build`, or name the folder with --programs")
    about = {"bundle": None, "programs": str(folder)}
    return Installation((folder / PROGRAM).absolute(), root, dict(os.environ), about)


def from_bundle(bundle, versions, scratch, torch, driver_folder):
    """Unpack a bundle into `scratch` and link this Python's torch and CUDA libraries into it."""
    unpack(bundle, versions, scratch)
    for folder in ("configs", "scripts"):
        shutil.copytree(bundle / folder, scratch / folder, dirs_exist_ok=True)
    # A copy to another machine may have lost it.
    for worker in (scratch / "scripts/workers").glob("*-worker.py"):
        worker.chmod(0o755)
    folders = library_folders(torch)
    lay_out(scratch / ".runtime", torch, folders)
    about = {
        "bundle": versions["git_revision"],
        "programs": versions["programs"],
        "onnxruntime": versions["onnxruntime"],
        "torch": torch.version,
        "torch_cuda": torch.cuda,
        "missing_libraries": missing_libraries(scratch / ".runtime"),
    }
    program = scratch / "target/release" / PROGRAM
    return Installation(program, scratch, environment(scratch, torch, folders, driver_folder), about)


def unpack(bundle, versions, scratch):
    """Assemble the packed files in `scratch`, and check each against its hash."""
    streams = {}
    for record in versions["unpacked"]:
        target = scratch / record["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with open(target, "wb") as file:
            for name, length in record["pieces"]:
                # Closed below: the next record goes on where this one ends.
                stream = streams.get(name) or streams.setdefault(name, lzma.open(bundle / "streams" / f"{name}.xz"))  # noqa: SIM115
                while length:
                    block = stream.read(min(length, 1 << 22))
                    if not block:
                        raise Unusable(f"streams/{name}.xz ends too early: copy the bundle again")
                    digest.update(block)
                    file.write(block)
                    length -= len(block)
        if digest.hexdigest() != record["sha256"]:
            raise Unusable(f"{record['path']} is damaged: copy the bundle again")
        target.chmod(record["mode"])
    for stream in streams.values():
        stream.close()


def find_torch(folder=None):
    if folder is None:
        spec = importlib.util.find_spec("torch")
        if spec is None or not spec.origin:
            raise Unusable(f"{sys.executable} has no torch: use the Python that has it, or name its folder with --torch")
        folder = Path(spec.origin).parent
    elif not (folder / "lib").is_dir() and (folder / "torch" / "lib").is_dir():
        folder = folder / "torch"
    if not (folder / "lib" / "libtorch_cpu.so").exists():
        raise Unusable(f"{folder} is not torch's folder: it has no lib/libtorch_cpu.so")
    torch = Torch(folder.absolute())
    try:
        text = (folder / "version.py").read_text()
        torch.version = find(r"^__version__ = ['\"]([^'\"]+)", text)
        torch.cuda = find(r"^cuda\b[^=]*= ['\"]([^'\"]+)", text)
    except OSError:
        # An unpacked libtorch has headers alone.
        header = folder / "include/torch/headeronly/version.h"
        if header.is_file():
            parts = re.findall(r"#define TORCH_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header.read_text())
            torch.version = ".".join(parts)
    return torch


def find(pattern, text):
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else None


def library_folders(torch, search=None):
    """Folders that can hold CUDA libraries: beside torch first, then inside it, then on Python's path."""
    roots = [torch.folder.parent, *(Path(entry) for entry in (sys.path if search is None else search) if entry)]
    folders = []
    for root in dict.fromkeys(roots):
        folders += sorted((root / "nvidia").glob("*/lib"))
        if root == torch.folder.parent:
            folders.append(torch.folder / "lib")
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def lay_out(runtime, torch, folders):
    """Link torch and the CUDA libraries where the programs look for them.

    nvidia/cudnn/lib gets every file of cuDNN, nvidia/cu13/lib all others, whichever packages they come from. The dynamic
    loader treats links to one file as one library, so torch may find them by another path.
    """
    link(runtime / "torch", torch.folder)
    # The place where `make peers` installs its Python. A script, not a link: Python would not find its virtual
    # environment through a link.
    python = runtime / "peers/bin/python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    for name in CUDA_LIBRARIES:
        (runtime / "nvidia" / name / "lib").mkdir(parents=True, exist_ok=True)
    for folder in folders:
        in_torch = folder == torch.folder / "lib"
        for library in sorted(folder.glob("lib*.so*")):
            if in_torch and not library.name.startswith(("libcu", "libnv")):
                continue
            package = "cudnn" if library.name.startswith("libcudnn") else "cu13"
            target = runtime / "nvidia" / package / "lib" / library.name
            if not target.is_symlink():
                link(target, library)


def link(name, target):
    name.parent.mkdir(parents=True, exist_ok=True)
    name.unlink(missing_ok=True)
    name.symlink_to(target)


def missing_libraries(runtime):
    """Names the CUDA libraries that the onnxruntime engine will not find, with their packages."""
    return [
        f"{library} (package {PACKAGES.get(library, 'nvidia-cudnn-cu13')})"
        for folder, libraries in CUDA_LIBRARIES.items()
        for library in libraries
        if not (runtime / "nvidia" / folder / "lib" / library).exists()
    ]


def environment(scratch, torch, folders, driver_folder):
    """The environment variables of the programs."""
    runtime = scratch / ".runtime"
    paths = [torch.folder / "lib", runtime / "nvidia/cu13/lib", runtime / "nvidia/cudnn/lib", *folders]
    paths += [driver_folder] if driver_folder else []
    words = [*map(str, dict.fromkeys(paths)), *filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))]
    return {**os.environ, "LLAMA2_BENCH_RUNTIME": str(runtime), "LD_LIBRARY_PATH": ":".join(words)}
