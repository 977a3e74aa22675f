"""Tests of fatbin.py, gpu-bundle and run-gpu-checks without a GPU and without a network: a made-up library, a made-up
site-packages, and shell commands in the place of steps. Run: python3 scripts/test_gpu_bundle.py
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import zipfile
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
SCRIPTS = Path(__file__).resolve().parent
sys.path.insert(0, str(SCRIPTS))

import fatbin
import setup


def load(name):
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(SCRIPTS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


bundle, checks = load("gpu-bundle"), load("run-gpu-checks")

PTX, CODE = 1, 2


def entry(kind, architecture, payload, header_size=64):
    header = fatbin.ENTRY.pack(kind, 0x101, header_size, len(payload), architecture)
    return header.ljust(header_size, b"\x11") + payload


def region(*entries):
    body = b"".join(entries)
    return fatbin.REGION.pack(fatbin.REGION_MAGIC, 1, 16, len(body)) + body


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
        image, _ = library(
            region(entry(CODE, 80, b"y" * 8), entry(CODE, 90, b"z" * 8)) + region(entry(CODE, 90, b"q" * 8))
        )
        fatbin.prune(image, 90)
        once = bytes(image)
        fatbin.prune(image, 90)
        self.assertEqual(image, once)

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

    def make(self, architecture=90, **limit):
        bundle.make(self.out, self.built, self.cache, architecture, **limit)
        return json.loads((self.out / "versions.json").read_text())

    def test_what_is_packed_comes_out_again(self):
        versions = self.make()
        scratch = self.top / "scratch"
        checks.unpack(self.out, versions, scratch)
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
        self.assertEqual(found, expected + [f"target/release/{name}" for name in programs])
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
            {"run-gpu-checks", "README.txt", "configs/engines.toml", "configs/models/llama2-7b.json"}, set(there)
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

    def test_a_bundle_that_is_too_large_is_an_error_and_the_older_one_stays(self):
        before = self.make()
        with self.assertRaisesRegex(setup.SetupError, r"the bundle is [\d,]+ bytes, [\d,]+ more than the 1,000"):
            self.make(limit=1000)
        self.assertEqual(json.loads((self.out / "versions.json").read_text()), before)

    def test_what_is_left_of_the_limit_is_said(self):
        printed = self.quietly()
        self.make()
        size = sum(path.stat().st_size for path in self.out.rglob("*") if path.is_file())
        self.assertRegex(printed.getvalue(), f"left +{bundle.LIMIT - size:,} bytes, of 60 MiB")

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
        with self.assertRaisesRegex(checks.Unusable, "target/release/llama2-bench is damaged"):
            checks.unpack(self.out, versions, self.top / "scratch")

    def test_the_glibc_that_programs_need_is_read_from_them(self):
        data = b"x\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0"
        self.assertEqual(bundle.oldest_glibc([bundle.Packed("p", 0o755, [bundle.Piece("programs", data)])]), "2.34")


VERSIONS = {"architecture": 90, "needs": {"glibc": "2.17", "torch": "2.11.0", "cuda": "13"}}
H200 = {"name": "NVIDIA H200", "memory_bytes": 150 << 30, "architecture": 90, "driver_cuda": 13, "gpus": 1}


class Layout(Temporary):
    """The runtime's folder, from a made-up site-packages."""

    def setUp(self):
        super().setUp()
        self.site = self.top / "site-packages"
        self.write("site-packages/torch/lib/libtorch_cpu.so")
        self.write("site-packages/torch/version.py", "__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n")
        for name in checks.CUDA_LIBRARIES["cu13"]:
            self.write(f"site-packages/nvidia/cu13/lib/{name}")
        for name in checks.CUDA_LIBRARIES["cudnn"]:
            self.write(f"site-packages/nvidia/cudnn/lib/{name}")
        self.runtime = self.top / "scratch/.runtime"

    def lay_out(self, *search):
        torch = checks.find_torch(self.site / "torch")
        folders = checks.library_folders(torch, list(map(str, search)))
        checks.lay_out(self.runtime, torch, folders)
        return torch, folders

    def test_links_lead_to_torch_and_every_library(self):
        torch, folders = self.lay_out()
        self.assertEqual((torch.version, torch.cuda), ("2.11.0+cu130", "13.0"))
        self.assertTrue((self.runtime / "torch/lib/libtorch_cpu.so").is_file())
        self.assertEqual(checks.missing_libraries(self.runtime), [])
        variables = checks.environment(self.top / "scratch", torch, folders, "/driver")
        self.assertEqual(variables["LLAMA2_BENCH_RUNTIME"], str(self.runtime))
        paths = variables["LD_LIBRARY_PATH"].split(":")
        self.assertEqual(paths[0], str(self.site / "torch/lib"))
        self.assertLessEqual(
            {str(self.site / "nvidia/cu13/lib"), str(self.site / "nvidia/cudnn/lib"), "/driver"}, set(paths)
        )

    def test_libraries_of_other_packages_and_folders_are_found(self):
        (self.site / "nvidia/cu13/lib/libcurand.so.10").unlink()
        self.write("site-packages/nvidia/curand/lib/libcurand.so.10")
        (self.site / "nvidia/cudnn/lib/libcudnn_ops.so.9").unlink()
        self.write("site-packages/torch/lib/libcudnn_ops.so.9")
        (self.site / "nvidia/cu13/lib/libcufft.so.12").unlink()
        self.write("elsewhere/nvidia/cu13/lib/libcufft.so.12")
        self.lay_out(self.top / "elsewhere")
        self.assertEqual(checks.missing_libraries(self.runtime), [])
        self.assertFalse((self.runtime / "nvidia/cu13/lib/libtorch_cpu.so").exists())

    def test_a_missing_library_is_named_with_its_package(self):
        (self.site / "nvidia/cu13/lib/libcurand.so.10").unlink()
        (self.site / "nvidia/cudnn/lib/libcudnn.so.9").unlink()
        self.lay_out()
        self.assertEqual(
            checks.missing_libraries(self.runtime),
            ["libcurand.so.10 (of nvidia-curand)", "libcudnn.so.9 (of nvidia-cudnn-cu13)"],
        )

    def test_laying_out_again_is_the_same(self):
        self.lay_out()
        before = sorted(self.runtime.rglob("*"))
        self.lay_out()
        self.assertEqual(sorted(self.runtime.rglob("*")), before)

    def test_what_does_not_fit_is_said(self):
        torch = checks.find_torch(self.site)
        self.assertEqual(checks.misfits(VERSIONS, torch, H200), [])
        self.assertEqual(checks.misfits(VERSIONS, torch, None), [])
        needs = {**VERSIONS["needs"], "glibc": "99.1"}
        cases = [
            (
                VERSIONS,
                checks.Torch(self.site, "2.10.0+cu130", "13.0"),
                H200,
                r"built against torch 2\.11\.0, and .* is 2\.10\.0",
            ),
            (VERSIONS, checks.Torch(self.site, "2.11.0+cpu", None), H200, "for CUDA 13, and this one is for no CUDA"),
            (VERSIONS, checks.Torch(self.site, "2.11.0+cu128", "12.8"), H200, r"and this one is for 12\.8"),
            (VERSIONS, torch, {**H200, "driver_cuda": 12}, "driver is for CUDA 12, too old"),
            (
                VERSIONS,
                torch,
                {**H200, "name": "NVIDIA A100", "architecture": 80},
                "A100 is sm_80, .* make it with --arch 80",
            ),
            ({**VERSIONS, "needs": needs}, torch, H200, r"need glibc 99\.1"),
        ]
        for versions, found, gpu, expected in cases:
            with self.subTest(expected):
                [problem] = checks.misfits(versions, found, gpu)
                self.assertRegex(problem, expected)

    def test_a_place_without_torch_is_said(self):
        with self.assertRaisesRegex(checks.Unusable, "it is no torch"):
            checks.find_torch(self.top)


