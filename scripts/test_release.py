"""Tests of what makes a release: release_notes.py, check_linkage.py, tarball.py. Run: python3 scripts/test_release.py"""

import hashlib
import io
import os
import sys
import tarfile
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import check_linkage
import release_notes
import tarball

MANIFEST = (
    '[workspace]\nmembers = ["crates/*"]\n\n[workspace.package]\nversion = "1.2.3"\nedition = "2024"\n\n[profile.dev]\nversion = "9"\n'
)
CHANGELOG = "# Changelog\n\n## Unreleased\n\n## 1.2.3 (2026-01-31)\n\n### Features\n\n- A.\n\n## 1.2.2 (2026-01-01)\n\n- B.\n"
DYNAMIC = """
 0x0000000000000001 (NEEDED)             Shared library: [libtorch_cpu.so]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x000000000000001d (RUNPATH)            Library runpath: [$ORIGIN/../.runtime/torch/lib]
"""
VERSIONS = """
Version definition section '.gnu.version_d' contains 1 entry:
  000000: Rev: 1  Flags: none  Index: 2  Cnt: 1  Name: GLIBC_9.9
Version needs section '.gnu.version_r' contains 2 entries:
  000000: Version: 1  File: libc.so.6  Cnt: 3
  0x0010:   Name: GLIBC_2.4  Flags: none  Version: 6
  0x0020:   Name: GLIBC_2.28  Flags: none  Version: 5
  0x0030:   Name: GLIBC_2.2.5  Flags: none  Version: 4
  0x0040: Version: 1  File: libstdc++.so.6  Cnt: 1
  0x0050:   Name: GLIBCXX_3.4.29  Flags: none  Version: 3
"""


class Notes(unittest.TestCase):
    def refused(self, expected, version="1.2.3", changelog=CHANGELOG):
        with self.assertRaisesRegex(release_notes.NotReady, expected):
            release_notes.notes(version, MANIFEST, changelog)

    def test_the_section_of_a_version_or_a_tag(self):
        for version in ("1.2.3", "v1.2.3"):
            self.assertEqual(release_notes.notes(version, MANIFEST, CHANGELOG), "### Features\n\n- A.")

    def test_a_tag_of_another_version(self):
        self.refused("version 1.2.4 is not that of Cargo.toml: 1.2.3", "v1.2.4")
        self.refused("version 9 is not", "9")

    def test_a_changelog_that_is_not_ready(self):
        self.refused('move the entries of "Unreleased"', changelog=CHANGELOG.replace("## Unreleased\n", "## Unreleased\n\n- C.\n"))
        self.refused('no entries below "## 1.2.3', changelog=CHANGELOG.replace("## 1.2.3", "## 1.2.4"))
        self.refused('no entries below "## 1.2.3', changelog=CHANGELOG.replace("### Features\n\n- A.\n", ""))
        self.refused("not released yet", changelog=CHANGELOG.replace("- A.", "The first version, not released yet."))

    def test_a_document_that_says_that_nothing_is_released(self):
        for file, text in {"SECURITY.md": "Nothing has been released yet: fixes", "install.md": "Version 1 is not on PyPI yet."}.items():
            with self.assertRaisesRegex(release_notes.NotReady, f'{file}: says ".* yet"'):
                release_notes.check_released(file, text)
        release_notes.check_released("README.md", "- Version 1.2.3.")
        for file in release_notes.DOCUMENTS:
            self.assertTrue((release_notes.ROOT / file).is_file())

    def test_links_of_the_changelog_lead_to_the_tag(self):
        text = "[a](docs/a.md#b) [b](https://example.com) [c](#d) [e](mailto:e)"
        expected = "[a](https://h/o/r/blob/v1/docs/a.md#b) [b](https://example.com) [c](#d) [e](mailto:e)"
        with mock.patch.dict(os.environ, {"GITHUB_SERVER_URL": "https://h", "GITHUB_REPOSITORY": "o/r"}):
            self.assertEqual(release_notes.absolute_links(text, "v1"), expected)
            self.assertEqual(release_notes.absolute_links("[a](a.md)", "1", "docs/guide/"), "[a](https://h/o/r/blob/v1/docs/guide/a.md)")
        with mock.patch.dict(os.environ):
            os.environ.pop("GITHUB_REPOSITORY", None)
            self.assertEqual(release_notes.absolute_links(text, "v1"), text)

    def test_the_version_of_this_workspace(self):
        manifest = (release_notes.ROOT / "Cargo.toml").read_text()
        self.assertRegex(release_notes.workspace_version(manifest), r"^\d+\.\d+\.\d+$")

    def test_this_changelog_has_a_section_for_the_version_of_this_workspace(self):
        version = release_notes.workspace_version((release_notes.ROOT / "Cargo.toml").read_text())
        self.assertTrue(release_notes.sections((release_notes.ROOT / "CHANGELOG.md").read_text()).get(version))


