#!/usr/bin/env python3
"""Pack the programs of a release build, and what fetches the runtimes for them: `make tarball`.

    python3 scripts/tarball.py [--programs target/release] [--glibc 2.28] [--out target/dist]

Leaves OUT/llama2-bench-VERSION-ARCHITECTURE-linux.tar.gz:

    bin/                   the programs and their libraries, without debug tables
    scripts/setup.py       fetches ONNX Runtime and libtorch into .runtime, where the programs find them
    configs/               sweeps, models, engines
    README.md CHANGELOG.md LICENSE

Two runs with the same programs write the same bytes. --glibc: see scripts/check_linkage.py, which checks every program first.

Exit codes: 0 packed, 1 a program needs too much, 2 it could not be done.
"""

import argparse
import gzip
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import check_linkage
import release_notes

ROOT = Path(__file__).resolve().parent.parent
# What every build has. Others of the same kind are packed, too, such as the library for MPI, which is built where MPI is.
REQUIRED = [
    "llama2-bench",
    "llama2-bench-mock",
    "llama2-bench-onnxruntime",
    "llama2-bench-reference",
    "llama2-bench-tokenizer",
    "llama2-bench-torch",
    "libllama2_bench_worker.so",
]
FILES = ["CHANGELOG.md", "LICENSE", "README.md", "configs", "scripts/run_pip.py", "scripts/runtimes", "scripts/setup.py"]


class CannotPack(Exception):
    pass


def copy_programs(programs, folder):
    """Copy the programs of a build without debug tables: backtraces keep the names of functions."""
    found = list(check_linkage.files([programs]))
    missing = sorted(set(REQUIRED) - {path.name for path in found})
    if missing:
        raise CannotPack(f"{programs}: no {', '.join(missing)}: run `make release`")
    folder.mkdir()
    for path in found:
        strip = ["strip", "--strip-debug", "-o", folder / path.name, path]
        subprocess.run(strip, check=True, capture_output=True, text=True)
        (folder / path.name).chmod(0o644 if path.suffix == ".so" else 0o755)


def copy_files(folder):
    ignore = shutil.ignore_patterns("__pycache__")
    for name in FILES:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=ignore)
        else:
            shutil.copy(ROOT / name, target)


def pack(folder, archive, time):
    """Write a folder as an archive in which nothing depends on who packs it, or when."""

    def plain(member):
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = time
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member

    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".partial")
    with (
        open(partial, "wb") as file,
        gzip.GzipFile("", "wb", 9, file, time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in [folder, *sorted(folder.rglob("*"))]:
            tar.add(path, str(path.relative_to(folder.parent)), recursive=False, filter=plain)
    partial.replace(archive)


def pack_tarball(programs, version, out):
    name = f"llama2-bench-{version}-{platform.machine()}-linux"
    archive = out / f"{name}.tar.gz"
    folder = programs.parent / name
    folder.mkdir()
    programs.rename(folder / "bin")
    copy_files(folder)
    # 1980, where nobody says another time: the oldest that every archiver accepts.
    pack(folder, archive, int(os.environ.get("SOURCE_DATE_EPOCH") or 315532800))
    return archive


def command(name, description, packer, out):
    """The command line of a packer, which gets a folder of checked programs, the version, and the folder to write into (by default
    target/OUT); it returns what it wrote."""
    parser = argparse.ArgumentParser(description=description)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--programs", type=Path, default=target / "release", help="default: target/release")
    parser.add_argument("--glibc", type=check_linkage.version, help="the newest version of glibc that a program may need, such as 2.28")
    parser.add_argument("--out", type=Path, default=ROOT / "target" / out, help=f"default: target/{out}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        programs = Path(temporary) / "bin"
        try:
            copy_programs(arguments.programs, programs)
            if check_linkage.check([programs], arguments.glibc):
                return 1
            archive = packer(programs, release_notes.workspace_version((ROOT / "Cargo.toml").read_text()), arguments.out)
        except CannotPack as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        except FileNotFoundError as error:
            print(f"{name}: {error.filename}: not found (strip and readelf are in binutils)", file=sys.stderr)
            return 2
        except subprocess.CalledProcessError as error:
            print(f"{name}: {error.stderr.strip() or error}", file=sys.stderr)
            return 2
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")
    return 0


def main():
    return command("tarball", "Pack the programs of a release build.", pack_tarball, "dist")


if __name__ == "__main__":
    sys.exit(main())