class Running(Temporary):
    """The runner, with shell commands for steps."""

    def setUp(self):
        super().setUp()
        self.quietly()

    def runner(self, seconds=60.0, **words):
        words = {"grace": 5, "reserve": 0, **words}
        return checks.Runner(self.top, seconds, dict(os.environ), {"gpu_name": "none"}, **words)

    def shell(self, name, script, limit=30, **words):
        return checks.Step(name, limit, [["sh", "-c", script]], least=0, **words)

    def verdicts(self, runner):
        summary = json.loads((self.top / "summary.json").read_text())
        self.assertEqual(summary["steps"], [vars(result) for result in runner.results])
        return [(step["step"], step["verdict"], step["exit_code"]) for step in summary["steps"]]

    def test_steps_after_a_failed_one_run_and_everything_is_logged(self):
        runner = self.runner()
        runner.run_all(
            [
                self.shell("one", "echo out; echo err >&2"),
                self.shell("two", "echo why; exit 3"),
                self.shell("three", ":"),
            ]
        )
        self.assertEqual(self.verdicts(runner), [("one", "ok", 0), ("two", "failed", 3), ("three", "ok", 0)])
        self.assertEqual((self.top / "01-one.log").read_text().splitlines()[1:], ["out", "err"])
        self.assertEqual(runner.exit_code(), 1)
        markdown = (self.top / "summary.md").read_text()
        self.assertRegex(markdown, r"\| two \| [\d.]+ \| 3 \| failed \| exit code 3 \|")
        self.assertIn("    why", markdown)

    def test_all_in_order_is_0_and_a_program_that_is_not_there_is_a_failure(self):
        runner = self.runner()
        runner.run_all([self.shell("one", ":")])
        self.assertEqual(runner.exit_code(), 0)
        runner.run_all([checks.Step("none", 9, [["/nowhere/program"], ["sh", "-c", "echo next"]], least=0)])
        self.assertEqual(self.verdicts(runner), [("none", "failed", 127)])
        self.assertIn("next", (self.top / "01-none.log").read_text())

    def test_a_time_limit_asks_first_and_then_kills(self):
        runner = self.runner(grace=0.2)
        orderly = self.shell(
            "orderly", "trap 'echo in order; exit 0' INT; echo begun; while :; do sleep 0.01; done", 0.5
        )
        deaf = self.shell("deaf", "trap '' INT; while :; do sleep 0.01; done", 0.5)
        open_ended = self.shell("open", "exec sleep 60", 0.2, open_ended=True)
        runner.run_all([orderly, deaf, open_ended, self.shell("next", ":")])
        verdicts = [("orderly", "failed", None), ("deaf", "failed", None), ("open", "stopped", None), ("next", "ok", 0)]
        self.assertEqual(self.verdicts(runner), verdicts)
        self.assertIn("in order\nstopped: the time was up", (self.top / "01-orderly.log").read_text())
        self.assertEqual(checks.children(), [])

    def test_what_does_not_fit_the_time_is_skipped(self):
        runner = self.runner(0.4)
        late = self.shell("late", ":")
        late.least = 100
        runner.run_all([self.shell("long", "exec sleep 60"), late, self.shell("cannot", ":", skip="no such thing")])
        verdicts = [("long", "failed", None), ("late", "skipped", None), ("cannot", "skipped", None)]
        self.assertEqual(self.verdicts(runner), verdicts)
        self.assertRegex(runner.results[1].note, "at least 100 s, and 0 s were left")
        self.assertEqual(runner.results[2].note, "no such thing")

    def test_nothing_that_a_step_started_outlives_it(self):
        runner = self.runner()
        # A session of its own, as a daemon: neither in the step's process group nor its child any more.
        runner.run_all(
            [
                self.shell(
                    "leaves",
                    f"setsid sh -c 'echo $$ > {self.top}/pid; exec sleep 60' & "
                    f"while [ ! -s {self.top}/pid ]; do :; done",
                )
            ]
        )
        self.assertFalse(Path(f"/proc/{int((self.top / 'pid').read_text())}").exists())
        self.assertEqual(self.verdicts(runner), [("leaves", "ok", 0)])

    def test_a_judge_has_the_last_word(self):
        runner = self.runner()
        steps = [
            self.shell("bad", ":", judge=lambda result: ("failed", "it is wrong")),
            self.shell("said", ":", judge=lambda result: (None, "2 cells")),
        ]
        runner.run_all(steps)
        self.assertEqual(self.verdicts(runner), [("bad", "failed", 0), ("said", "ok", 0)])
        self.assertEqual([result.note for result in runner.results], ["it is wrong", "2 cells"])

    def test_an_interruption_leaves_a_summary_and_no_process(self):
        script = f"""
import importlib.machinery, importlib.util, os, signal, sys
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("checks", {str(SCRIPTS / "run-gpu-checks")!r})
checks = importlib.util.module_from_spec(importlib.util.spec_from_loader("checks", loader))
sys.modules["checks"] = checks
loader.exec_module(checks)
def told(number, frame):
    raise checks.Killed("SIGTERM")
signal.signal(signal.SIGTERM, told)
runner = checks.Runner(checks.Path({str(self.top)!r}), 60, dict(os.environ), {{}}, grace=1, reserve=0)
wait = checks.Step("wait", 60, [["sh", "-c", "echo $$ > {self.top}/pid; exec sleep 60"]], least=0)
try:
    runner.run_all([checks.Step("one", 9, [["true"]], least=0), wait, checks.Step("three", 9, [["true"]])])
except checks.Killed:
    sys.exit(runner.exit_code())
"""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number):
                (self.top / "pid").unlink(missing_ok=True)
                process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
                pid = int(until(lambda: (self.top / "pid").exists() and (self.top / "pid").read_text().strip()))
                process.send_signal(number)
                self.assertEqual(process.wait(30), 130 if number == signal.SIGTERM else -signal.SIGKILL)
                until(lambda pid=pid: ended(pid))
                steps = json.loads((self.top / "summary.json").read_text())["steps"]
                self.assertEqual([step["verdict"] for step in steps], ["ok", "interrupted", "skipped"])

    def test_the_archive_has_the_results(self):
        archive = self.top / "all.tar.xz"
        runner = self.runner(archive=archive)
        runner.run_all([self.shell("one", "echo hello")])
        with tarfile.open(archive) as files:
            names = {Path(name).name for name in files.getnames()}
        self.assertEqual(names, {self.top.name, "01-one.log", "summary.json", "summary.md"})

    def test_large_measurements_are_packed_and_gone_on_with(self):
        large, small = self.write("a/measurements.jsonl", "x" * 5000), self.write("b/measurements.jsonl", "y" * 50)
        checks.shrink(self.top, 6000)
        self.assertTrue(large.exists() and small.exists())
        checks.shrink(self.top, 1000)
        self.assertEqual(
            sorted(path.name for path in self.top.rglob("*") if path.is_file()),
            ["measurements.jsonl", "measurements.jsonl.xz"],
        )
        checks.spread(large)
        self.assertEqual(large.read_text(), "x" * 5000)


