"""Tests of setup.py on tiny wheels made on the spot: no network. Run: python3 scripts/test_setup.py

They put a copy of a wheel in the place of pip's download, because starting pip takes half a second. test_run_pip.py has
pip, test_setup_faults.py what ends set-up halfway and what is hostile.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import setup

TAGS = {"torch": "cp312-cp312-manylinux_2_28_x86_64", "nvidia_math": "py3-none-manylinux2014_x86_64"}
TORCH = {"torch/lib/libtorch_cpu.so": "cpu", "torch/lib/libtorch_cuda.so": "cuda", "torch/include/torch.h": "header"}
MATH = {"nvidia/lib/libmath.so": "math", "nvidia/shared.txt": "shared"}
METADATA = ("METADATA", "RECORD", "WHEEL")
STAMPS = ["nvidia-math-1.0.json", "torch-2.0.json"]
KEEP = "# keep torch/include/* torch/lib/libtorch_cpu.so\n# link torch/lib/libtorch.so libtorch_cpu.so\n"


class SetupTest(unittest.TestCase):
    CPU_TORCH = ["torch/include/torch.h", "torch/lib/libtorch.so", "torch/lib/libtorch_cpu.so"]

    def setUp(self):
        self.top = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.index, self.requirements, self.runtime = (self.top / name for name in ("index", "runtimes", "runtime"))
        self.index.mkdir()
        self.requirements.mkdir()
        environment = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
            "PIP_NO_CACHE_DIR": "1",
            "PIP_QUIET": "1",
            "LLAMA2_BENCH_RUNTIME": str(self.runtime),
        }
        self.enterContext(mock.patch.dict(os.environ, environment))
        # What its wheels are made for, wherever the tests run.
        self.enterContext(mock.patch.object(setup.platform, "machine", return_value="x86_64"))
        self.enterContext(mock.patch.object(setup, "REQUIREMENTS", self.requirements))
        self.enterContext(mock.patch.object(setup, "RUNTIMES", ("torch",)))
        torch, math = self.wheel("torch", "2.0", TORCH), self.wheel("nvidia_math", "1.0", MATH)
        self.require("cpu", KEEP + torch, math)
        self.require("cuda", torch, math)

    def enterContext(self, manager):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(manager)

    def wheel(self, name, version, files):
        """Lay a wheel in the index and return the requirement that pins it."""
        path = self.index / f"{name}-{version}-{TAGS[name]}.whl"
        metadata = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, text in files.items():
                archive.writestr(file, text)
            archive.writestr(f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{metadata}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {TAGS[name]}\n")
            archive.writestr(f"{metadata}/RECORD", "")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}"

    def require(self, variant, *pins):
        sized = "".join(f"# download 0.1 MB, unpacked 0.2 MB\n{pin}\n" for pin in pins)
        (self.requirements / f"torch-{variant}.txt").write_text(f"# A comment.\n\n{sized}")

    def run_setup(self, variant="cpu"):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = setup.main(["--variant", variant])
        return code, out.getvalue(), err.getvalue()

    def succeed(self, variant="cpu"):
        code, out, err = self.run_setup(variant)
        self.assertEqual((code, err), (0, ""))
        return out

    def refused(self, expected, variant="cpu"):
        code, _, err = self.run_setup(variant)
        self.assertEqual(code, 2)
        self.assertRegex(err, expected)
        self.assertEqual(err.count("\n"), 1, err)

    def files(self, hidden=False):
        paths = (path.relative_to(self.runtime) for path in self.runtime.rglob("*") if not path.is_dir())
        return sorted(str(path) for path in paths if hidden or not str(path).startswith("."))

    def stamp(self, name="torch-2.0"):
        return self.runtime / ".stamps" / f"{name}.json"

    def torch_files(self):
        return [name for name in self.files() if name.startswith("torch/")]


class WithCopies(SetupTest):
    """Setup with pip's part played by a copy out of the index."""

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(setup.Runtime, "download", self.copy))
        # It takes seconds on a busy machine.
        self.sync = self.enterContext(mock.patch.object(os, "sync"))

    def copy(self, package, lock):
        name = f"{package.name.replace('-', '_')}-{package.version}-*.whl"
        (self.runtime / ".wheels").mkdir(exist_ok=True)
        return Path(shutil.copy(next(self.index.glob(name)), self.runtime / ".wheels"))


