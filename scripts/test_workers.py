"""Tests of the workers in Python (scripts/workers). Run: python3 scripts/test_workers.py

The loop is tested with an engine that computes nothing and needs no package. The peers themselves are asked on fixtures/
where `make peers` has installed them.
"""

import array
import hashlib
import importlib.util
import json
import os
import struct
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
REPOSITORY = Path(__file__).resolve().parent.parent
WORKERS = REPOSITORY / "scripts" / "workers"
sys.path.insert(0, str(WORKERS))

from worker import memory, options, peers, pipe, profile, timing, until
from worker.engine import Engine
from worker.progress import Reporter

PROCEDURE = {"warmup_runs": 2, "prompt_runs": 3, "generations": 2}


class Log(Engine):
    """Keeps the order of calls; the token that it finds is always 2, at once and again behind it."""

    vocab_size, max_position_embeddings = 8, 64

    def __init__(self, has_clock=False):
        self.calls, self.steps, self.has_clock = [], 0, has_clock
        self.row = array.array("f", [0, 0, 1, 1, 0, 0, 0, 0])

    def hello(self):
        return {"engine": "log", "libraries": [], "devices": [{"device": "cpu", "unusable": None}], "options": {}}

    def load(self, request, reporter):
        options.take_options(request["options"], {"attention": ["sdpa", "eager"]})
        return {"weights_bytes": 1, "notes": []}

    def begin(self, prompt_ids, generation_length):
        self.rows = len(prompt_ids)
        self.calls.append("begin")

    def reset(self):
        self.calls.append("reset")
        self.steps = 0

    def prefill(self):
        self.calls.append("prefill")

    def select(self):
        self.calls.append("select")
        self.steps += 1

    def decode(self):
        self.calls.append("decode")

    def synchronize(self):
        self.calls.append("sync")

    def mark(self):
        self.calls.append("mark")

    def device_seconds(self):
        return float(len(self.calls)) if self.has_clock else None

    def tokens(self):
        return [[2] * self.steps for _ in range(self.rows)]

    def logits(self):
        return [self.row] * self.rows

    def end(self):
        self.calls.append("end")


class Scripted(Log):
    """Forwards take as many milliseconds as the script says, one after the other, then as many as the last."""

    def __init__(self, prefills, decodes):
        super().__init__()
        self.prefills, self.decodes, self.now = prefills, decodes, 0

    def pass_time(self, script, call):
        self.now += script[min(self.calls.count(call), len(script) - 1)] / 1000

    def prefill(self):
        self.pass_time(self.prefills, "prefill")
        super().prefill()

    def decode(self):
        self.pass_time(self.decodes, "decode")
        super().decode()

    def counts(self, procedure):
        with mock.patch.object(timing.time, "perf_counter", lambda: self.now):
            measured = timing.measure(self, [[1, 2]], 2, procedure, silent())
        return [len(measured["prompt_seconds"]), len(measured["generations"])]


class Sent:
    """In the place of Replies: keeps what is sent."""

    def __init__(self):
        self.replies = []

    def send(self, reply, **fields):
        self.replies.append({"reply": reply, **json.loads(json.dumps(fields, allow_nan=False))})


def silent():
    return Reporter(Sent(), "load")


class Marks:
    """In the place of Profilers: keeps the order among the engine's calls."""

    notes = []

    def __init__(self, calls):
        self.start, self.stop, self.pop = (lambda word=word: calls.append(word) for word in ("start", "stop", ">"))
        self.push = lambda name: calls.append(f"<{name}")