def ended(pid):
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def until(condition):
    deadline = time.monotonic() + 30
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it never came")
        time.sleep(0.01)
    return value


class Steps(Temporary):
    """What the steps run, with a program that takes every command."""

    def setUp(self):
        super().setUp()
        self.write("target/release/llama2-bench", '#!/bin/sh\ntest "$1" != ceilings || test -e "$CEILINGS"\n', 0o755)
        (self.top / "configs").symlink_to(SCRIPTS.parent / "configs")
        self.engines = self.top / "configs/engines.toml"

    def plan(self, **changed):
        values = {"device": "cuda:0", "memory_bytes": 150 << 30, "sizes": ["7b", "13b"], "prompt_runs": None, **changed}
        variables = {"PATH": os.environ["PATH"], "CEILINGS": str(self.top / "ceilings")}
        plan = checks.Plan(self.top, self.top / "results", variables, **values)
        return {step.name: step for step in plan.steps()}

    def words(self, step):
        return " ".join(map(str, step.commands[-1]))

    def test_every_engine_is_checked_and_the_tables_are_as_published(self):
        steps = self.plan()
        self.assertEqual(list(steps), ["machine", "doctor", "verify", "ceilings", "short", "oom", "peers", "7b", "13b"])
        for name in ("verify", "short", "oom"):
            self.assertRegex(
                self.words(steps[name]), "--device cuda:0 --engine onnxruntime,pytorch-eager,pytorch-compile"
            )
        self.assertRegex(
            self.words(steps["13b"]), r"run \S+/llama2-13b-fp16-cuda\.toml --device cuda:0 --out \S+/results/13b$"
        )
        self.assertRegex(
            self.words(steps["peers"]),
            r"7b-fp16-cuda\.toml .*/peers\.toml .*--engine pytorch-eager,pytorch-aoti,hf-eager,hf-compile .*--prompt-length 256 ",
        )
        with mock.patch.object(checks.importlib.util, "find_spec", return_value=None):
            self.assertEqual(self.plan()["peers"].skip, f"{sys.executable} has no transformers")
        self.assertIn("--prompt-runs 7", self.words(self.plan(prompt_runs=7)["7b"]))
        self.assertEqual(steps["ceilings"].skip, "this llama2-bench has no ceilings")
        self.write("ceilings")
        self.assertIsNone(self.plan()["ceilings"].skip)

    def test_an_engine_that_cannot_be_used_does_not_keep_the_others_from_it(self):
        def answer(engine, *devices):
            return {"engine": engine, "hello": {"devices": [{"device": d, "unusable": why} for d, why in devices]}}

        cuda, cpu = ("cuda:0", None), ("cpu", None)
        answers = [answer("onnxruntime", cpu, ("cuda", "no CUDA")), answer("pytorch-eager", cpu, cuda)]
        answers.append({"engine": "pytorch-compile", "unusable": "no libtorch"})
        answers += [answer("pytorch-cudagraph", cpu), answer("pytorch-aoti", cpu)]
        self.write("doctor.json", json.dumps(answers))
        self.write("target/release/llama2-bench", f"#!/bin/sh\ncat {self.top}/doctor.json\n", 0o755)
        steps = self.plan()
        for name in ("verify", "short", "oom", "7b", "13b"):
            self.assertRegex(self.words(steps[name]), r"--engine pytorch-eager( |$)")
        problems = (
            "onnxruntime can't be used: no CUDA; pytorch-compile can't be used: no libtorch; "
            "pytorch-cudagraph can't be used: it has no cuda:0; pytorch-aoti can't be used: it has no cuda:0"
        )
        self.assertEqual(steps["doctor"].judge(None), ("failed", problems))
        self.assertEqual(checks.judge_doctor({"pytorch-aoti": "no Python"}), (None, "pytorch-aoti can't be used: no Python"))
        self.write("doctor.json", json.dumps([answer(name, cpu) for name in checks.every_engine(self.engines)]))
        self.assertEqual(self.plan()["7b"].skip, "no engine can use cuda:0")
        self.assertIsNone(self.plan(device="cpu")["short"].skip)

    def test_the_large_cell_fits_no_memory(self):
        for gib in (8, 80, 150):
            batch = int(self.words(self.plan(memory_bytes=gib << 30)["oom"]).split("--batch-size ")[1].split(",")[0])
            self.assertGreater(batch * 4096 * 512 << 10, 1.5 * (gib << 30))

    def test_a_table_goes_on_where_it_was_stopped(self):
        self.write("results/7b/sweep.toml")
        self.write("results/7b/measurements.jsonl", '{"engine":"a"}\n{"engine":"b"}\n{"eng')
        steps = self.plan()
        self.assertRegex(self.words(steps["7b"]), "run --resume .*/results/7b$")
        self.assertTrue(steps["7b"].resumes and not steps["13b"].resumes)
        self.assertEqual(steps["7b"].judge(checks.Result("7b")), (None, "2 cells measured"))

    def test_out_of_memory_is_judged_by_what_was_measured(self):
        line = '{{"engine":"{}","batch_size":{},"outcome":"{}"}}\n'
        good = line.format("a", 99, "out_of_memory") + line.format("a", 1, "ok")
        self.write("oom/measurements.jsonl", good)
        judge = lambda engines: checks.judge_oom(checks.Result("oom"), self.top / "oom", 99, engines)
        self.assertEqual(judge(["a"]), (None, "1 engines: OOM, then a cell that works"))
        self.write("oom/measurements.jsonl", good + line.format("b", 99, "crashed"))
        problems = "b at batch size 99: crashed, not out_of_memory; b at batch size 1: missing, not ok"
        self.assertEqual(judge(["a", "b"]), ("failed", problems))