class Fresh(WithCopies):
    def test_unpacks_what_is_kept_and_says_sizes_first(self):
        out = self.succeed()
        self.assertEqual(self.torch_files(), self.CPU_TORCH)
        self.assertEqual(os.readlink(self.runtime / "torch/lib/libtorch.so"), "libtorch_cpu.so")
        self.assertIn("nvidia/lib/libmath.so", self.files())
        self.assertRegex(out, r"torch 2\.0 +download 0\.1 MB, unpacked 0\.2 MB\n")
        self.assertIn(f"libtorch is in {self.runtime / 'torch'}", out)

    def test_leaves_only_stamps_beside_the_packages(self):
        self.succeed()
        self.assertEqual(sorted(os.listdir(self.runtime / ".stamps")), STAMPS)
        self.assertEqual([name for name in os.listdir(self.runtime) if name.startswith(".w")], [])
        record = json.loads(self.stamp().read_text())
        self.assertEqual((record["file_count"], list(record["files"])), (3, self.CPU_TORCH))
        self.assertEqual(list(record["files"].values()), [6, "libtorch_cpu.so", 3])
        self.assertEqual(len(record["sha256"]), 64)

    def test_no_file_is_in_place_before_the_disk_has_it(self):
        self.sync.side_effect = lambda: self.assertEqual(self.files(), [])
        self.succeed()
        self.sync.assert_called_once()