class AProfile(unittest.TestCase):
    def test_the_profiler_is_on_for_one_forward_of_each_kind_after_the_warm_ups(self):
        log = Log()
        answer = profile.profile(log, [[1, 2]] * 4, 256, 2, silent(), Marks(log.calls))
        self.assertEqual(answer, {"notes": []})
        marked = ["reset", "sync", "start"]
        for name in ("prefill", "select", "decode"):
            marked += [f"<{name} 4x2", name, "sync", ">"]
        # As in crates/worker/src/profile.rs.
        warm_ups = ["reset", "prefill", "sync"] * 3 + ["select", "decode", "sync"] * 2
        self.assertEqual(log.calls, ["begin", *warm_ups, *marked, "stop", "end"])

    def test_a_forward_that_fails_switches_the_profiler_off(self):
        log = Log()
        log.decode = mock.Mock(side_effect=RuntimeError("no"))
        with self.assertRaises(RuntimeError):
            profile.profile(log, [[1]], 4, 0, silent(), Marks(log.calls))
        self.assertEqual(log.calls[-3:], ["<decode 1x1", ">", "stop"])

    def test_what_is_missing_is_said(self):
        with mock.patch("ctypes.CDLL", side_effect=OSError("not there")):
            profilers = profile.Profilers()
        for call in (profilers.start, profilers.stop, profilers.pop):
            call()
        profilers.push("a")
        self.assertEqual(profilers.notes[0], "no CUDA driver, so no profiler is switched on: not there")
        with mock.patch("ctypes.CDLL") as driver:
            driver.return_value.cuProfilerStart.return_value = 201
            profilers = profile.Profilers()
            profilers.start()
        self.assertIn("cuProfilerStart failed with error 201: no profiler records this", profilers.notes)


