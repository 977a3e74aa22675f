#!/usr/bin/env python3
"""Fetch the native runtimes of llama2-bench: ONNX Runtime and libtorch.

    python3 scripts/setup.py [--variant auto|cpu|cuda]

Both come from Python wheels pinned by hash in scripts/runtimes/*.txt (for x86_64; those for aarch64 are in scripts/runtimes/aarch64),
unpacked side by side:

    .runtime/onnxruntime/capi/libonnxruntime.so.*    ONNX Runtime
    .runtime/torch/{lib,include,share}               libtorch
    .runtime/nvidia/...                              CUDA libraries, where libtorch's own search path expects them

No Python package is installed: pip only downloads, and nothing is written outside .runtime (pip's cache aside). Set
LLAMA2_BENCH_RUNTIME to use another folder. A second run compares the size of every file with the wheel's, and puts back
a package whose files are cut short, missing, or replaced; after a run cut short, it goes on from there.

In a requirement file, comments right above a pin belong to it:

    # download 530.7 MB, unpacked 492.4 MB      how large it is
    # keep PATTERN...                           the files to unpack; all of them where this is not said
    # link NAME TARGET                          a symbolic link to lay beside them

In .runtime, .wheels/ holds downloads until they are unpacked, .unpack/ packages on their way into place, .pip.log what
pip said when it failed, and .stamps/NAME-VERSION.json the record of a package that is in place: its wheel's hash and its
files with their sizes. The record is written as .partial before the first file is moved, and renamed after the last.

Exit codes: 0 everything is in place, 2 it could not be done, 130 interrupted.
"""

import argparse
import ctypes
import errno
import fcntl
import fnmatch
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import stat
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from run_pip import CHOOSE_FOLDER, MAKE_ROOM, SetupError, run_pip

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIREMENTS = REPOSITORY / "scripts" / "runtimes"
RUNTIMES = ("onnxruntime", "torch")
PYTHON_VERSION = "3.12"
# Where each architecture's requirement files are, below REQUIREMENTS. Those of x86_64 were the only ones once.
ARCHITECTURES = {"x86_64": ".", "aarch64": "aarch64"}
OLDEST_GLIBC = (2, 28)
# onnxruntime-gpu for aarch64 is built on a newer one.
OLDEST_GLIBC_OF = {("aarch64", "cuda"): (2, 34)}

# What else the folder may hold before the first set-up: what an interrupted one, `make peers`, the engines and
# scripts/gpu-bundle make there.
OURS = {".lock", ".pip.log", ".unpack", ".wheels", "aoti", "gpu-bundle", "gpu-bundle.partial", "gpu-bundle-cache", "peers", "vllm"}
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), MAKE_ROOM),
    errno.ELOOP: "delete this link",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), CHOOSE_FOLDER),
}


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    sha256: str
    keep: tuple
    links: tuple
    download_mb: float
    unpacked_mb: float

    def __str__(self):
        return f"{self.name} {self.version}"

    def keeps(self, member):
        patterns = self.keep or ("*",)
        return not member.is_dir() and any(fnmatch.fnmatchcase(member.filename, pattern) for pattern in patterns)

    def members(self, archive):
        """The files to unpack from its wheel; an error where one leads elsewhere, or all are larger than the requirement file says."""
        members = [member for member in archive.infolist() if self.keeps(member)]
        for member in members:
            if not is_inside(member.filename) or stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                raise SetupError(f"{self}: its wheel holds {member.filename!r}, which is not a file in a folder of its own")
        megabytes = sum(member.file_size for member in members) / 1e6
        if megabytes > self.unpacked_mb + 0.1:
            raise SetupError(f"{self}: its wheel unpacks to {megabytes:.1f} MB; its requirement file says {self.unpacked_mb} MB")
        return members

    def record(self, files):
        """What the stamp says once these files, each with its `state`, are in place."""
        selection = [*self.keep, *(f"{name} -> {target}" for name, target in self.links)]
        return {"sha256": self.sha256, "selection": selection, "file_count": len(files), "files": files}


def read_requirements(path):
    packages, sizes, keep, links = [], (0, 0), [], []
    for line in path.read_text().splitlines():
        if size := re.fullmatch(r"# download ([\d.]+) MB, unpacked ([\d.]+) MB", line):
            sizes = map(float, size.groups())
        elif line.startswith("# keep "):
            keep += line.split()[2:]
        elif line.startswith("# link "):
            links.append(tuple(line.split()[2:]))
        elif pin := re.fullmatch(r"([\w.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})", line):
            packages.append(Package(*pin.groups(), tuple(keep), tuple(links), *sizes))
            sizes, keep, links = (0, 0), [], []
        elif line.strip() and not line.startswith("#"):
            raise SetupError(f"{path}: not a pinned requirement: {line}")
    return packages


def detect_variant():
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        return "cuda"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "cpu"
    return "cuda"


