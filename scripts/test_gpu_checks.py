"""Tests of scripts/gpu without a GPU: a made-up site-packages, shell commands in the place of steps, a program that
takes every command. Run: python3 scripts/test_gpu_checks.py
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
SCRIPTS = Path(__file__).resolve().parent
GPU = SCRIPTS / "gpu"
sys.path[:0] = [str(SCRIPTS), str(GPU)]

import unittest

import installation
import machine
import plan as plans
import rehearsal
import results
import steps
from runner import Runner, Step, children
from test_gpu_bundle import Temporary

VERSIONS = {"architecture": 90, "needs": {"glibc": "2.17", "torch": "2.11.0", "cuda": "13"}}
H200 = {"name": "NVIDIA H200", "memory_bytes": 150 << 30, "architecture": 90, "driver_cuda": 13, "gpus": 1}


class Layout(Temporary):
    """The runtime's folder, from a made-up site-packages."""

    def setUp(self):
        super().setUp()
        self.site = self.top / "site-packages"
        self.write("site-packages/torch/lib/libtorch_cpu.so")
        self.write("site-packages/torch/version.py", "__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n")
        for name in installation.CUDA_LIBRARIES["cu13"]:
            self.write(f"site-packages/nvidia/cu13/lib/{name}")
        for name in installation.CUDA_LIBRARIES["cudnn"]:
            self.write(f"site-packages/nvidia/cudnn/lib/{name}")
        self.runtime = self.top / "scratch/.runtime"

    def lay_out(self, *search):
        torch = installation.find_torch(self.site / "torch")
        folders = installation.library_folders(torch, list(map(str, search)))
        installation.lay_out(self.runtime, torch, folders)
        return torch, folders

    def test_links_lead_to_torch_and_every_library(self):
        torch, folders = self.lay_out()
        self.assertEqual((torch.version, torch.cuda), ("2.11.0+cu130", "13.0"))
        self.assertTrue((self.runtime / "torch/lib/libtorch_cpu.so").is_file())
        self.assertEqual(installation.missing_libraries(self.runtime), [])
        variables = installation.environment(self.top / "scratch", torch, folders, "/driver")
        self.assertEqual(variables["LLAMA2_BENCH_RUNTIME"], str(self.runtime))
        paths = variables["LD_LIBRARY_PATH"].split(":")
        self.assertEqual(paths[0], str(self.site / "torch/lib"))
        self.assertLessEqual({str(self.site / "nvidia/cu13/lib"), str(self.site / "nvidia/cudnn/lib"), "/driver"}, set(paths))

    def test_libraries_of_other_packages_and_folders_are_found(self):
        (self.site / "nvidia/cu13/lib/libcurand.so.10").unlink()
        self.write("site-packages/nvidia/curand/lib/libcurand.so.10")
        (self.site / "nvidia/cudnn/lib/libcudnn_ops.so.9").unlink()
        self.write("site-packages/torch/lib/libcudnn_ops.so.9")
        (self.site / "nvidia/cu13/lib/libcufft.so.12").unlink()
        self.write("elsewhere/nvidia/cu13/lib/libcufft.so.12")
        self.lay_out(self.top / "elsewhere")
        self.assertEqual(installation.missing_libraries(self.runtime), [])
        self.assertFalse((self.runtime / "nvidia/cu13/lib/libtorch_cpu.so").exists())

    def test_a_missing_library_is_named_with_its_package(self):
        (self.site / "nvidia/cu13/lib/libcurand.so.10").unlink()
        (self.site / "nvidia/cudnn/lib/libcudnn.so.9").unlink()
        self.lay_out()
        self.assertEqual(
            installation.missing_libraries(self.runtime),
            ["libcurand.so.10 (package nvidia-curand)", "libcudnn.so.9 (package nvidia-cudnn-cu13)"],
        )

    def test_laying_out_again_is_the_same(self):
        self.lay_out()
        before = sorted(self.runtime.rglob("*"))
        self.lay_out()
        self.assertEqual(sorted(self.runtime.rglob("*")), before)

    def test_what_does_not_fit_is_said(self):
        torch = installation.find_torch(self.site)
        self.assertEqual(machine.misfits(VERSIONS, torch, H200), [])
        self.assertEqual(machine.misfits(VERSIONS, torch, None), [])
        needs = {**VERSIONS["needs"], "glibc": "99.1"}
        cases = [
            (
                VERSIONS,
                installation.Torch(self.site, "2.10.0+cu130", "13.0"),
                H200,
                r"built against torch 2\.11\.0, and .* is 2\.10\.0",
            ),
            (VERSIONS, installation.Torch(self.site, "2.11.0+cpu", None), H200, "for CUDA 13, and this one is for no CUDA"),
            (VERSIONS, installation.Torch(self.site, "2.11.0+cu128", "12.8"), H200, r"and this one is for 12\.8"),
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
                [problem] = machine.misfits(versions, found, gpu)
                self.assertRegex(problem, expected)

    def test_a_place_without_torch_is_said(self):
        with self.assertRaisesRegex(installation.Unusable, "is not torch.s folder"):
            installation.find_torch(self.top)


class Running(Temporary):
    """The runner, with shell commands for steps."""

    def setUp(self):
        super().setUp()
        self.quietly()

    def runner(self, seconds=60.0, **words):
        words = {"grace": 5, "reserve": 0, **words}
        return Runner(self.top, seconds, dict(os.environ), {"gpu_name": "none"}, **words)

    def shell(self, name, script, limit=30, **words):
        return Step(name, limit, [["sh", "-c", script]], least=0, **words)

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
        self.assertRegex(markdown, r"\| two \| 0 \| [\d.]+ \| 3 \| failed \| exit code 3 \|")
        self.assertIn("    why", markdown)

    def test_all_in_order_is_0_and_a_program_that_is_not_there_is_a_failure(self):
        runner = self.runner()
        runner.run_all([self.shell("one", ":")])
        self.assertEqual(runner.exit_code(), 0)
        runner.run_all([Step("none", 9, [["/nowhere/program"], ["sh", "-c", "echo next"]], least=0)])
        self.assertEqual(self.verdicts(runner), [("none", "failed", 127)])
        self.assertIn("next", (self.top / "01-none.log").read_text())

    def test_a_time_limit_asks_first_and_then_kills(self):
        runner = self.runner(grace=0.2)
        orderly = self.shell("orderly", "trap 'echo in order; exit 0' INT; echo begun; while :; do sleep 0.01; done", 0.5)
        deaf = self.shell("deaf", "trap '' INT; while :; do sleep 0.01; done", 0.5)
        a_run = self.shell("run", "exec sleep 60", 0.2, can_be_stopped=True)
        runner.run_all([orderly, deaf, a_run, self.shell("next", ":")])
        verdicts = [("orderly", "failed", None), ("deaf", "failed", None), ("run", "stopped", None), ("next", "ok", 0)]
        self.assertEqual(self.verdicts(runner), verdicts)
        self.assertIn("in order\nstopped: the time was up", (self.top / "01-orderly.log").read_text())
        self.assertEqual(children(), [])

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
                    f"setsid sh -c 'echo $$ > {self.top}/pid; exec sleep 60' & while [ ! -s {self.top}/pid ]; do :; done",
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
import os, signal, sys
sys.dont_write_bytecode = True
sys.path.insert(0, {str(GPU)!r})
from pathlib import Path
from runner import Killed, Runner, Step
def told(number, frame):
    raise Killed("SIGTERM")
signal.signal(signal.SIGTERM, told)
runner = Runner(Path({str(self.top)!r}), 60, dict(os.environ), {{}}, grace=1, reserve=0)
wait = Step("wait", 60, [["sh", "-c", "echo $$ > {self.top}/pid; exec sleep 60"]], least=0)
try:
    runner.run_all([Step("one", 9, [["true"]], least=0), wait, Step("three", 9, [["true"]])])
except Killed:
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


def ended(pid):
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it never came")
        time.sleep(0.01)
    return value


class Archives(Temporary):
    """The one file that comes back."""

    def setUp(self):
        super().setUp()
        self.quietly()
        self.path = self.top / "back/all.tar.gz"
        self.folder = self.top / "first"
        self.write("first/01-one.log", "hello")

    def contents(self):
        with tarfile.open(self.path) as files:
            return {member.name: files.extractfile(member).read().decode() for member in files.getmembers()}

    def test_it_has_every_file_as_it_is_now(self):
        self.write("first/7b/measurements.jsonl", '{"a": 1}\n{"half')
        self.write("first/summary.json.partial", "half")
        (self.folder / "link").symlink_to("/etc/passwd")
        with results.Archive(self.folder, self.path, 1000) as archive:
            archive.renew()
            expected = {"first/01-one.log": "hello", "first/7b/measurements.jsonl": '{"a": 1}\n{"half'}
            self.assertEqual(self.contents(), expected)
            self.write("first/01-one.log", "hello again")
        self.assertEqual(self.contents()["first/01-one.log"], "hello again")
        self.assertEqual(os.listdir(self.path.parent), ["all.tar.gz"])

    def test_it_is_renewed_while_a_step_runs(self):
        self.assertEqual(results.PERIOD, 20)
        with results.Archive(self.folder, self.path, 0.01):
            for word in ("one", "two", "three"):
                self.write("first/word", word)
                until(lambda word=word: self.path.exists() and self.contents().get("first/word") == word)

    def test_a_long_log_is_cut_and_a_file_that_is_gone_is_left_out(self):
        self.write("first/02-long.log", "x" * results.LONGEST_LOG + "the end")
        archive = results.Archive(self.folder, self.path, 1000)
        self.path.parent.mkdir()
        with mock.patch.object(Path, "is_file", lambda path: True):
            (self.folder / "empty").mkdir()
            archive.renew()
        long = self.contents()["first/02-long.log"]
        self.assertTrue(long.startswith("(the beginning is left out)\nxxx") and long.endswith("the end"))
        self.assertEqual(set(self.contents()), {"first/01-one.log", "first/02-long.log"})

    def test_an_archive_that_cannot_be_written_does_not_stop_what_is_measured(self):
        printed = self.quietly()
        archive = results.Archive(self.folder, self.path, 0.01)
        with archive:
            with mock.patch.object(archive, "renew", side_effect=OSError("disk full")):
                until(lambda: "could not be renewed: disk full" in printed.getvalue())
            until(self.path.exists)

    def test_a_runner_renews_it_after_each_step(self):
        with results.Archive(self.folder, self.path, 1000) as archive:
            runner = Runner(self.folder, 60, dict(os.environ), {}, archive, grace=5, reserve=0)
            check = f"test ! -e {self.path} && echo new"
            runner.run_all([Step("one", 9, [["sh", "-c", check]], least=0), Step("two", 9, [["test", "-s", self.path]], least=0)])
            self.assertEqual([result.verdict for result in runner.results], ["ok", "ok"])
        self.assertIn("summary.md", " ".join(self.contents()))


GOOD = """
about = "a plan"
limit_seconds = 100
startup_seconds = 5
[[step]]
name = "one"
kind = "run"
expected_seconds = 20
[step.sweep]
models = ["llama2-7b"]
rows = [["a", 1, 16], ["b", 4, 256]]
[step.sweep.procedure]
prompt_runs = 3
[step.sweep.options.a]
fused = true
[[step]]
name = "two"
kind = "machine"
expected_seconds = 5
"""


class Plans(Temporary):
    def read(self, text=GOOD):
        return plans.read(str(self.write("p.toml", text)))

    def test_a_plan_is_read(self):
        plan = self.read()
        self.assertEqual((plan.name, plan.limit, plan.expected(), plan.engines()), ("p", 100, 30, ["a", "b"]))
        self.assertEqual([(step.name, step.limit, step.least) for step in plan.steps], [("one", 60, 5), ("two", 30, 1.25)])

    def test_every_plan_fits_its_limit(self):
        limits = {"first": 280, "7b": 480, "13b": 480, "70b-one-rank": 480, "peers": 480, "aoti": 480, "oom": 480, "low-bit": 400}
        self.assertEqual(set(plans.names()), set(limits))
        for name, most in limits.items():
            plan = plans.read(name)
            self.assertLessEqual(plan.limit, most, name)
            self.assertLessEqual(plan.expected(), plan.limit - plans.RESERVE, name)

    def test_the_readme_has_every_plan_with_its_seconds(self):
        readme = (GPU / "README.md").read_text()
        for name in plans.names():
            plan = plans.read(name)
            self.assertIn(f"| `{name}` | {plan.limit:.0f} s | {plan.expected():.0f} s |", readme)

    def test_no_plan_loads_a_model_to_verify_it_but_the_smallest(self):
        for name in plans.names():
            for step in plans.read(name).steps:
                self.assertIn(step.model, (None, "llama2-15m"))
                if step.kind == "run":
                    self.assertIn("--no-verify", step.flags, f"{name}: {step.name}")
                    self.assertEqual(step.sweep["isolation"], "engine")
                    # Rows of one engine stand together: it loads its model once.
                    engines = [row[0] for row in step.sweep.get("rows", [])]
                    self.assertEqual(engines, sorted(engines, key=engines.index))

    def test_no_cell_is_measured_again_where_seconds_are_counted(self):
        for name in plans.names():
            for step in plans.read(name).steps:
                if step.sweep is not None:
                    self.assertEqual(step.sweep.get("throttle_retries"), 0, f"{name}: {step.name}")

    def test_aoti_has_steps_of_its_own(self):
        for name in plans.names():
            for step in plans.read(name).steps:
                if "pytorch-aoti" in step.engines:
                    self.assertEqual(step.engines, ["pytorch-aoti"], f"{name}: {step.name}")
        self.assertEqual(plans.read("first").steps[-1].engines, ["pytorch-aoti"])

    def test_every_engine_of_a_plan_is_in_its_engines_file(self):
        for name in plans.names():
            plan = plans.read(name)
            known = tomllib.loads(plan.engines_file.read_text())
            self.assertLessEqual(set(plan.engines()) | {"reference"}, set(known), name)
            for engine in known.values():
                for path in [engine["command"][0], *engine.get("also", [])]:
                    self.assertTrue("/" not in path or (plan.engines_file.parent / path).exists(), path)

    def test_what_is_wrong_with_a_plan_is_one_line(self):
        cases = [
            (
                "limit_seconds = 100",
                "limit_seconds = 39",
                r"p\.toml: startup and steps are expected to take 30 s, more than limit_seconds less 10 \(29\)",
            ),
            ("limit_seconds = 100", "limit_seconds = 700", "limit_seconds: expected at most 580, found 700"),
            ("limit_seconds = 100", "", "p.toml: lacks limit_seconds"),
            ('kind = "machine"', 'kind = "dance"', "step two: kind: expected one of machine, .*, found 'dance'"),
            ('kind = "machine"', 'kind = "machine"\nmodel = "x"', "step two: unknown key model: expected one of name, "),
            ('kind = "machine"', 'kind = "verify"', "step two: lacks engines, model, precision"),
            ('kind = "machine"', 'kind = "script"\nscript = "none.py"', "none.py is not there"),
            ('name = "two"', 'name = "one"', "two steps are named one"),
            ("expected_seconds = 5", "expected_seconds = true", "expected_seconds: expected float, found True"),
            ('rows = [["a", 1, 16], ["b", 4, 256]]', "", "step one: sweep: expected either rows, or engines"),
            ("rows = [", "rows = [[], ", "expected rows such as"),
            ('about = "a plan"', "about = ", r"p\.toml: Invalid value \(at line 2"),
        ]
        for old, new, expected in cases:
            with self.subTest(expected), self.assertRaisesRegex(plans.PlanError, expected) as raised:
                self.assertIn(old, GOOD)
                self.read(GOOD.replace(old, new, 1) if old != "expected_seconds = 5" else GOOD.replace(old, new))
            self.assertNotIn("\n", str(raised.exception))
        known = "13b, 70b-one-rank, 7b, aoti, first, low-bit, oom, peers"
        with self.assertRaisesRegex(plans.PlanError, f"no plan 3b: expected one of {known}, or"):
            plans.read("3b")
        with self.assertRaisesRegex(plans.PlanError, "none.toml: no such file"):
            plans.read("none.toml")

    def test_a_sweep_is_written_as_it_was_read(self):
        for name in plans.names():
            for step in plans.read(name).steps:
                if step.sweep is not None:
                    self.assertEqual(tomllib.loads(plans.sweep_toml(step.sweep)), step.sweep)
        odd = {"text": 'a "quoted" \\ word', "share": 0.5, "table": {"inner": {"flag": False}}}
        self.assertEqual(tomllib.loads(plans.sweep_toml(odd)), odd)

    def test_a_rehearsal_keeps_every_step_and_row(self):
        for name in plans.names():
            before, plan = plans.read(name), plans.read(name)
            rehearsal.rehearse(plan)
            for step, whole in zip(plan.steps, before.steps, strict=True):
                self.assertEqual((step.name, step.kind, step.engines), (whole.name, whole.kind, whole.engines))
                if step.sweep is None:
                    continue
                sweep = step.sweep
                precision = ["fp32", "int8", "int4"] if step.name == "7b" and name == "low-bit" else "fp32"
                if step.name == "7b-torch":
                    precision = ["int8-channel", "int4"]
                self.assertEqual((sweep["models"], sweep["device"], sweep["precision"]), (["llama2-15m"], "cpu", precision))
                self.assertNotIn("device_memory_limit", sweep)
                self.assertEqual(sweep.get("one_rank"), whole.sweep.get("one_rank"))
                self.assertEqual("until" in sweep["procedure"], "until" in whole.sweep["procedure"])
                for key in ("rows", "batch_sizes", "prompt_lengths"):
                    self.assertEqual(len(sweep.get(key, [])), len(whole.sweep.get(key, [])))
                rows = sweep.get("rows", [])
                self.assertEqual(len({tuple(row) for row in rows}), len(rows))
                self.assertLessEqual(max([row[2] for row in rows] + sweep.get("prompt_lengths", [])), 48)


class Steps(Temporary):
    """The commands of steps, and what is made of their results."""

    def build(self, plan, unusable=None, device="cuda:0"):
        variables = {"PATH": os.environ["PATH"]}
        found = installation.Installation(Path("/programs/llama2-bench"), SCRIPTS.parent, variables)
        built = steps.steps(plan, found, self.top, device, unusable or {})
        return {step.name: step for step in built}

    def words(self, step):
        return " ".join(map(str, step.commands[-1]))

    def test_the_commands_of_the_first_plan(self):
        built = self.build(plans.read("first"))
        file = GPU / "engines.toml"
        verify = "--model llama2-15m --precision fp16 --device cuda:0 --engine onnxruntime,onnxruntime-graph,"
        self.assertIn(f"/programs/llama2-bench verify --engines-file {file} {verify}", self.words(built["verify"]))
        self.assertRegex(self.words(built["peaks"]), "peaks .* --device cuda:0 --engine onnxruntime,pytorch-eager --sustained 3$")
        run = f"run {self.top}/7b.toml --engines-file {file} --out {self.top}/7b --no-verify --no-peaks"
        self.assertTrue(self.words(built["7b"]).endswith(run), self.words(built["7b"]))
        sweep = tomllib.loads((self.top / "7b.toml").read_text())
        self.assertEqual([row[1:] for row in sweep["rows"][:4]], [[1, 256], [4, 256], [16, 1024], [1, 3840]])
        self.assertEqual((built["7b"].can_be_stopped, built["verify"].can_be_stopped), (True, False))

    def test_an_engine_that_cannot_be_used_does_not_keep_the_others_from_it(self):
        gone = {"pytorch-compile": "no libtorch", "pytorch-aoti": "no Python"}
        built = self.build(plans.read("first"), gone)
        self.assertNotIn("pytorch-compile", self.words(built["verify"]))
        self.assertEqual(built["verify"].note, "without pytorch-compile: no libtorch")
        self.assertEqual(built["verify-aoti"].skip, "pytorch-aoti can't be used: no Python")
        self.assertEqual(built["machine"].judge(None)[0], "failed")
        oom = self.build(plans.read("oom"), gone)
        self.assertIsNone(oom["7b"].skip)
        sweep = tomllib.loads((self.top / "7b.toml").read_text())
        self.assertEqual((set(sweep["options"]), {row[0] for row in sweep["rows"]}), ({"pytorch-eager"}, {"pytorch-eager", "onnxruntime"}))

    def test_an_answer_of_doctor_says_why_an_engine_cannot_be_used(self):
        cuda, cpu = {"device": "cuda:0", "unusable": None}, {"device": "cpu", "unusable": None}
        none = {"device": "cuda", "unusable": "no CUDA"}
        cases = [
            ({"hello": {"devices": [cpu, cuda]}}, None),
            ({"hello": {"devices": [cpu, none]}}, "no CUDA"),
            ({"hello": {"devices": [cpu]}}, "it has no cuda:0"),
            ({"hello": None, "unusable": "no libtorch"}, "no libtorch"),
        ]
        for answer, expected in cases:
            self.assertEqual(machine.whats_wrong(answer, "cuda:0"), expected)

    def test_a_script_needs_its_modules(self):
        plan = plans.read("first")
        next(step for step in plan.steps if step.name == "products").needs = ["no_such_module"]
        self.assertEqual(self.build(plan)["products"].skip, f"{sys.executable} has no no_such_module")

    def judge(self, outcomes, sweep, out_of_memory=None):
        """What is said of a run with these rows and outcomes."""
        lines = []
        for (engine, batch_size, prompt_length), outcome in outcomes:
            key = {"model": "m", "engine": engine, "batch_size": batch_size, "prompt_length": prompt_length}
            ended = {"ok": {}}
            if outcome == "inferred":
                ended = {"failed": {"kind": "out_of_memory", "inferred_from": {"batch_size": 1, "prompt_length": 16}}}
            elif outcome != "ok":
                ended = {"failed": {"kind": outcome}}
            lines.append(json.dumps({"key": key, "outcome": ended}))
        self.write("judged/measurements.jsonl", "\n".join([*lines, '{"half']))
        verdict, note = steps.judge_run(self.top / "judged", {"models": ["m"], **sweep}, out_of_memory)
        self.assertIsNone(verdict)
        return note

    def test_a_run_is_as_planned_only_where_every_row_was_seen_so(self):
        small, large = ("a", 1, 16), ("a", 16, 3840)
        rows = {"rows": [list(small), list(large)]}
        seen = [(small, "ok"), (large, "out_of_memory")]
        judge = lambda outcomes, oom: self.judge(outcomes, rows, [list(row) for row in oom])
        self.assertEqual(judge(seen, [large]), "2 cells: 1 ok, 1 out of memory, as the plan has it")
        self.assertEqual(
            judge(seen, [small]),
            "2 cells: 1 ok, 1 out of memory; unlike the plan, fits: a 1×16; unlike the plan, out of memory: a 16×3840",
        )
        self.assertEqual(judge(seen[:1], [large]), "1 cells: 1 ok; not measured: a 16×3840")
        self.assertEqual(judge([seen[0], (large, "failed")], [large]), "2 cells: 1 ok, 1 failed; failed: a 16×3840")
        self.assertEqual(judge([seen[0], (large, "inferred")], [large]), "2 cells: 1 ok, 1 inferred; inferred: a 16×3840")
        # A second replicate that ended otherwise counts, too.
        self.assertRegex(judge([*seen, (large, "ok")], [large]), "; unlike the plan, fits: a 16×3840$")
        self.assertEqual(judge([], [large]), "no cell measured")
        self.assertEqual(steps.judge_run(self.top / "none", {"models": ["m"], **rows}), (None, "no cell measured"))

    def test_rows_that_were_not_measured_are_named(self):
        grid = {"engines": ["a", "b"], "batch_sizes": [1, 4], "prompt_lengths": [16, 64, 256]}
        note = self.judge([(("a", 1, 16), "ok"), (("a", 1, 64), "out_of_memory"), (("b", 1, 16), "timeout")], grid)
        self.assertEqual(
            note,
            "3 cells: 1 ok, 1 out of memory, 1 timeout; not measured: a 1×256, a 4×16, a 4×64, a 4×256, b 1×64, b 1×256, "
            "b 4×16, b 4×64 and 1 more; timeout: b 1×16",
        )


class Program(Temporary):
    """run-gpu-checks as a program."""

    def setUp(self):
        super().setUp()
        for name in ("run-gpu-checks", "scripts/gpu"):
            link = self.top / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(SCRIPTS / Path(name).name)
        # Not a link to the folder, from which the checkout would be found.
        (self.top / "scripts/gpu").unlink()
        for path in [*GPU.glob("*.py"), *GPU.glob("*.toml"), *GPU.glob("plans/*.toml")]:
            self.write(f"scripts/gpu/{path.relative_to(GPU)}", path.read_text())
        (self.top / "run-gpu-checks").unlink()
        self.write("run-gpu-checks", (SCRIPTS / "run-gpu-checks").read_text())

    def run_checks(self, *words, **variables):
        command = [sys.executable, str(self.top / "run-gpu-checks"), *words]
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(self.top), **variables}
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.top)

    def error(self, *words):
        done = self.run_checks(*words)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_bad_input_is_an_error_line(self):
        self.assertRegex(self.error(), "error: --plan is needed: one of 13b, 70b-one-rank")
        self.assertRegex(self.error("--plan", "3b"), "^error: --plan: no plan 3b: expected one of 13b, .*\n$")
        only = self.error("--plan", "first", "--only", "dance,verify")
        self.assertRegex(only, "^error: --only: plan first has no step dance: expected machine, verify, .*\n$")
        built = self.error("--plan", "first", "--rehearse")
        self.assertRegex(built, "^error: .*/target has no llama2-bench: run `make build`, or name the folder with --programs\n$")

    def test_plans_are_listed(self):
        done = self.run_checks("--list")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"first: .* \(expected \d+ s, at most 280 s\)\n +30 s  startup\n")

    @unittest.skipIf(machine.driver_folder() or Path("/proc/driver/nvidia/version").exists(), "there is an NVIDIA driver")
    def test_a_machine_without_a_driver_and_torch(self):
        self.write("versions.json", json.dumps(VERSIONS))
        first, second = self.error("--plan", "first", "--torch", str(self.top)).splitlines()
        self.assertRegex(first, r"^error: no GPU can be used: no NVIDIA driver: libcuda\.so\.1")
        self.assertRegex(second, "^error: .* is not torch's folder: it has no lib/libtorch_cpu.so$")
        self.assertFalse((self.top / "results").exists())

    def test_only_the_archive_is_written_where_results_are_collected(self):
        self.write("target/debug/llama2-bench", "#!/bin/sh\necho '[]'\n", 0o755)
        plan = self.write("p.toml", GOOD.replace('kind = "run"', 'kind = "list"'))
        back = self.top / "back"
        back.mkdir()
        done = self.run_checks("--plan", str(plan), "--rehearse", OUT=str(back))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(os.listdir(back), ["p.tar.gz"])
        with tarfile.open(back / "p.tar.gz") as files:
            names = set(files.getnames())
        self.assertEqual(names, {f"p/{name}" for name in ("01-one.log", "02-two.log", "one.toml", "summary.json", "summary.md")})
        self.assertFalse((self.top / "results").exists())


if __name__ == "__main__":
    unittest.main()
