"""Tests of setup.py where something ends it halfway, or is hostile. No network. Run: python3 scripts/test_setup_faults.py"""

import contextlib
import hashlib
import os
import resource
import shutil
import stat
import sys
import unittest
import zipfile
from unittest import mock

sys.dont_write_bytecode = True

import setup
from test_setup import MATH, METADATA, STAMPS, TAGS, TORCH, WithCopies

# Of sys.audit: whatever changes a file or a folder.
CHANGES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod"}
KILLED = 9


class Killed(WithCopies):
    def kill(self, after):
        """Run setup in another process that ends, with nothing tidied, where it changes a file for the time `after`.

        Returns whether it came that far.
        """
        child = os.fork()
        if child == 0:
            changes = 0

            def count(event, arguments):
                nonlocal changes
                if event in CHANGES and str(self.runtime) in str(arguments[0]):
                    changes += 1
                    if changes > after:
                        os._exit(KILLED)

            sys.addaudithook(count)
            os._exit(self.run_setup()[0])
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self.assertIn(code, (0, KILLED))
        return code == KILLED

    def test_the_next_one_completes_it_from_every_point(self):
        points = 0
        while self.kill(after=points):
            self.succeed()
            self.assertEqual(self.torch_files(), self.CPU_TORCH)
            self.assertEqual((self.runtime / "torch/lib/libtorch_cpu.so").read_text(), "cpu")
            self.assertEqual(sorted(os.listdir(self.runtime / ".stamps")), STAMPS)
            self.assertFalse((self.runtime / ".wheels").exists() or (self.runtime / ".unpack").exists())
            shutil.rmtree(self.runtime)
            points += 1
        self.assertGreater(points, 40)

    def test_a_repair_is_completed_from_every_point(self):
        points = 0
        self.succeed()
        while True:
            (self.runtime / "torch/lib/libtorch_cpu.so").write_text("c")
            if not self.kill(after=points):
                break
            self.succeed()
            self.assertEqual((self.runtime / "torch/lib/libtorch_cpu.so").read_text(), "cpu")
            points += 1
        self.assertGreater(points, 25)

    def test_another_set_after_it_leaves_no_stray_files(self):
        whole, points = len(self.CPU_TORCH) + len(MATH) + len(METADATA), 0
        while self.kill(after=points):
            if 0 < len(self.files()) < whole:
                break
            shutil.rmtree(self.runtime, ignore_errors=True)
            points += 1
        self.assertNotEqual(self.torch_files(), [])
        self.require("cpu", self.wheel("nvidia_math", "1.0", MATH))
        self.succeed()
        self.assertEqual(self.torch_files(), [])

    def test_after_an_interruption_nothing_is_downloaded_twice(self):
        with mock.patch.object(setup.Runtime, "put_in_place", side_effect=KeyboardInterrupt):
            code, _, err = self.run_setup()
        self.assertEqual((code, err), (130, "interrupted; the next run goes on from here\n"))
        self.assertEqual(self.files(), [])
        with mock.patch.object(setup.Runtime, "download", side_effect=AssertionError):
            self.succeed()


class NoRoom(WithCopies):
    def test_a_full_disk_leaves_the_old_set_and_no_half_of_the_new_one(self):
        self.succeed("cpu")
        before = self.files()
        self.require("cuda", self.wheel("torch", "2.0", {**TORCH, "torch/lib/large.so": "0" * 150_000}))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            self.refused("torch 2.0 could not be unpacked: File too large; make room, or name another folder", "cuda")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual(self.files(), before)
        self.assertFalse((self.runtime / ".unpack").exists())
        with mock.patch.object(setup.Runtime, "download", side_effect=AssertionError):
            self.succeed("cuda")
        self.assertEqual(self.torch_files(), sorted([*TORCH, "torch/lib/large.so"]))

    def test_a_folder_that_can_not_be_written(self):
        self.succeed()
        (self.runtime / "torch/include/torch.h").unlink()
        with self.unable_to_write():
            self.refused(rf"^error: {self.runtime}/\S+: Permission denied; name a folder that you can write with LLAMA2_BENCH_RUNTIME")
        self.succeed()
        with self.unable_to_write():
            self.assertEqual(self.succeed().count("already here"), 2)

    @contextlib.contextmanager
    def unable_to_write(self):
        """Take the right to write in the runtime's folder from this process. Root has to become another user for that."""
        folders = [self.runtime, self.runtime / ".stamps"]
        root = os.geteuid() == 0
        for path in (self.top, *folders):
            path.chmod(0o555 if path != self.top else 0o755)
        if root:
            os.seteuid(65534)
        try:
            # pip may be where only root can read.
            with mock.patch.object(setup.importlib.util, "find_spec"):
                yield
        finally:
            if root:
                os.seteuid(0)
            for path in folders:
                path.chmod(0o755)


