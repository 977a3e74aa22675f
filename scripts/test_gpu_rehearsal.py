"""Rehearses every plan of scripts/gpu on the CPU, with the built programs, and kills one.

`make test` builds the programs first. Run: cargo build --workspace --lib --bins && python3 scripts/test_gpu_rehearsal.py
PROGRAMS names another folder of programs than target/debug.

What a rehearsal leaves out is printed. With CI=true that may only be what needs torch in Python, which CI does not install:
- `pytorch-aoti`: compiles with torch in Python, for minutes;
- `hf-eager` and `hf-compile`: need the peers' Python (`make peers`); `hf-compile` also compiles for minutes;
- the step `products`: a script that imports torch.
What needs a GPU is changed rather than left out: `device_memory_limit` is dropped, and `cuda_graph` changes nothing on a
CPU.
"""

import contextlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
SCRIPTS = Path(__file__).resolve().parent
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS / "gpu")]

import plan as plans
import rehearsal
import results
import test_gpu_bundle
from test_gpu_bundle import Temporary
from test_gpu_checks import until

TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or SCRIPTS.parent / "target").absolute()
PROGRAMS = Path(os.environ.get("PROGRAMS") or TARGET / "debug").absolute()
CHECKS = SCRIPTS / "run-gpu-checks"
# Why a step or an engine may be left out of a rehearsal.
MAY_BE_MISSING = re.compile("compiles for minutes|make peers|has no torch")
# Engines, and steps that are a script, that CI can't rehearse.
NOT_IN_CI = {"pytorch-aoti", "hf-eager", "hf-compile", "products"}


def setUpModule():
    if not (PROGRAMS / "llama2-bench").exists():
        raise SystemExit(f"{PROGRAMS} has no llama2-bench: cargo build --workspace --lib --bins")


