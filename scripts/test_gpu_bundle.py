"""Tests of fatbin.py and gpu-bundle without a network, on a made-up library and a made-up wheel.

Run: python3 scripts/test_gpu_bundle.py
"""

import contextlib
import ctypes.util
import importlib.machinery
import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
SCRIPTS = Path(__file__).resolve().parent
sys.path.insert(0, str(SCRIPTS))

import fatbin
import setup

sys.path.insert(0, str(SCRIPTS / "gpu"))

import installation


def load(name):
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(SCRIPTS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


bundle = load("gpu-bundle")

PTX, CODE = 1, 2


def entry(kind, architecture, payload, header_size=64):
    header = fatbin.ENTRY.pack(kind, 0x101, header_size, len(payload), architecture)
    return header.ljust(header_size, b"\x11") + payload


def region(*entries):
    body = b"".join(entries)
    return fatbin.REGION.pack(fatbin.REGION_MAGIC, 1, 16, len(body)) + body


def cubin(*kernels):
    """An ELF file with a section for each kernel; a kernel's code is its name."""
    names = b"\0" + b"".join(f".text.{kernel}\0".encode() for kernel in kernels) + b".shstrtab\0"
    table_at = 64 + len(names)
    header = b"\x7fELF\x02\x01\x01".ljust(0x28, b"\0") + struct.pack("<Q", table_at)
    header = header.ljust(0x3A, b"\0") + struct.pack("<HHH", 64, len(kernels) + 1, len(kernels))
    sections = [(names.index(f".text.{kernel}\0".encode()), 0, 0) for kernel in kernels]
    sections.append((names.index(b".shstrtab"), 64, len(names)))
    return header + names + b"".join(struct.pack("<I20xQQ24x", *section) for section in sections)


def zstd(data):
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compress.restype = ctypes.c_size_t
    library.ZSTD_compress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    buffer = ctypes.create_string_buffer(len(data) + 1000)
    size = library.ZSTD_compress(buffer, len(buffer), data, len(data), 3)
    return buffer.raw[:size]


def library(section, name=b".nv_fatbin", around=b"host code!"):
    """A shared library of three sections: none, the names of sections, and this one."""
    names = b"\0.shstrtab\0" + name + b"\0"
    start = 64 + len(around)
    start += -start % 8
    names_at = start + len(section)
    table_at = names_at + len(names)
    header = b"\x7fELF\x02\x01\x01".ljust(0x28, b"\0") + struct.pack("<Q", table_at)
    header = header.ljust(0x3A, b"\0") + struct.pack("<HHH", 64, 3, 1)
    sections = [(0, 0, 0), (1, names_at, len(names)), (11, start, len(section))]
    table = b"".join(struct.pack("<I20xQQ24x", *entry) for entry in sections)
    return bytearray((header + around).ljust(start, b"\0") + section + names + table), start


class Temporary(unittest.TestCase):
    def setUp(self):
        self.top = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def enterContext(self, manager):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(manager)

    def write(self, path, text="", mode=0o644):
        path = self.top / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def quietly(self):
        return self.enterContext(contextlib.redirect_stdout(io.StringIO()))


class Pruning(unittest.TestCase):
    def test_code_of_one_architecture_is_kept_at_the_front_of_its_region(self):
        wanted = entry(CODE, 90, b"n" * 24, header_size=112)
        others = [entry(CODE, 80, b"a" * 40), entry(CODE, 120, b"b" * 8), entry(PTX, 90, b"p" * 16)]
        image, start = library(region(others[0], wanted, *others[1:]))
        before = bytes(image)
        pruned = fatbin.prune(image, 90)
        size = sum(map(len, others)) + len(wanted)
        self.assertEqual(len(image), len(before))
        self.assertEqual(image[start : start + 16], fatbin.REGION.pack(fatbin.REGION_MAGIC, 1, 16, len(wanted)))
        self.assertEqual(image[start + 16 : start + 16 + size], wanted + bytes(size - len(wanted)))
        self.assertEqual((image[:start], image[start + 16 + size :]), (before[:start], before[start + 16 + size :]))
        self.assertEqual((pruned.kept, pruned.dropped, pruned.left_alone), (len(wanted), size - len(wanted), 0))
        self.assertEqual(pruned.architectures, {80, 90, 120})

    def test_several_entries_of_the_architecture_stay_in_their_order(self):
        first, second = entry(CODE, 90, b"1" * 8), entry(CODE, 90, b"2" * 8)
        image, start = library(region(first, entry(CODE, 75, b"x" * 8), second))
        fatbin.prune(image, 90)
        self.assertEqual(image[start + 16 :][: len(first + second)], first + second)

    def test_a_region_without_the_architecture_is_left_and_the_next_is_found_after_padding(self):
        other = region(entry(CODE, 120, b"x" * 8))
        image, start = library(other + bytes(16) + region(entry(CODE, 80, b"y" * 8), entry(CODE, 90, b"z" * 8)))
        pruned = fatbin.prune(image, 90)
        self.assertEqual(image[start : start + len(other)], other)
        self.assertEqual((pruned.kept, pruned.left_alone), (72, 72))

    def test_pruning_twice_changes_nothing(self):
        image, _ = library(region(entry(CODE, 80, b"y" * 8), entry(CODE, 90, b"z" * 8)) + region(entry(CODE, 90, b"q" * 8)))
        fatbin.prune(image, 90)
        once = bytes(image)
        fatbin.prune(image, 90)
        self.assertEqual(image, once)

    def test_a_region_of_unneeded_kernels_gets_code_for_another_gpu(self):
        foreign = entry(CODE, 120, b"f" * 8)
        needed = entry(CODE, 90, cubin("_Z5flashv"), 64)
        unneeded = [entry(CODE, 90, cubin("_Z3moev"), 64), entry(CODE, 90, cubin("_Z4moe2v"), 64)]
        mixed = entry(CODE, 90, cubin("_Z3moev", "_Z5flashv"), 64)
        image, start = library(region(needed, foreign) + region(*unneeded) + region(mixed))
        before = bytes(image)
        pruned = fatbin.prune(image, 90, lambda kernel: "moe" not in kernel)
        self.assertEqual(pruned.kept, len(needed) + len(mixed))
        self.assertEqual(pruned.unneeded, sum(map(len, unneeded)))
        self.assertEqual(len(image), len(before))
        at = start + len(region(needed, foreign))
        self.assertEqual(image[at : at + 16 + len(foreign)], region(foreign))
        self.assertEqual(set(image[at + 16 + len(foreign) : at + len(region(*unneeded))]), {0})
        # Pruned again, it stays as it is: a region without the architecture.
        once = bytes(image)
        fatbin.prune(image, 90, lambda kernel: "moe" not in kernel)
        self.assertEqual(image, once)

    def test_code_that_cannot_be_read_is_kept(self):
        # No ELF file; no code for another GPU to take its place.
        for entries in ([entry(CODE, 90, b"n" * 64), entry(CODE, 120, b"f" * 8)], [entry(CODE, 90, cubin("_Z3moev"))]):
            image, _ = library(region(*entries))
            self.assertEqual(fatbin.prune(image, 90, lambda kernel: False).kept, len(entries[0]))

    @unittest.skipUnless(ctypes.util.find_library("zstd"), "there is no libzstd")
    def test_compressed_code_is_read(self):
        code = cubin("_Z3moev", "_Z5flashv")
        header = bytearray(64)
        packed = zstd(code)
        struct.pack_into("<HHIQ", header, 0, CODE, 0x101, 64, len(packed))
        struct.pack_into("<IxxxxxxxxI", header, 16, len(packed), 90)
        struct.pack_into("<QxxxxxxxxQ", header, 40, fatbin.ZSTD | 0x11, len(code))
        image = bytes(header) + packed
        found = fatbin.kernel_names(image, fatbin.Entry(CODE, 90, 64, 0, len(image)))
        self.assertEqual(found, ["_Z3moev", "_Z5flashv"])
        damaged = image[:70] + bytes(len(image) - 70)
        self.assertEqual(fatbin.kernel_names(damaged, fatbin.Entry(CODE, 90, 64, 0, len(image))), [])

    def test_what_is_no_such_library_is_said(self):
        good, start = library(region(entry(CODE, 80, b"y" * 8)))
        long_entry = bytearray(good)
        struct.pack_into("<Q", long_entry, start + 16 + 8, 1 << 40)
        long_region = bytearray(good)
        struct.pack_into("<Q", long_region, start + 8, 1 << 40)
        endless = bytearray(good)
        struct.pack_into("<IQ", endless, start + 16 + 4, 0, 0)
        cases = [
            (good, "no code for sm_90; it has code for sm_80"),
            (bytearray(b"#!/bin/sh"), "no 64-bit ELF"),
            (good[:100], "it ends before"),
            (library(b"", name=b".text")[0], r"no section \.nv_fatbin"),
            (long_entry, "beyond its region"),
            (long_region, "beyond the section"),
            (endless, "beyond its region"),
        ]
        for image, expected in cases:
            with self.subTest(expected), self.assertRaisesRegex(fatbin.NotAFatbin, expected):
                fatbin.prune(image, 90)


class Bundling(Temporary):
    """A bundle of made-up programs and a made-up wheel, unpacked again."""

    def setUp(self):
        super().setUp()
        self.quietly()
        self.out, self.cache, self.built = (self.top / name for name in ("out", "cache", "built"))
        for name in (
            "llama2-bench",
            "llama2-bench-onnxruntime",
            "llama2-bench-torch",
            "llama2-bench-reference",
            "llama2-bench-mock",
        ):
            self.write(f"built/{name}", f"#!/bin/sh\necho {name} 0.0.1\n", 0o755)
        self.write("built/llama2-bench.d", "not a program")
        self.write("built/libllama2_bench_worker.so", "library", 0o755)
        self.provider, _ = library(region(entry(CODE, 80, b"y" * 800), entry(CODE, 90, b"z" * 80)))
        self.wheel = self.top / "wheel.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr("onnxruntime/capi/libonnxruntime.so.1.31.1", b"runtime" * 100)
            archive.writestr("onnxruntime/capi/libonnxruntime_providers_shared.so", b"shared")
            archive.writestr("onnxruntime/capi/libonnxruntime_providers_tensorrt.so", b"tensorrt")
            archive.writestr("onnxruntime/capi/libonnxruntime_providers_cuda.so", bytes(self.provider))
            archive.writestr("onnxruntime/LICENSE", b"MIT")
        self.downloads = 0
        self.enterContext(mock.patch.object(setup.Runtime, "download", self.download))

    def download(self, package, lock):
        self.downloads += 1
        return self.wheel

    def make(self, architecture=90):
        bundle.make(self.out, self.built, self.cache, architecture)
        return json.loads((self.out / "versions.json").read_text())

    def test_what_is_packed_comes_out_again(self):
        versions = self.make()
        scratch = self.top / "scratch"
        installation.unpack(self.out, versions, scratch)
        found = sorted(str(path.relative_to(scratch)) for path in scratch.rglob("*") if path.is_file())
        libraries = [
            "libonnxruntime.so.1.31.1",
            "libonnxruntime_providers_cuda.so",
            "libonnxruntime_providers_shared.so",
        ]
        programs = [
            "llama2-bench",
            "llama2-bench-mock",
            "llama2-bench-onnxruntime",
            "llama2-bench-reference",
            "llama2-bench-torch",
        ]
        expected = [".runtime/onnxruntime/LICENSE", *(f".runtime/onnxruntime/capi/{name}" for name in libraries)]
        built = ["libllama2_bench_worker.so", *programs]
        self.assertEqual(found, expected + [f"target/release/{name}" for name in built])
        fatbin.prune(self.provider, 90)
        self.assertEqual((scratch / expected[2]).read_bytes(), self.provider)
        for name in programs:
            done = subprocess.run([scratch / "target/release" / name], capture_output=True, text=True)
            self.assertEqual(done.stdout, f"{name} 0.0.1\n")

    def test_versions_name_every_file_with_its_hash(self):
        versions = self.make()
        listed = {name: record["sha256"] for name, record in versions["files"].items()}
        there = {str(path.relative_to(self.out)): setup.sha256(path) for path in self.out.rglob("*") if path.is_file()}
        del there["versions.json"]
        self.assertEqual(listed, there)
        self.assertLessEqual(
            {
                "run-gpu-checks",
                "README.txt",
                "configs/engines.toml",
                "configs/models/llama2-7b.json",
                "scripts/gpu/main.py",
                "scripts/gpu/plans/first.toml",
            },
            set(there),
        )
        self.assertEqual(
            (versions["architecture"], versions["needs"]["torch"], versions["programs"]),
            (90, "2.11.0", "llama2-bench 0.0.1"),
        )

    def test_a_second_bundle_downloads_nothing_and_is_the_same(self):
        first = self.make()
        with mock.patch.object(bundle, "runtime_files", side_effect=AssertionError("packed again")):
            self.assertEqual(self.make(), first)
        self.assertEqual(self.downloads, 1)
        self.assertEqual([path.name for path in self.top.glob("*.partial")], [])

    def test_a_packed_runtime_that_was_cut_short_is_packed_again(self):
        first = self.make()
        [stream] = self.cache.glob("onnxruntime-gpu-*/onnxruntime.xz")
        stream.write_bytes(stream.read_bytes()[:-1])
        self.assertEqual(self.make(), first)
        self.assertEqual(self.downloads, 2)

    def test_a_bundle_with_too_little_left_is_an_error_and_the_older_one_stays(self):
        before = self.make()
        size = sum(path.stat().st_size for path in self.out.rglob("*") if path.is_file())
        tree = {SCRIPTS / "setup.py": bundle.TRAVELS - bundle.MARGIN - bundle.SPARE - size}
        with mock.patch.object(bundle, "tree_files", return_value=tree):
            self.make()
            tree[SCRIPTS / "setup.py"] += 5000
            with self.assertRaisesRegex(setup.SetupError, r"the bundle is [\d,]+ bytes, 5,000 too many: its limit is .*4 MiB"):
                self.make()
        self.assertEqual(json.loads((self.out / "versions.json").read_text()), before)

    def test_what_takes_the_room_is_said(self):
        printed = self.quietly()
        tree = {SCRIPTS / "setup.py": 7_000_000, SCRIPTS / "fatbin.py": 123}
        with mock.patch.object(bundle, "tree_files", return_value=tree):
            self.make()
        size = sum(path.stat().st_size for path in self.out.rglob("*") if path.is_file())
        self.assertRegex(printed.getvalue(), r"tree, 2 files +7,000,123 bytes\n  scripts/setup.py +7,000,000 bytes\n")
        self.assertRegex(printed.getvalue(), rf"bundle, \d+ files +{size:,} bytes\n")
        self.assertRegex(printed.getvalue(), rf"left +{(63 << 20) - 7_000_123 - size:,} bytes")

    def test_the_tree_is_what_git_knows_and_does_not_ignore(self):
        git = lambda *words: subprocess.run(["git", *words], cwd=self.top, check=True, capture_output=True)
        git("init")
        self.write("tracked", "12345")
        self.write(".gitignore", "ignored\n")
        self.write("ignored", "1" * 100)
        git("add", "tracked")
        self.write("new", "123")
        self.write("bundle/streams/programs.xz", "1" * 100)
        self.write("deleted", "1" * 100)
        git("add", "deleted")
        (self.top / "deleted").unlink()
        with mock.patch.object(bundle, "REPOSITORY", self.top):
            sizes = {path.name: size for path, size in bundle.tree_files([self.top / "bundle", self.top / "built"]).items()}
        self.assertEqual({**sizes, "wheel.whl": 0}, {"tracked": 5, "new": 3, ".gitignore": 8, "wheel.whl": 0})

    def test_the_library_for_several_ranks_comes_along_where_it_was_built(self):
        self.assertNotIn("target/release/libllama2_bench_mpi.so", self.packed())
        self.write("built/libllama2_bench_mpi.so", "library", 0o755)
        self.assertIn("target/release/libllama2_bench_mpi.so", self.packed())

    def packed(self):
        return [record["path"] for record in self.make()["unpacked"]]

    def test_programs_are_built_unless_a_folder_is_named(self):
        self.write("bin/make", f'#!/bin/sh\necho "$@" >{self.top}/made\nexit $CODE\n', 0o755)
        path = f"{self.top / 'bin'}:{os.environ['PATH']}"
        variables = {"PATH": path, "CARGO_TARGET_DIR": str(self.top), "LLAMA2_BENCH_RUNTIME": str(self.top / "runtime")}
        self.enterContext(mock.patch.dict(os.environ, variables, CODE="0"))
        words = ["--out", str(self.out)]
        self.assertEqual(bundle.main([*words, "--programs", str(self.built)]), 0)
        self.assertFalse((self.top / "made").exists())
        self.built.rename(self.top / "bundle")
        self.assertEqual(bundle.main(words), 0)
        self.assertEqual((self.top / "made").read_text(), "build PROFILE=bundle\n")
        os.environ["CODE"] = "2"
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            self.assertEqual(bundle.main(words), 2)
        self.assertEqual(errors.getvalue(), "error: make build PROFILE=bundle ended with 2: its reason is above\n")

    def test_what_is_wrong_is_said(self):
        with self.assertRaisesRegex(setup.SetupError, "no code for sm_100; it has code for sm_80, sm_90"):
            self.make(100)
        (self.built / "llama2-bench-torch").unlink()
        with self.assertRaisesRegex(setup.SetupError, "built lacks llama2-bench-torch$"):
            self.make()
        self.write("out/precious")
        with self.assertRaisesRegex(setup.SetupError, "not empty and no bundle"):
            self.make()

    def test_a_damaged_bundle_is_not_run(self):
        versions = self.make()
        versions["unpacked"][0]["sha256"] = "0" * 64
        with self.assertRaisesRegex(installation.Unusable, "target/release/libllama2_bench_worker.so is damaged"):
            installation.unpack(self.out, versions, self.top / "scratch")

    def test_the_glibc_that_programs_need_is_read_from_them(self):
        data = b"x\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0"
        self.assertEqual(bundle.oldest_glibc([bundle.Packed("p", 0o755, [bundle.Piece("programs", data)])]), "2.34")


if __name__ == "__main__":
    unittest.main()