class TheProcedure(unittest.TestCase):
    def test_forwards_are_counted_warmed_up_and_synchronised_on_both_sides(self):
        log = Log(has_clock=True)
        measured = timing.measure(log, [[1, 2]], 4, PROCEDURE, silent())
        prompt = ["reset", "sync", "mark", "prefill", "mark", "sync"]
        step = ["select", "sync", "mark", "decode", "mark", "sync"]

        def generation(steps):
            return ["reset", "sync", "sync", "mark", "prefill", "mark", "sync", *step * steps]

        expected = ["begin", *prompt * 5, *generation(2), *generation(4), *generation(4), "end"]
        self.assertEqual(log.calls, expected)
        self.assertEqual(len(measured["prompt_seconds"]), 3)
        self.assertEqual([len(generation["token_seconds"]) for generation in measured["generations"]], [4, 4])
        # The numbers of the same test in crates/worker/src/timing.rs.
        self.assertEqual(measured["device_seconds"]["prompt"], [19.0, 25.0, 31.0])
        self.assertEqual([len(tokens) for tokens in measured["device_seconds"]["tokens"]], [4, 4])
        for generation in measured["generations"]:
            parts = generation["prompt_seconds"] + sum(generation["token_seconds"])
            self.assertGreaterEqual(generation["wall_seconds"], parts)
            self.assertTrue(all(seconds > 0 for seconds in generation["token_seconds"]))
        tokens = struct.pack("<4I", 2, 2, 2, 2)
        self.assertEqual(measured["tokens_sha256"], hashlib.sha256(tokens).hexdigest())
        self.assertGreater(measured["memory"]["peak_bytes"], 1 << 20)

    def test_a_warm_up_is_no_longer_than_a_generation(self):
        log = Log()
        measured = timing.measure(log, [[1]], 1, PROCEDURE, silent())
        self.assertEqual(log.calls.count("decode"), 1 + 2)
        self.assertNotIn("device_seconds", measured)

    def test_what_is_known_well_enough_is_not_timed_again(self):
        # The counts of the same test in crates/worker/src/timing.rs.
        procedure = {"warmup_runs": 1, "prompt_runs": 20, "generations": 10, "until": 0.005, "min_runs": 5}
        counts = lambda prefills, decodes, **changed: Scripted(prefills, decodes).counts({**procedure, **changed})
        self.assertEqual(counts([900, 100], [900, 50]), [5, 5])
        self.assertEqual(counts([100, 100, 150, 100], [50]), [20, 5])
        self.assertEqual(counts([100], [50, 50, 50, 50, 80, 50]), [5, 10])
        self.assertEqual(counts([100], [50], prompt_runs=3, generations=1), [3, 1])
        self.assertEqual(counts([100, 101, 102, 101, 100, 101], [50, 51, 52], until=0.5), [5, 5])
        fixed = {"warmup_runs": 1, "prompt_runs": 20, "generations": 10}
        self.assertEqual(Scripted([100], [50]).counts(fixed), [20, 10])

    def test_it_stops_where_the_workers_in_rust_do(self):
        cases = json.loads((REPOSITORY / "crates" / "worker" / "tests" / "until.json").read_text())
        self.assertGreaterEqual(len(cases), 8)
        for case in cases:
            share, least, most = case["share"], case["least"], case["most"]
            stops = next(
                count
                for count in range(1, most + 1)
                if until.is_reached([series[:count] for series in case["series"]], share, least, most)
            )
            self.assertEqual(stops, case["stops_after"], case["name"])
            for series, expected in zip(case["series"], case["relative_half_widths"]):
                mean, half_width = until.mean_interval(series[:stops])
                self.assertAlmostEqual(half_width / mean, expected, delta=1e-9 * expected)

    def test_the_quantiles_are_student_s(self):
        # R: qt(0.975, c(1, 2, 5, 8, 30, 99))
        known = {1: 12.706205, 2: 4.302653, 5: 2.570582, 8: 2.306004, 30: 2.042272, 99: 1.984217}
        for degrees, expected in known.items():
            self.assertAlmostEqual(until.student_quantile(degrees), expected, places=6)

    def test_the_hash_of_tokens_is_pinned(self):
        # printf '\x01\0\0\0\x02\0\0\0' | sha256sum, as in crates/worker/src/timing.rs
        expected = "34fb5c825de7ca4aea6e712f19d439c1da0c92c37b423936c5f618545ca4fa1f"
        self.assertEqual(timing.tokens_sha256([[1], [2]]), expected)

    def test_generation_hashes_and_keeps_the_logits_that_chose(self):
        log = Log()
        generated = timing.generate(log, [[1, 2], [3, 4]], 3, True, silent())
        self.assertEqual(log.calls.count("prefill"), 1)
        self.assertEqual(log.calls.count("decode"), 2)
        self.assertEqual(generated["tokens"], [[2, 2, 2]] * 2)
        row = [0, 0, 1, 1, 0, 0, 0, 0]
        self.assertEqual(generated["logits"], [[row] * 2] * 3)
        self.assertEqual(generated["logits_sha256"], hashlib.sha256(struct.pack("<8f", *row) * 6).hexdigest())
        self.assertIsNone(timing.generate(log, [[1]], 1, False, silent())["logits"])

    def test_figures_of_an_engine_that_computes_nan_are_refused(self):
        with self.assertRaisesRegex(ArithmeticError, "^2 of 3 logits are not finite numbers$"):
            timing.check_finite([array.array("f", [0, float("nan"), float("inf")])])

    def test_what_end_says_does_not_take_a_measured_cell_away(self):
        log = Log()
        log.end = mock.Mock(side_effect=RuntimeError("could not free"))
        with mock.patch.object(sys, "stderr"):
            self.assertEqual(len(timing.measure(log, [[1]], 1, PROCEDURE, silent())["prompt_seconds"]), 3)

    def test_progress_is_told_at_a_phase_and_then_four_times_a_second(self):
        sent = Sent()
        with mock.patch("worker.progress.time.monotonic", side_effect=[0.0, 0.0, 0.1, 0.3, 0.3, 0.4]):
            reporter = Reporter(sent, "prompt")
            reporter.begin("decode", 3)
            for seconds in (0.1, 0.2, 0.3):
                reporter.step(seconds)
        told = [(reply["phase"], reply["done"], reply["of"], reply["last_seconds"]) for reply in sent.replies]
        self.assertEqual(told, [("prompt", 0, 0, None), ("decode", 0, 3, None), ("decode", 2, 3, 0.2)])