class Again(WithCopies):
    def test_does_nothing(self):
        self.succeed()
        before = {path: path.lstat().st_mtime_ns for path in self.runtime.rglob("*")}
        with mock.patch.object(setup.Runtime, "download", side_effect=AssertionError):
            out = self.succeed()
        self.assertEqual(out.count("already here\n"), 2)
        self.assertEqual({path: path.lstat().st_mtime_ns for path in self.runtime.rglob("*")}, before)

    def test_repairs_a_corrupt_stamp_a_stamp_of_another_wheel_and_a_lost_file(self):
        self.succeed()
        good = self.stamp().read_text()
        for damage in (
            lambda: self.stamp().write_text(good[: len(good) // 2]),
            lambda: self.stamp().write_text("[]"),
            lambda: self.stamp().write_text(good.replace(json.loads(good)["sha256"], "0" * 64)),
            # That of a version of setup.py that did not know sizes.
            lambda: self.stamp().write_text(json.dumps({**json.loads(good), "files": self.CPU_TORCH})),
        ):
            damage()
            self.repaired(good)

    def repaired(self, stamp):
        self.assertEqual(self.succeed().count("already here\n"), 1)
        self.assertEqual(self.stamp().read_text(), stamp)
        self.assertEqual(self.torch_files(), self.CPU_TORCH)
        for name in ("torch/lib/libtorch_cpu.so", "torch/include/torch.h"):
            self.assertEqual((self.runtime / name).read_text(), TORCH[name])
        self.assertEqual(os.readlink(self.runtime / "torch/lib/libtorch.so"), "libtorch_cpu.so")

    def test_puts_back_what_is_cut_short_grown_lost_or_replaced(self):
        self.succeed()
        good = self.stamp().read_text()
        library, link, include = (self.runtime / name for name in ("torch/lib/libtorch_cpu.so", "torch/lib/libtorch.so", "torch/include"))
        elsewhere = self.top / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "torch.h").write_text(TORCH["torch/include/torch.h"])

        def replace(path, make):
            setup.remove(path)
            make(path)

        for damage in (
            lambda: os.truncate(library, 2),
            lambda: os.truncate(library, 0),
            lambda: library.write_text("grown"),
            library.unlink,
            lambda: replace(library, lambda path: (path / "folder").mkdir(parents=True)),
            lambda: replace(library, lambda path: path.symlink_to(self.top / "index")),
            lambda: replace(library, lambda path: path.symlink_to("nowhere")),
            lambda: replace(library, os.mkfifo),
            lambda: replace(link, lambda path: path.write_text("no link")),
            lambda: replace(link, lambda path: path.symlink_to("libtorch_cuda.so")),
            lambda: shutil.rmtree(include),
            lambda: replace(include, lambda path: path.write_text("no folder")),
            lambda: replace(include, lambda path: path.symlink_to(elsewhere)),
            lambda: replace(self.runtime / "torch", lambda path: path.write_text("no folder")),
        ):
            damage()
            self.repaired(good)
        self.assertEqual((elsewhere / "torch.h").read_text(), "header")
        self.assertEqual(len(list(self.index.iterdir())), 2)


class Variants(WithCopies):
    def test_switching_replaces_the_old_set(self):
        self.succeed("cpu")
        self.succeed("cuda")
        self.assertEqual(self.torch_files(), sorted(TORCH))
        self.succeed("cpu")
        self.assertEqual(self.torch_files(), self.CPU_TORCH)

    def test_a_new_version_replaces_the_old_one(self):
        self.succeed()
        self.require("cpu", self.wheel("torch", "2.1", {"torch/lib/new.so": ""}))
        self.succeed()
        self.assertEqual(self.files(), [f"torch-2.1.dist-info/{name}" for name in METADATA] + ["torch/lib/new.so"])

    def test_auto_takes_cuda_where_there_is_a_driver(self):
        with mock.patch.object(setup.shutil, "which", return_value="/usr/bin/nvidia-smi"):
            self.assertEqual(setup.detect_variant(), "cuda")


class Errors(WithCopies):
    def test_missing_pip(self):
        script = Path(setup.__file__)
        run = subprocess.run([sys.executable, "-E", "-S", script], capture_output=True, text=True, env=os.environ)
        self.assertEqual(run.returncode, 2)
        self.assertRegex(run.stderr, r"^error: .* has no pip: install it .*python3-pip\)\n$")

    def test_full_disk(self):
        with mock.patch.object(setup.shutil, "disk_usage", return_value=mock.Mock(free=100_000)):
            self.refused(r"needs 1 MB of free disk space, and there are 0 MB")

    def test_other_machine(self):
        with mock.patch.object(setup.platform, "machine", return_value="riscv64"):
            self.refused("built for Linux on x86_64 and aarch64, and this is Linux on riscv64")

    def test_an_old_or_another_libc(self):
        with mock.patch.object(setup.platform, "libc_ver", return_value=("glibc", "2.27")):
            self.refused("the CPU runtimes need glibc 2.28 or newer, and this is glibc 2.27")
        with mock.patch.object(setup.platform, "libc_ver", return_value=("", "")):
            self.refused("the CPU runtimes need glibc 2.28 or newer, and this is another C library")

    def test_a_folder_of_someone_else(self):
        self.runtime.mkdir()
        (self.runtime / "thesis.txt").write_text("")
        self.refused("not empty and not made by this script")

    def test_peers_and_what_else_the_project_puts_there_may_come_first(self):
        for name in ("peers", "vllm", "aoti", "gpu-bundle", "gpu-bundle-cache", ".wheels"):
            (self.runtime / name / "lib").mkdir(parents=True)
        self.succeed()
        self.assertTrue((self.runtime / "peers/lib").is_dir())

    def test_a_requirement_without_a_hash(self):
        self.require("cpu", "torch==2.0")
        self.refused("not a pinned requirement: torch==2.0")


class Architectures(WithCopies):
    def setUp(self):
        super().setUp()
        self.machine = self.enterContext(mock.patch.object(setup.platform, "machine", return_value="aarch64"))
        self.libc = self.enterContext(mock.patch.object(setup.platform, "libc_ver", return_value=("glibc", "2.31")))
        (self.requirements / "aarch64").mkdir()
        for path in self.requirements.glob("torch-*.txt"):
            (self.requirements / "aarch64" / path.name).write_text(path.read_text().replace("libtorch_cpu.so", "libtorch_cuda.so"))

    def test_each_has_its_own_requirement_files(self):
        self.succeed()
        self.assertEqual(os.readlink(self.runtime / "torch/lib/libtorch.so"), "libtorch_cuda.so")

    def test_a_folder_of_another_one_is_replaced(self):
        self.succeed()
        self.machine.return_value = "x86_64"
        self.succeed()
        self.assertEqual(self.torch_files(), self.CPU_TORCH)

    def test_wheels_are_those_of_this_machine(self):
        tags = setup.platform_tags()
        self.assertTrue(all(tag.endswith("_aarch64") for tag in tags))
        self.assertIn("manylinux_2_34_aarch64", tags)

    def test_cuda_on_aarch64_needs_a_newer_glibc(self):
        self.refused("the CUDA runtimes need glibc 2.34 or newer, and this is glibc 2.31", "cuda")
        self.libc.return_value = ("glibc", "2.34")
        self.succeed("cuda")


class Pinned(unittest.TestCase):
    def test_architectures_differ_in_nothing_but_wheels(self):
        for path in setup.REQUIREMENTS.glob("*.txt"):
            here, there = (setup.read_requirements(folder / path.name) for folder in (setup.REQUIREMENTS, setup.REQUIREMENTS / "aarch64"))
            self.assertEqual(list(map(str, here)), list(map(str, there)))
            self.assertFalse({package.sha256 for package in here} & {package.sha256 for package in there})
            for package, other in zip(here, there, strict=True):
                self.assertLessEqual(set(package.keep), set(other.keep))
                self.assertEqual(package.links, other.links)

    def test_every_requirement_file_is_read_whole(self):
        for path in setup.REQUIREMENTS.rglob("*.txt"):
            packages = setup.read_requirements(path)
            self.assertEqual(len(packages), path.read_text().count("--hash="))
            for package in packages:
                self.assertGreater(package.download_mb, 0)
                self.assertGreater(package.unpacked_mb, 0)


if __name__ == "__main__":
    unittest.main()