class Linkage(unittest.TestCase):
    def test_what_readelf_says(self):
        libraries, search_path, newest = check_linkage.needs(DYNAMIC, VERSIONS)
        self.assertEqual(libraries, ["libtorch_cpu.so", "libc.so.6"])
        self.assertEqual(search_path, "$ORIGIN/../.runtime/torch/lib")
        self.assertEqual(newest, {"GLIBC": (2, 28), "GLIBCXX": (3, 4, 29)})

    def test_only_the_torch_engine_may_need_libtorch(self):
        libraries = ["libtorch_cpu.so", "libc.so.6", "ld-linux-aarch64.so.1"]
        self.assertEqual(check_linkage.faults("llama2-bench-torch", libraries, {}, None), [])
        self.assertEqual(check_linkage.faults("llama2-bench", libraries, {}, None), ["needs libtorch_cpu.so"])
        self.assertEqual(check_linkage.faults("libllama2_bench_mpi.so", ["libmpi.so.40", "libssl.so.3"], {}, None), ["needs libssl.so.3"])

    def test_versions_above_the_floor(self):
        newest = {"GLIBC": (2, 28), "GLIBCXX": (3, 4, 29)}
        self.assertEqual(check_linkage.faults("a", [], newest, None), [])
        self.assertEqual(check_linkage.faults("a", [], newest, (2, 28)), ["needs GLIBCXX_3.4.29, and 3.4.24 is the most"])
        self.assertEqual(check_linkage.faults("a", [], {"GLIBC": (2, 34)}, (2, 28)), ["needs GLIBC_2.34, and 2.28 is the most"])
        self.assertEqual(check_linkage.faults("a", [], {"GLIBC": (2, 4)}, (2, 28)), [])

    def test_a_real_program(self):
        with redirect_stdout(io.StringIO()) as out:
            self.assertEqual(check_linkage.check([Path("/bin/true").resolve()]), 0)
        self.assertRegex(out.getvalue(), r"^\S+: GLIBC 2\.\d+\S*; libc\.so\.6")


class Tarball(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.top = Path(temporary.name)
        self.programs = self.top / "release"
        self.programs.mkdir()
        for name in [*tarball.REQUIRED, "libllama2_bench_mpi.so", "llama2-bench.d"]:
            (self.programs / name).write_bytes(Path("/bin/true").read_bytes())
        self.enter(mock.patch.object(tarball, "ROOT", self.root()))

    def enter(self, manager):
        manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)

    def root(self):
        """A repository with the files that are packed."""
        root = self.top / "root"
        for name in [*tarball.FILES, "Cargo.toml"]:
            path = root / name if "." in name or name == "LICENSE" else root / name / "a.toml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(MANIFEST)
        (root / "configs/__pycache__").mkdir()
        return root

    def pack(self, *flags):
        output = io.StringIO()
        words = mock.patch.object(sys, "argv", ["tarball.py", f"--programs={self.programs}", *flags])
        with words, redirect_stdout(output), redirect_stderr(output):
            return tarball.main(), output.getvalue()

    def archive(self):
        (path,) = (self.top / "root/target/dist").glob("*.tar.gz")
        return path

    def test_what_is_packed(self):
        code, printed = self.pack()
        self.assertEqual(code, 0, printed)
        self.assertRegex(self.archive().name, r"^llama2-bench-1\.2\.3-\w+-linux\.tar\.gz$")
        with tarfile.open(self.archive()) as archive:
            members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
        self.assertLessEqual(
            {"bin/llama2-bench", "bin/libllama2_bench_worker.so", "configs/a.toml", "scripts/setup.py", "LICENSE"}, set(members)
        )
        self.assertIn("bin/libllama2_bench_mpi.so", members)
        self.assertFalse({"configs/__pycache__", "bin/llama2-bench.d"} & set(members))
        self.assertEqual(oct(members["bin/llama2-bench"].mode), "0o755")
        self.assertEqual(oct(members["bin/libllama2_bench_worker.so"].mode), "0o644")
        self.assertEqual({(member.uid, member.uname) for member in members.values()}, {(0, "")})

    def test_the_same_programs_are_the_same_bytes(self):
        digests = []
        for _ in range(2):
            self.pack()
            digests.append(hashlib.sha256(self.archive().read_bytes()).hexdigest())
        self.assertEqual(*digests)

    def test_a_build_without_a_program(self):
        (self.programs / "llama2-bench-torch").unlink()
        self.assertEqual(self.pack()[0], 2)
        self.assertIn("no llama2-bench-torch: run `make release`", self.pack()[1])

    def test_a_program_that_needs_too_much(self):
        code, printed = self.pack("--glibc=2.1")
        self.assertEqual(code, 1, printed)
        self.assertIn("and 2.1 is the most", printed)
        self.assertFalse((self.top / "root/target").exists())

    def test_a_file_that_is_no_program(self):
        (self.programs / "llama2-bench").write_text("#!/bin/sh\n")
        self.assertEqual(self.pack()[0], 2)


if __name__ == "__main__":
    unittest.main()