class Hostile(WithCopies):
    def archive(self, write, sized="0.2"):
        """Require a wheel that this function writes; it is unpacked whole."""
        path = self.index / f"torch-2.0-{TAGS['torch']}.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("torch/honest.txt", "honest")
            write(archive)
        pin = f"torch==2.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        (self.requirements / "torch-cpu.txt").write_text(f"# download 0.1 MB, unpacked {sized} MB\n{pin}\n")

    def refuse(self, expected, write):
        self.archive(write)
        self.refused(f"^error: torch 2.0: its wheel {expected}")
        self.assertEqual(self.files(), [])
        self.assertEqual(sorted(path.name for path in self.top.iterdir()), ["index", "runtime", "runtimes"])

    def test_a_path_that_leads_elsewhere(self):
        outside = self.top.parent / f"{self.top.name}-outside"
        for name in ("../evil", "torch/../../evil", str(outside), "torch//evil", "torch/./evil", ".stamps/evil.json", "torch/..\\evil"):
            with self.subTest(name=name):
                evil = "holds '.*', which is not a file in a folder of its own"
                self.refuse(evil, lambda archive, name=name: archive.writestr(name, "evil"))
        self.assertFalse(outside.exists())

    def test_a_link_or_a_device(self):
        for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
            member = zipfile.ZipInfo("torch/evil")
            member.external_attr = (kind | 0o777) << 16
            self.refuse("holds 'torch/evil', which is not a file", lambda archive, member=member: archive.writestr(member, "/etc"))

    def test_more_than_the_requirement_file_says(self):
        self.refuse(
            r"unpacks to 5\.0 MB; its requirement file says 0\.2 MB", lambda archive: archive.writestr("torch/bomb", bytes(5_000_000))
        )

    def test_what_the_requirement_file_says_is_rounded(self):
        self.archive(lambda archive: archive.writestr("torch/large", bytes(252_000)))
        self.succeed()

    def test_more_than_the_wheel_itself_says(self):
        def lie(archive):
            archive.writestr("torch/bomb", bytes(5_000_000))
            archive.getinfo("torch/bomb").file_size = 10

        self.refuse("can't be unpacked: Bad CRC-32 for file 'torch/bomb'", lie)

    def test_no_archive(self):
        self.archive(lambda archive: None)
        path = next(self.index.glob("torch-*"))
        path.write_bytes(path.read_bytes()[:-30])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (self.requirements / "torch-cpu.txt").write_text(f"# download 0.1 MB, unpacked 0.2 MB\ntorch==2.0 --hash=sha256:{digest}\n")
        self.refused("torch 2.0: its wheel can't be unpacked: File is not a zip file")

    def test_a_stamp_that_names_files_elsewhere_deletes_none(self):
        self.succeed()
        mine = self.top / "mine.txt"
        mine.write_text("mine")
        for name in ("../mine.txt", str(mine)):
            self.stamp().write_text(f'{{"files": ["{name}"]}}')
            self.succeed()
            self.assertEqual(mine.read_text(), "mine")

    def test_links_in_the_place_of_what_is_written(self):
        self.succeed()
        elsewhere = self.top / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "mine.txt").write_text("mine")
        (self.runtime / "torch/include/torch.h").unlink()
        (self.runtime / ".unpack").symlink_to(elsewhere)
        (self.runtime / ".stamps/torch-2.0.partial").symlink_to(elsewhere / "mine.txt")
        self.succeed()
        self.assertEqual([(path.name, path.read_text()) for path in elsewhere.iterdir()], [("mine.txt", "mine")])
        self.stamp().unlink()
        (self.runtime / ".lock").unlink()
        (self.runtime / ".lock").symlink_to(elsewhere / "mine.txt")
        self.refused("/.lock: Too many levels of symbolic links; delete this link")
        self.assertEqual((elsewhere / "mine.txt").read_text(), "mine")


if __name__ == "__main__":
    unittest.main()