def check_platform(variant):
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in ARCHITECTURES:
        raise SetupError(f"the runtimes are built for Linux on x86_64 and aarch64, and this is {system} on {machine}")
    libc, version = platform.libc_ver()
    oldest = OLDEST_GLIBC_OF.get((machine, variant), OLDEST_GLIBC)
    if libc != "glibc" or tuple(map(int, version.split(".")[:2])) < oldest:
        needed = ".".join(map(str, oldest))
        raise SetupError(
            f"the {variant.upper()} runtimes need glibc {needed} or newer, and this is {libc or 'another C library'} {version}"
        )


def platform_tags():
    """The platforms of wheels that fit this machine; which wheel is taken, its hash decides."""
    machine = platform.machine()
    return [f"manylinux2014_{machine}"] + [f"manylinux_2_{minor}_{machine}" for minor in range(5, 35)]


def requirement_files(variant):
    folder = REQUIREMENTS / ARCHITECTURES[platform.machine()]
    return [folder / f"{name}-{variant}.txt" for name in RUNTIMES]


class Runtime:
    """The folder that the packages are unpacked into, and the records of what is in it."""

    def __init__(self, folder):
        self.folder = folder
        self.wheels = folder / ".wheels"
        self.unpacking = folder / ".unpack"
        self.stamps = folder / ".stamps"

    def stamp(self, package):
        return self.stamps / f"{package.name}-{package.version}.json"

    def has(self, package):
        record = read_record(self.stamp(package))
        files = record["files"]
        return (
            isinstance(files, dict)
            and record == package.record(files)
            and all(self.reaches(folder) for folder in {os.path.dirname(name) for name in files})
            and all(state(f"{self.folder}/{name}") == expected for name, expected in files.items())
        )

    def reaches(self, folder):
        """Whether this folder of a package is there, and no link on the way leads elsewhere."""
        path = os.path.join(os.path.realpath(self.folder), folder)
        return os.path.isdir(path) and os.path.realpath(path) == path

    def holds_only(self, packages):
        stamps = {self.stamp(package) for package in packages}
        return set(self.stamps.iterdir()) == stamps and not self.wheels.exists() and not self.unpacking.exists()

    def lock(self):
        """Keep this folder to the present process and to a pip that outlives it."""
        # Read once: another set-up may begin at this moment.
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        if self.stamps.name not in names and names - OURS:
            raise SetupError(f"{self.folder}: not empty and not made by this script; empty it or name another folder")
        self.stamps.mkdir(parents=True, exist_ok=True)
        lock = open(os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another setup of this folder to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def wheel(self, package, folder=None):
        """The finished download of a package, or None; a broken one is deleted."""
        for path in (folder or self.wheels).glob(f"{re.sub('[-_.]+', '_', package.name)}-{package.version}-*.whl"):
            if path.is_file() and sha256(path) == package.sha256:
                return path
            remove(path)
        return None

    def download(self, package, lock):
        """Have pip download the wheel. It gets its name in .wheels once its hash is found right."""
        temporary = self.wheels / "tmp"
        remove(temporary)
        temporary.mkdir(parents=True)
        requirement = temporary / "requirement.txt"
        requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
        words = ["download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        words += ["--implementation=cp", f"--python-version={PYTHON_VERSION}"]
        words += [f"--platform={tag}" for tag in platform_tags()]
        words += [f"--dest={temporary}", f"--requirement={requirement}"]
        try:
            run_pip(sys.executable, words, self.folder, lock, env={**os.environ, "TMPDIR": str(temporary)})
        except SetupError as error:
            raise SetupError(f"{package}: {error}") from None
        wheel = self.wheel(package, temporary)
        if wheel is None:
            raise SetupError(f"{package}: pip left no wheel with the pinned hash in {temporary}")
        return wheel.replace(self.wheels / wheel.name)

    def remove_all_but(self, packages):
        """Delete the files of every other package, and of those that are half in place."""
        for stamp in set(self.stamps.iterdir()) - {self.stamp(package) for package in packages}:
            for name in read_record(stamp)["files"]:
                if self.reaches(os.path.dirname(name)):
                    remove(self.folder / name)
                    remove_empty_folders((self.folder / name).parent, self.folder)
            remove(stamp)

    def unpack(self, package, wheel):
        """Unpack a wheel, not yet in its place; returns the `state` of each file."""
        top = self.unpacking / package.name
        try:
            with zipfile.ZipFile(wheel) as archive:
                members = package.members(archive)
                for member in members:
                    path = archive.extract(member, top)
                    os.chmod(path, (member.external_attr >> 16) & 0o777 | 0o644)
        except OSError as error:
            raise OSError(error.errno, f"{package} could not be unpacked: {error.strerror}", self.folder) from None
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise SetupError(f"{package}: its wheel can't be unpacked: {error}") from None
        for name, target in package.links:
            os.symlink(target, top / name)
        names = sorted([member.filename for member in members] + [name for name, _ in package.links])
        return {name: state(top / name) for name in names}

    def put_in_place(self, package, files):
        """Move unpacked files to where they belong."""
        partial = self.stamp(package).with_suffix(".partial")
        partial.write_text(json.dumps(package.record(files), indent=0))
        for folder in sorted({os.path.dirname(name) for name in files}):
            self.make_folder(folder)
        for name in files:
            if (self.folder / name).is_dir():
                remove(self.folder / name)
            os.replace(self.unpacking / package.name / name, self.folder / name)
        os.replace(partial, self.stamp(package))
        say(f"{package}: {len(files)} files in place")

    def make_folder(self, folder):
        """Make a folder of a package, in the place of a file or a link where one is in the way."""
        path = self.folder
        for part in Path(folder).parts:
            path /= part
            if path.is_symlink() or not path.is_dir():
                remove(path)
                path.mkdir()


def read_record(stamp):
    """A stamp. It has no files where it can't be read or names one outside the folder, and files without sizes where it is older."""
    try:
        record = json.loads(stamp.read_text())
        return record if all(map(is_inside, record["files"])) else {"files": []}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"files": []}


def is_inside(name):
    """Whether a file of this name is in a package's own folder, below the runtime's."""
    return not name.startswith(".") and "\\" not in name and not {"", ".", ".."} & set(name.split("/"))


def state(path):
    """A file's size, a link's target, or None."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return os.readlink(path)
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def remove(path):
    """Delete a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_empty_folders(folder, top):
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def say(line):
    print(line, flush=True)


def runtime_folder():
    return Path(os.environ.get("LLAMA2_BENCH_RUNTIME") or REPOSITORY / ".runtime").absolute()


def exit_code(work):
    """Do the work of a script that goes on where it was stopped; what went wrong is one line."""
    try:
        work()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        remedy = f"; {REMEDIES[error.errno]}" if error.errno in REMEDIES else ""
        print(f"error: {where}{error.strerror or error}{remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the next run goes on from here", file=sys.stderr)
        return 130
    return 0


def announce(packages, wheels, folder):
    """Say what will be fetched and how large it is, and fail where the disk has no room for it."""
    for package in packages:
        state = "already downloaded" if wheels[package] else f"download {package.download_mb:.1f} MB"
        say(f"{package!s:28} {state}, unpacked {package.unpacked_mb:.1f} MB")
    downloads = [package.download_mb for package in packages if not wheels[package]]
    unpacked = sum(package.unpacked_mb for package in packages)
    say(f"{'together':28} download {sum(downloads):.1f} MB, unpacked {unpacked:.1f} MB")
    need, free = sum(downloads) + max(downloads, default=0) + unpacked, shutil.disk_usage(folder).free / 1e6
    if free < need:
        raise SetupError(f"{folder}: setting up needs {need:.0f} MB of free disk space, and there are {free:.0f} MB")


def set_up(variant, folder):
    variant = detect_variant() if variant == "auto" else variant
    check_platform(variant)
    say(f"{variant.upper()} runtimes of llama2-bench in {folder}")
    packages = [package for path in requirement_files(variant) for package in read_requirements(path)]
    runtime = Runtime(folder)
    present = {package for package in packages if runtime.has(package)}
    for package in packages:
        if package in present:
            say(f"{package!s:28} already here")
    if len(present) == len(packages) and runtime.holds_only(packages):
        return
    if importlib.util.find_spec("pip") is None:
        raise SetupError(f"{sys.executable} has no pip: install it (on Debian: apt install python3-pip)")

    with runtime.lock() as lock:
        missing = [package for package in packages if not runtime.has(package)]
        wheels = {package: runtime.wheel(package) for package in missing}
        if missing:
            announce(missing, wheels, folder)
        for package in missing:
            wheels[package] = wheels[package] or runtime.download(package, lock)
        try:
            remove(runtime.unpacking)
            files = {package: runtime.unpack(package, wheels[package]) for package in missing}
            # A power failure can leave a file with its size but without its content.
            os.sync()
            runtime.remove_all_but(set(packages) - set(missing))
            for package in missing:
                runtime.put_in_place(package, files[package])
        finally:
            remove(runtime.unpacking)
        remove(runtime.wheels)
    say(f"libtorch is in {folder / 'torch'}, ONNX Runtime in {folder / 'onnxruntime' / 'capi'}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Fetch ONNX Runtime and libtorch into .runtime.")
    parser.add_argument(
        "--variant",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="which builds to fetch; auto, the default, takes cuda where there is an NVIDIA driver and cpu elsewhere",
    )
    variant = parser.parse_args(arguments).variant
    return exit_code(lambda: set_up(variant, runtime_folder()))


if __name__ == "__main__":
    sys.exit(main())