class Rehearsal(Temporary):
    def command(self, plan, *words):
        return [sys.executable, CHECKS, "--plan", plan, "--rehearse", "--programs", PROGRAMS, *words]

    def rehearse(self, name):
        plan, out = plans.PLANS / f"{name}.toml", self.top / name
        archive = self.top / f"{name}.tar.gz"
        words = self.command(plan, "--out", out, "--archive", archive)
        done = subprocess.run(words, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + logs(out))
        summary = json.loads((out / "summary.json").read_text())
        planned = plans.read(str(plan))
        rehearsal.rehearse(planned)
        self.assertEqual([step["step"] for step in summary["steps"]], [step.name for step in planned.steps])
        for step, result in zip(planned.steps, summary["steps"], strict=True):
            if result["verdict"] == "skipped":
                self.check_left_out(f"{name}: {step.name}", step.engines or [step.name], result["note"])
                continue
            gone = re.findall(r"without ([\w-]+): (.*?)(?=; without |$)", result["note"])
            for engine, why in gone:
                self.check_left_out(f"{name}: {step.name}: {engine}", [engine], why)
            if step.kind == "run":
                self.check_rows(step, out, {engine for engine, _ in gone})
        with tarfile.open(archive) as files:
            archived = files.extractfile(f"{name}/summary.json").read()
        self.assertEqual(archived, (out / "summary.json").read_bytes())
        return {result["step"]: result["verdict"] for result in summary["steps"]}

    def check_left_out(self, what, names, note):
        """An engine or a step that was left out: it is printed, and only what can't be had may be."""
        print(f"not rehearsed: {what}: {note}", file=sys.stderr)
        self.assertRegex(note, MAY_BE_MISSING)
        if os.environ.get("CI") == "true":
            self.assertLessEqual(set(names), NOT_IN_CI, "CI can rehearse it")

    def check_rows(self, step, out, gone):
        """Every row of an engine that was not left out was measured, in each precision."""
        records = results.read_records(out / step.name / "measurements.jsonl")
        sweep = tomllib.loads((out / f"{step.name}.toml").read_text())
        used = sweep.get("engines") or list(dict.fromkeys(row[0] for row in sweep["rows"]))
        self.assertEqual(set(step.engines) - set(used), gone)
        grid = [[engine, b, p] for engine in used for b in sweep.get("batch_sizes", []) for p in sweep["prompt_lengths"]]
        precisions = sweep["precision"] if isinstance(sweep["precision"], list) else [sweep["precision"]]
        expected = [[*row, precision, "ok"] for row in sweep.get("rows") or grid for precision in precisions]
        cell = lambda key: [key["engine"], key["batch_size"], key["prompt_length"], key["precision"]]
        found = [[*cell(record["key"]), results.outcome(record)] for record in records]
        self.assertEqual(sorted(found), sorted(expected))

    def test_first(self):
        verdicts = self.rehearse("first")
        for step in ("machine", "verify", "peaks", "7b"):
            self.assertEqual(verdicts[step], "ok", step)

    def test_7b(self):
        self.assertEqual(set(self.rehearse("7b").values()), {"ok"})

    def test_13b(self):
        self.assertEqual(set(self.rehearse("13b").values()), {"ok"})

    def test_70b_one_rank(self):
        self.assertEqual(set(self.rehearse("70b-one-rank").values()), {"ok"})

    def test_oom(self):
        self.assertEqual(set(self.rehearse("oom").values()), {"ok"})

    def test_peers(self):
        self.assertEqual(self.rehearse("peers")["peers"], "ok")

    def test_low_bit(self):
        self.assertEqual(set(self.rehearse("low-bit").values()), {"ok"})

    def test_aoti(self):
        self.assertIn(self.rehearse("aoti")["7b"], ("ok", "skipped"))

    def test_what_ci_can_rehearse_may_not_be_left_out(self):
        with mock.patch.dict(os.environ, CI="true"), contextlib.redirect_stderr(io.StringIO()) as printed:
            self.check_left_out("aoti: 7b", ["pytorch-aoti"], "it compiles for minutes")
            self.assertEqual(printed.getvalue(), "not rehearsed: aoti: 7b: it compiles for minutes\n")
            for names, note in ((["pytorch-eager"], "has no torch"), (["pytorch-aoti"], "it crashed")):
                with self.assertRaises(self.failureException):
                    self.check_left_out("step", names, note)

    def test_every_plan_is_rehearsed(self):
        self.assertEqual(set(plans.names()), {"first", "7b", "13b", "70b-one-rank", "oom", "peers", "aoti", "low-bit"})

    def test_a_kill_at_any_moment_loses_at_most_one_period(self):
        seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
        chance = random.Random(seed)
        out, archive = self.top / "7b", self.top / "7b.tar.gz"
        records = out / "7b/measurements.jsonl"
        words = ["--only", "7b", "--out", out, "--archive", archive, "--archive-period", "0.05"]
        with open(self.top / "log", "w") as log:
            process = subprocess.Popen(self.command("7b", *words), stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        renewals, last, seen = 0, None, []
        wanted, more_polls = chance.randrange(1, 20), chance.randrange(200)

        def must_be_there():
            # What was on the disk before a renewal began: the second that was seen to end began after the first.
            return max((count for count, renewed in seen if renewed <= renewals - 2), default=0)

        def poll():
            nonlocal renewals, last
            self.assertIsNone(process.poll(), (self.top / "log").read_text())
            if archive.exists() and (state := (archive.stat().st_mtime_ns, archive.stat().st_ino)) != last:
                renewals, last = renewals + 1, state
            seen.append((len(results.read_records(records)), renewals))

        until(lambda: poll() or must_be_there() >= wanted, seconds=120)
        for _ in range(more_polls):
            poll()
        process.kill()
        process.wait()
        with tarfile.open(archive) as files:
            (self.top / "archived").mkdir()
            files.extractall(self.top / "archived", filter="data")
        kept = results.read_records(self.top / "archived/7b/7b/measurements.jsonl")
        self.assertGreaterEqual(len(kept), must_be_there(), f"SEED={seed}")
        self.assertEqual(kept, results.read_records(records)[: len(kept)], f"SEED={seed}")
        # Nothing goes on measuring.
        until(lambda: not users_of(out), seconds=120)
        self.assertLess(len(results.read_records(records)), 54, f"SEED={seed}")


def users_of(folder):
    """Processes with this folder on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(folder) in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def logs(out):
    return "".join(f"\n{path.name}:\n{path.read_text(errors='replace')[-2000:]}" for path in sorted(out.glob("*.log")))


class Bundle(test_gpu_bundle.Bundling):
    """The same through a bundle's layout: the programs in it start the built ones, the engine is the mock."""

    def test_a_bundle_is_unpacked_and_runs_a_plan(self):
        for name in ("llama2-bench", "llama2-bench-mock", "llama2-bench-onnxruntime", "llama2-bench-torch", "llama2-bench-reference"):
            self.write(f"built/{name}", f'#!/bin/sh\nexec {PROGRAMS / name} "$@"\n', 0o755)
        self.write("torch/lib/libtorch_cpu.so")
        self.write("torch/version.py", "__version__ = '2.11.0+cpu'\ncuda = None\n")
        plan = self.write("mock.toml", MOCK_PLAN)
        self.make()
        # Away from the checkout, as on the other machine.
        shutil.move(self.out, self.top / "there")
        words = ["--plan", plan, "--rehearse", "--torch", self.top / "torch", "--out", self.top / "results"]
        command = [sys.executable, self.top / "there/run-gpu-checks", *words]
        with mock.patch.dict(os.environ):
            os.environ.pop("LLAMA2_BENCH_RUNTIME", None)
            done = subprocess.run(command, capture_output=True, text=True, cwd=self.top)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + logs(self.top / "results"))
        self.assertIn("unpacking into", done.stdout)
        # Workers in Python look for the program relative to their own place.
        self.assertNotIn("there/scripts", logs(self.top / "results"))
        summary = json.loads((self.top / "results/summary.json").read_text())
        self.assertEqual([step["verdict"] for step in summary["steps"]], ["ok", "ok"])
        self.assertRegex(summary["programs"], "^llama2-bench ")
        self.assertEqual(len(results.read_records(self.top / "results/run/measurements.jsonl")), 2)


MOCK_PLAN = """
about = "the mock engine"
limit_seconds = 200
[[step]]
name = "machine"
kind = "machine"
expected_seconds = 5
[[step]]
name = "run"
kind = "run"
expected_seconds = 5
flags = ["--no-verify", "--no-peaks"]
[step.sweep]
models = ["llama2-7b"]
rows = [["mock", 1, 16], ["mock", 4, 256]]
generation_length = 8
device = "cuda:0"
precision = "fp16"
"""


def load_tests(loader, tests, pattern):
    """The bundle's own tests are run by test_gpu_bundle.py."""
    suite = unittest.TestSuite(loader.loadTestsFromTestCase(Rehearsal))
    suite.addTest(Bundle("test_a_bundle_is_unpacked_and_runs_a_plan"))
    return suite


if __name__ == "__main__":
    unittest.main()