class Program(Temporary):
    """run-gpu-checks as a program, on a machine that it can't use."""

    def run_checks(self, *words):
        command = [sys.executable, str(self.top / "run-gpu-checks"), "--out", str(self.top / "results"), *words]
        return subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        )

    def setUp(self):
        super().setUp()
        self.write("run-gpu-checks", (SCRIPTS / "run-gpu-checks").read_text())
        for size in ("7b", "13b"):
            self.write(f"configs/llama2-{size}-fp16-cuda.toml")

    def test_a_folder_that_is_no_bundle(self):
        done = self.run_checks()
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, "^error: .* is no bundle: scripts/gpu-bundle makes one\n$")

    @unittest.skipIf(
        checks.driver_folder() or Path("/proc/driver/nvidia/version").exists(), "there is an NVIDIA driver"
    )
    def test_a_machine_without_a_driver_and_torch(self):
        self.write("versions.json", json.dumps(VERSIONS))
        done = self.run_checks("--torch", str(self.top))
        self.assertEqual(done.returncode, 2)
        first, second = done.stderr.splitlines()
        self.assertRegex(first, r"^error: no GPU can be used: no NVIDIA driver: libcuda\.so\.1")
        self.assertRegex(second, "^error: .* has no lib/libtorch_cpu.so: it is no torch$")
        self.assertFalse((self.top / "results").exists())

    def test_a_size_that_there_is_no_table_of(self):
        done = self.run_checks("--model-sizes", "3b")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, "--model-sizes: no configs/llama2-3b-fp16-cuda.toml")


if __name__ == "__main__":
    unittest.main()