class Options(unittest.TestCase):
    def test_they_are_taken_defaulted_or_refused(self):
        words = {"attention": ["sdpa", "eager"], "graph": [False, True]}
        self.assertEqual(options.take_options({"graph": True}, words), {"attention": "sdpa", "graph": True})
        for given, message in (
            ({"threads": 4}, "unknown option threads: this engine has attention, graph"),
            ({"attention": "flash"}, 'option attention: expected "sdpa" or "eager", found "flash"'),
            ({"graph": 1}, "option graph: expected false or true, found 1"),
        ):
            with self.assertRaises(ValueError) as refused:
                options.take_options(given, words)
            self.assertEqual(str(refused.exception), message)

    def test_threads_are_one_a_core_unless_they_are_said(self):
        self.assertEqual(options.thread_count(3), 3)
        self.assertEqual(options.thread_count(None), len(os.sched_getaffinity(0)))


class ThePipe(unittest.TestCase):
    LOAD = {"request": "load", "model": {"checkpoint": {"dir": "x"}}, "device": "cpu", "precision": "fp32"}
    LOAD |= {"threads": None, "memory_limit_bytes": None, "options": {}}
    SHUTDOWN = {"request": "shutdown"}

    def answers(self, *requests, engine=None):
        """The replies to `requests` but for progress, hello first."""
        sent = Sent()
        with mock.patch.object(sys, "stderr"):
            pipe.serve(engine or Log(), sent, [json.dumps(request) for request in requests])
        return [reply for reply in sent.replies if reply["reply"] != "progress"]

    def failure(self, request, engine=None):
        return self.answers(request, engine=engine)[1]

    def test_each_request_has_one_answer_until_shutdown(self):
        measure = {"request": "measure", "prompt_ids": [[1, 2]], "generation_length": 1, "procedure": PROCEDURE}
        generate = {"request": "generate", "prompt_ids": [[1]], "max_new_tokens": 1, "logits": False}
        answers = self.answers(self.LOAD, measure, generate, self.SHUTDOWN, generate)
        self.assertEqual([answer["reply"] for answer in answers], ["hello", "loaded", "measured", "generated"])
        self.assertEqual(answers[0]["protocol"], 1)

    def test_an_error_is_told_in_the_library_s_words_and_the_next_request_is_answered(self):
        log = Log()
        log.decode = mock.Mock(side_effect=[RuntimeError("std::bad_alloc"), None])
        measure = {"request": "measure", "prompt_ids": [[1]], "generation_length": 1, "procedure": PROCEDURE}
        generate = {"request": "generate", "prompt_ids": [[1]], "max_new_tokens": 2, "logits": False}
        _, failed, generated = self.answers(measure, generate, engine=log)
        self.assertEqual(failed, {"reply": "failed", "phase": "decode", "message": "std::bad_alloc"})
        self.assertEqual(generated["reply"], "generated")

    def test_memory_that_ran_out_in_python_is_named(self):
        log = Log()
        log.prefill = mock.Mock(side_effect=MemoryError)
        generate = {"request": "generate", "prompt_ids": [[1]], "max_new_tokens": 1, "logits": False}
        self.assertEqual(self.failure(generate, log)["message"], "MemoryError")
        self.assertEqual(memory.words_of(KeyError("lm_head")), "KeyError: 'lm_head'")

    def test_what_can_t_be_asked_is_refused(self):
        ask = {"request": "generate", "max_new_tokens": 2, "logits": False}
        for prompt, message in (
            ([], "prompt_ids: expected one row a sequence, with at least one token"),
            ([[1], [1, 2]], "prompt_ids: expected rows of one length"),
            ([[8]], "prompt_ids: expected ids below vocab_size (8), found 8"),
            (
                [[1] * 64],
                "prompt of 64 tokens and 1 decode forwards need 65 positions: the model has 64 (max_position_embeddings)",
            ),
        ):
            self.assertEqual(self.failure({**ask, "prompt_ids": prompt})["message"], message)
        no_tokens = self.failure({**ask, "prompt_ids": [[1]], "max_new_tokens": 0})
        self.assertEqual(no_tokens["message"], "max_new_tokens: expected 1 or more, found 0")
        ceilings = self.failure({"request": "ceilings", "device": "cpu", "precisions": ["fp32"]})
        self.assertEqual((ceilings["reply"], ceilings["phase"]), ("failed", "load"))
        unknown = self.failure({**self.LOAD, "options": {"graph": True}})
        self.assertEqual(unknown["message"], "unknown option graph: this engine has attention")

    def test_what_an_engine_can_t_do_is_not_said_in_hello_and_refused_in_load(self):
        limited = {**self.LOAD, "device_memory_limit_bytes": 1 << 30}
        hello, failed, other = self.answers(limited, {**self.LOAD, "one_rank_of": 4})
        self.assertNotIn("device_memory_limit", hello)
        expected = "device_memory_limit: this engine can't bound the device memory that it uses"
        self.assertEqual(failed["message"], expected)
        self.assertEqual(other["message"], "one_rank: this engine can't measure one rank of several")
        log = Log()
        log.bounds_device_memory = True
        hello, loaded = self.answers(limited, engine=log)
        self.assertEqual((hello["device_memory_limit"], loaded["reply"]), (True, "loaded"))

    def run_worker(self, body, requests=""):
        """A worker's program in a process of its own."""
        program = f"import sys\nsys.path[:0] = [{str(WORKERS)!r}, {str(REPOSITORY / 'scripts')!r}]\n"
        program += textwrap.dedent(body)
        command = [sys.executable, "-B", "-c", program]
        return subprocess.run(command, input=requests, capture_output=True, text=True, timeout=60)

    def test_what_a_library_prints_stays_out_of_the_pipe(self):
        body = """
            from worker.pipe import Replies, serve
            replies = Replies()
            import os
            print("from Python")
            os.write(1, b"from C\\n")
            os.system("echo from a child")
            from test_workers import Log
            serve(Log(), replies)
        """
        done = self.run_worker(body, json.dumps(self.SHUTDOWN) + "\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([json.loads(line)["reply"] for line in done.stdout.splitlines()], ["hello"])
        for words in ("from Python", "from C", "from a child"):
            self.assertIn(words, done.stderr)

    def test_the_end_of_stdin_is_the_end(self):
        body = "from worker.pipe import *\nfrom test_workers import Log\nserve(Log(), Replies())"
        self.assertEqual(self.run_worker(body).returncode, 0)

    def test_a_library_that_can_t_be_imported_is_told_in_the_place_of_hello(self):
        body = """
            from worker.pipe import Replies
            sys.excepthook = Replies().fail_before_hello
            import no_such_library
        """
        done = self.run_worker(body)
        failed = {"reply": "failed", "phase": "load", "message": "No module named 'no_such_library'"}
        self.assertEqual(json.loads(done.stdout), failed)
        self.assertNotEqual(done.returncode, 0)

    def test_a_peer_that_is_not_installed_says_how_it_would_be(self):
        with tempfile.TemporaryDirectory() as folder:
            for worker in WORKERS.glob("*-worker.py"):
                done = subprocess.run(
                    [worker, "hf-eager"],
                    env={**os.environ, "LLAMA2_BENCH_RUNTIME": folder},
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                message = json.loads(done.stdout)["message"]
                self.assertRegex(message, rf"^{folder}/\w+ is not there: .*`make peers`")


class Made(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(mock.patch.dict(os.environ, LLAMA2_BENCH_RUNTIME=folder))

    def test_a_folder_is_made_once_for_a_key_and_whole_or_not_at_all(self):
        made = []

        def make(folder):
            (folder / "file").write_text("x")
            made.append(folder)
            if len(made) == 1:
                raise OSError("No space left on device")

        with self.assertRaises(OSError):
            peers.made_once("kind", {"seed": 0}, make)
        first = peers.made_once("kind", {"seed": 0}, make)
        self.assertEqual(peers.made_once("kind", {"seed": 0}, make), first)
        self.assertNotEqual(peers.made_once("kind", {"seed": 1}, make), first)
        self.assertEqual(len(made), 3)
        self.assertEqual([path.name for path in first.iterdir()], ["file"])

    def test_seeded_weights_come_from_synth(self):
        synth = Path(os.environ["LLAMA2_BENCH_RUNTIME"]) / "llama2-bench"
        synth.write_text('#!/bin/sh\n[ "$9" = bf16 ] && { echo "error: no room" >&2; exit 2; }\necho "$@" >"$5/said"\n')
        synth.chmod(0o755)
        seeded = {"model": {"seeded": {"config": {"hidden_size": 64}, "seed": 7}}}
        with mock.patch.dict(os.environ, LLAMA2_BENCH=str(synth)):
            folder = peers.checkpoint({**seeded, "precision": "fp32"})
            self.assertRegex((folder / "said").read_text(), r"^synth --model \S+ --out \S+ --seed 7 --precision fp32$")
            with self.assertRaisesRegex(RuntimeError, "^error: no room$"):
                peers.checkpoint({**seeded, "precision": "bf16"})
        checkpoint = {"model": {"checkpoint": {"dir": "/models/x"}}, "precision": "fp32"}
        self.assertEqual(peers.checkpoint(checkpoint), Path("/models/x"))


class WithoutTheirPackages(unittest.TestCase):
    """What workers ask of packages that are not installed here."""

    def setUp(self):
        self.torch, self.vllm = mock.MagicMock(), mock.MagicMock()
        self.enterContext(mock.patch.dict(sys.modules, {"torch": self.torch, "vllm": self.vllm}))
        self.enterContext(mock.patch.dict(os.environ))
        sys.modules.pop("worker.torch_device", None)
        self.addCleanup(lambda: delattr(sys.modules["worker"], "torch_device"))

    def worker(self, name):
        with mock.patch.object(peers, "start"):
            spec = importlib.util.spec_from_file_location(name.replace("-", "_"), WORKERS / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return module

    def test_vllm_has_room_for_the_token_that_the_last_step_chooses(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "config.json").write_text('{"max_position_embeddings": 4096}')
        vllm = self.worker("vllm-worker").Vllm()
        request = {"model": {"checkpoint": {"dir": str(folder)}}, "device": "cuda:0", "precision": "fp16"}
        vllm.load({**request, "threads": 1, "options": {}}, silent())
        # 3840 tokens of a prompt, one of the prefill, 256 of decode steps: vLLM counts all, and ends at the last.
        self.assertEqual(self.vllm.LLM.call_args.kwargs["max_model_len"], 3840 + 1 + 256)
        self.assertEqual(os.environ["VLLM_ALLOW_LONG_MAX_MODEL_LEN"], "1")

    def test_device_memory_is_bounded_by_the_fraction_that_the_limit_is(self):
        from worker import torch_device

        fraction = self.torch.cuda.set_per_process_memory_fraction
        self.torch.cuda.mem_get_info.return_value = (1 << 30, 141 << 30)
        (note,) = torch_device.bound_memory("cuda:1", 80 << 30)
        fraction.assert_called_with(80 / 141, "cuda:1")
        self.assertIn(f"limited to {80 << 30} of {141 << 30} bytes", note)
        (note,) = torch_device.bound_memory("cuda:1", 200 << 30)
        fraction.assert_called_with(1.0, "cuda:1")
        self.assertIn("bounds nothing", note)
        self.assertEqual(torch_device.bound_memory("cuda:1", None), [])
        fraction.assert_called_with(1.0, "cuda:1")
        fraction.reset_mock()
        with self.assertRaisesRegex(ValueError, "^device_memory_limit: cpu has no memory of its own"):
            torch_device.bound_memory("cpu", 1)
        self.assertEqual(torch_device.bound_memory("cpu", None), [])
        fraction.assert_not_called()

    def test_transformers_may_take_the_attention_that_pytorch_eager_may(self):
        with mock.patch.dict(sys.modules, {"transformers": mock.MagicMock()}):
            worker = self.worker("hf-worker").HuggingFace("hf-eager")
        worker.device = "cuda:0"
        cuda = self.torch.backends.cuda

        def allowed(attention):
            worker._allow_kernels(attention, "fp16")
            kernels = ("cudnn", "flash", "mem_efficient", "math")
            return [kernel for kernel in kernels if getattr(cuda, f"enable_{kernel}_sdp").call_args.args[0]]

        self.assertEqual(allowed("sdpa"), ["flash", "mem_efficient", "math"])
        self.assertEqual(allowed("cudnn"), ["cudnn", "flash", "mem_efficient", "math"])
        self.assertEqual(allowed("flash"), ["flash"])
        with self.assertRaisesRegex(ValueError, '"flash" computes in fp16 and bf16 alone'):
            worker._allow_kernels("flash", "fp32")
        worker.device = "cpu"
        with self.assertRaisesRegex(ValueError, '"cudnn" computes on a GPU alone, not on cpu'):
            worker._allow_kernels("cudnn", "fp16")
        self.assertIn("flash", worker.words["attention"])
        with mock.patch.dict(sys.modules, {"transformers": mock.MagicMock()}):
            compiled = self.worker("hf-worker").HuggingFace("hf-compile")
        self.assertNotIn("flash", compiled.words["attention"])


@unittest.skipUnless((peers.runtime() / "peers" / "bin" / "python").exists(), "the peers are not installed: `make peers` does it")
class ThePeers(unittest.TestCase):
    """Each answers as transformers did when fixtures/ were made."""

    def check(self, *command):
        for name in ("tiny-mha", "tiny-gqa", "tiny-f16"):
            folder = REPOSITORY / "fixtures" / name
            cases = json.loads((folder / "expected.json").read_text())["cases"]
            model = {"checkpoint": {"dir": str(folder)}}
            requests = [{**ThePipe.LOAD, "model": model, "threads": 2}]
            for case in cases:
                new_tokens = len(case["tokens"][0])
                ask = {"prompt_ids": case["prompt_ids"], "max_new_tokens": new_tokens, "logits": True}
                requests.append({"request": "generate", **ask})
            measure = {"prompt_ids": cases[-1]["prompt_ids"], "generation_length": 4, "procedure": PROCEDURE}
            requests += [{"request": "measure", **measure}, ThePipe.SHUTDOWN]
            done = subprocess.run(
                [WORKERS / command[0], *command[1:]],
                input="".join(json.dumps(request) + "\n" for request in requests),
                capture_output=True,
                text=True,
                timeout=600,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            replies = [json.loads(line) for line in done.stdout.splitlines()]
            replies = [reply for reply in replies if reply["reply"] != "progress"]
            kinds = [reply["reply"] for reply in replies]
            self.assertEqual(kinds, ["hello", "loaded", *["generated"] * len(cases), "measured"], replies)
            for case, generated in zip(cases, replies[2:-1]):
                self.assertEqual(generated["tokens"], case["tokens"])
                for found, expected in zip(generated["logits"][0], case["prompt_logits"]):
                    self.assertLess(max(abs(a - b) for a, b in zip(found, expected)), 1e-4)
            tokens = [row[:4] for row in cases[-1]["tokens"]]
            self.assertEqual(replies[-1]["tokens_sha256"], timing.tokens_sha256(tokens))

    def test_hf_eager(self):
        self.check("hf-worker.py", "hf-eager")

    def test_onnxruntime_genai(self):
        self.check("onnxruntime-genai-worker.py")

    def test_llama_cpp(self):
        self.check("llama-cpp-worker.py")


if __name__ == "__main__":
    unittest.main()
