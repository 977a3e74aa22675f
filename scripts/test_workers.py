"""Tests of the workers in Python (scripts/workers), and of crates/worker-python that they run on.

`make test` builds it first. Run: cargo build --workspace --lib --bins && python3 scripts/test_workers.py

The extension is asked with an engine that computes nothing and needs no package. The peers themselves are asked on fixtures/
where `make peers` has installed them.
"""

import array
import hashlib
import importlib.util
import json
import os
import shutil
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
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target") / "debug" / "llama2-bench"
sys.path.insert(0, str(WORKERS))

from worker import peers

PROCEDURE = {"warmup_runs": 2, "prompt_runs": 3, "generations": 2}
LOAD = {"request": "load", "model": {"checkpoint": {"dir": "x"}}, "device": "cpu", "precision": "fp32"}
LOAD |= {"threads": None, "memory_limit_bytes": None, "options": {}}
MEASURE = {"request": "measure", "prompt_ids": [[1, 2]], "generation_length": 4, "procedure": PROCEDURE}
GENERATE = {"request": "generate", "prompt_ids": [[1, 2], [3, 4]], "max_new_tokens": 3, "logits": True}
SHUTDOWN = {"request": "shutdown"}
ROW = [0, 0, 1, 1, 0, 0, 0, 0]


class Log:
    """Keeps the order of calls, and prints it at the end of a cell; the token that it finds is always 2."""

    options = {"attention": ["sdpa", "eager"], "share": []}

    def __init__(self):
        self.calls, self.steps = [], 0

    def hello(self):
        return {"engine": "log", "libraries": [], "devices": [{"device": "cpu", "unusable": None}]}

    def load(self, request):
        self.vocab_size, self.max_position_embeddings = 8, 64
        return {"weights_bytes": 1, "notes": [json.dumps(request)]}

    def begin(self, prompt_ids, generation_length):
        self.rows = len(prompt_ids)
        self.calls = [["begin", prompt_ids, generation_length, self.keeps_logits]]

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

    def tokens(self):
        return [[2] * self.steps for _ in range(self.rows)]

    def logits(self):
        return [array.array("f", ROW)] * self.rows

    def end(self):
        print(json.dumps(self.calls))


class WithClock(Log):
    """As an engine on a GPU."""

    bounds_device_memory = True

    def synchronize(self):
        self.calls.append("sync")

    def mark(self):
        self.calls.append("mark")

    def device_seconds(self):
        return float(len(self.calls))

    def kv_cache_bytes(self):
        return 7

    def device_peak_bytes(self):
        return 9


@unittest.skipIf(sys.version_info < (3, 11), "the extension needs Python 3.11")
class TheExtension(unittest.TestCase):
    def run_worker(self, body, *requests):
        """A worker's program in a process of its own, from `take_stdout` on."""
        library = PROGRAM.with_name("libllama2_bench_worker.so")
        program = f"""
            import sys
            sys.path[:0] = [{str(WORKERS)!r}, {str(REPOSITORY / "scripts")!r}]
            from worker import peers
            from test_workers import *
            loop = peers.extension({str(library)!r})
            loop.take_stdout()
        """
        command = [sys.executable, "-B", "-c", textwrap.dedent(program) + textwrap.dedent(body)]
        requests = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run(command, input=requests, capture_output=True, text=True, timeout=60)
        self.replies = [json.loads(line) for line in done.stdout.splitlines()]
        return done

    def answers(self, body, *requests):
        """The replies to `requests` but for progress, hello first."""
        done = self.run_worker(body, *requests)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.calls = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("[")]
        return [reply for reply in self.replies if reply["reply"] != "progress"]

    def failures(self, body, *requests):
        return [answer["message"] for answer in self.answers(body, *requests) if answer["reply"] == "failed"]

    def test_each_request_has_one_answer_until_shutdown(self):
        answers = self.answers("loop.serve(Log())", LOAD, MEASURE, GENERATE, SHUTDOWN, GENERATE)
        self.assertEqual([answer["reply"] for answer in answers], ["hello", "loaded", "measured", "generated"])
        hello = answers[0]
        self.assertEqual((hello["protocol"], hello["engine"], hello["options"]), (1, "log", Log.options))
        [library] = hello["libraries"]
        digest = hashlib.sha256(PROGRAM.with_name("libllama2_bench_worker.so").read_bytes()).hexdigest()
        self.assertIn(digest[:12], library["version"])

    def test_forwards_are_counted_and_synchronised_on_both_sides(self):
        cuda = {**LOAD, "device": "cuda:0"}
        *_, measured = self.answers("loop.serve(WithClock())", cuda, MEASURE)
        prompt = ["reset", "sync", "mark", "prefill", "mark", "sync"]
        step = ["select", "sync", "mark", "decode", "mark", "sync"]

        def generation(steps):
            return ["reset", "sync", "sync", "mark", "prefill", "mark", "sync", *step * steps]

        begin = ["begin", [[1, 2]], 4, False]
        self.assertEqual(self.calls, [[begin, *prompt * 5, *generation(2), *generation(4), *generation(4)]])
        self.assertEqual(measured["device_seconds"]["prompt"], [19.0, 25.0, 31.0])
        self.assertEqual(measured["memory"], {"weights_bytes": None, "kv_cache_bytes": 7, "peak_bytes": 9})
        self.assertEqual(measured["tokens_sha256"], tokens_sha256([[2] * 4]))

        # What an engine doesn't have is not called.
        *_, measured = self.answers("loop.serve(Log())", LOAD, MEASURE)
        self.assertNotIn("device_seconds", measured)
        self.assertIsNone(measured["memory"]["kv_cache_bytes"])
        self.assertGreater(measured["memory"]["peak_bytes"], 1 << 20)
        self.assertEqual([len(generation["token_seconds"]) for generation in measured["generations"]], [4, 4])

    def test_generation_keeps_the_logits_that_chose(self):
        *_, generated = self.answers("loop.serve(Log())", LOAD, GENERATE)
        steps = ["prefill", "select", "decode", "select", "decode", "select"]
        self.assertEqual(self.calls, [[["begin", [[1, 2], [3, 4]], 2, True], "reset", *steps]])
        self.assertEqual(generated["tokens"], [[2, 2, 2]] * 2)
        self.assertEqual(generated["logits"], [[ROW] * 2] * 3)
        self.assertEqual(generated["logits_sha256"], hashlib.sha256(struct.pack("<8f", *ROW) * 6).hexdigest())

    def test_logits_that_are_none_or_not_numbers(self):
        body = """
            class Odd(Log):
                rows_of = iter([[], [[0, float("nan"), float("inf"), *[0] * 5]], [[1] * 7]])
                def logits(self):
                    return [array.array("f", row) for row in next(self.rows_of)]
            loop.serve(Odd())
        """
        self.assertEqual(
            self.failures(body, LOAD, MEASURE, MEASURE, MEASURE),
            [
                "2 of 8 logits are not finite numbers",
                "logits: expected 1 rows of 8 (vocab_size), found 7 numbers",
            ],
        )

    def test_load_is_given_what_it_may_rely_on(self):
        given = {"share": 0.5, "attention": "eager"}
        answers = self.answers("loop.serve(Log())", LOAD, {**LOAD, "threads": 3, "options": given})
        default, chosen = (json.loads(answer["notes"][0]) for answer in answers[1:])
        self.assertEqual((default["options"], default["threads"]), ({"attention": "sdpa"}, len(os.sched_getaffinity(0))))
        self.assertEqual((chosen["options"], chosen["threads"]), (given, 3))
        self.assertEqual(default["model"], LOAD["model"])

    def test_what_can_t_be_done_is_refused(self):
        limited = {**LOAD, "device_memory_limit_bytes": 1 << 30}
        requests = [
            {**LOAD, "options": {"graph": True}},
            {**LOAD, "options": {"attention": "flash"}},
            limited,
            {**LOAD, "one_rank_of": 4},
            LOAD,
            {**GENERATE, "prompt_ids": [[1], [1, 2]]},
            {**GENERATE, "prompt_ids": [[8]]},
            {"request": "peaks", "device": "cpu", "precisions": ["fp32"], "threads": None},
        ]
        self.assertEqual(
            self.failures("loop.serve(Log())", *requests),
            [
                "unknown option graph: this engine has attention, share",
                'option attention: expected "sdpa" or "eager", found "flash"',
                "device_memory_limit: this engine can't limit the device memory that it uses",
                "one_rank: this engine can't measure one rank of several",
                "prompt_ids: expected rows of one length",
                "prompt_ids: expected ids below vocab_size (8), found 8",
                "cpu: this engine measures no peaks",
            ],
        )
        hello, loaded = self.answers("loop.serve(WithClock())", limited)
        self.assertEqual((hello["device_memory_limit"], loaded["reply"]), (True, "loaded"))

    def test_what_products_round_activations_to_is_in_the_answer(self):
        body = """
            class Rounding(Log):
                inputs = iter(["int8", None, "int3"])
                def load(self, request):
                    self.product_inputs = next(self.inputs)
                    return super().load(request)
            loop.serve(Rounding())
        """
        _, _, rounded, _, plain, failed = self.answers(body, LOAD, GENERATE, LOAD, GENERATE, LOAD)
        self.assertEqual((rounded["product_inputs"], plain.get("product_inputs")), ("int8", None))
        self.assertRegex(failed["message"], "^product_inputs: unknown variant `int3`")

    def test_an_exception_is_told_in_the_library_s_words_and_the_next_request_is_answered(self):
        body = """
            class Failing(Log):
                errors = iter([RuntimeError("std::bad_alloc"), MemoryError(), KeyError("lm_head")])
                def decode(self):
                    for error in self.errors:
                        raise error
            loop.serve(Failing())
        """
        answers = self.answers(body, LOAD, GENERATE, GENERATE, GENERATE, GENERATE)
        self.assertEqual(answers[2], {"reply": "failed", "phase": "decode", "message": "std::bad_alloc"})
        self.assertEqual([answer["message"] for answer in answers[3:5]], ["MemoryError", "KeyError: 'lm_head'"])
        self.assertEqual(answers[5]["reply"], "generated")

    def test_what_end_says_does_not_take_a_measured_cell_away(self):
        body = """
            class Failing(Log):
                def end(self):
                    raise RuntimeError("could not free")
            loop.serve(Failing())
        """
        *_, measured = self.answers(body, LOAD, MEASURE)
        self.assertEqual(len(measured["prompt_seconds"]), 3)

    def test_what_a_library_prints_stays_out_of_the_pipe(self):
        body = """
            print("from Python")
            os.write(1, b"from C\\n")
            os.system("echo from a child")
            loop.serve(Log())
        """
        done = self.run_worker(body, SHUTDOWN)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([reply["reply"] for reply in self.replies], ["hello"])
        for words in ("from Python", "from C", "from a child"):
            self.assertIn(words, done.stderr)

    def test_a_worker_that_can_t_start_says_so_in_the_place_of_hello(self):
        for body, message in (
            ("import no_such_library", "No module named 'no_such_library'"),
            ("loop.serve(object())", "AttributeError: 'object' object has no attribute 'hello'"),
            ("Log.hello = lambda log: {'engine': 'log'}\nloop.serve(Log())", "hello: missing field `libraries`"),
        ):
            done = self.run_worker(body)
            self.assertEqual(self.replies, [{"reply": "failed", "phase": "load", "message": message}], done.stderr)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("Traceback", done.stderr)


def tokens_sha256(rows):
    return hashlib.sha256(b"".join(struct.pack(f"<{len(row)}I", *row) for row in rows)).hexdigest()


class APeer(unittest.TestCase):
    def test_that_is_not_installed_says_how_it_would_be(self):
        with tempfile.TemporaryDirectory() as folder:
            for worker in WORKERS.glob("*-worker.py"):
                message = self.message(worker, LLAMA2_BENCH_RUNTIME=folder)
                self.assertRegex(message, rf"^{folder}/\w+ is not there: .*`make peers`")

    def test_that_pip_did_not_install_says_so(self):
        top = Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copytree(WORKERS, top / "share/llama2-bench/scripts/workers")
        (top / "lib/python3.11/site-packages/llama2_bench-0.1.0.dist-info").mkdir(parents=True)
        worker = top / "share/llama2-bench/scripts/workers/hf-worker.py"
        remedy = "run `pip install 'llama2-bench[peers]'`"
        self.assertEqual(self.message(worker), f"{top}/bin/python is not there: {remedy} in a virtual environment")
        python = top / "bin/python"
        python.parent.mkdir()
        # Without the packages of the Python that runs this test.
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        python.chmod(0o755)
        self.assertEqual(self.message(worker, LLAMA2_BENCH=str(PROGRAM)), f"no torch, transformers in {top}: {remedy}")

    def test_without_the_extension_says_how_it_is_built(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "peers" / "bin").mkdir(parents=True)
            (Path(folder) / "peers" / "bin" / "python").touch()
            variables = {"LLAMA2_BENCH_RUNTIME": folder, "LLAMA2_BENCH": f"{folder}/llama2-bench"}
            message = self.message(WORKERS / "hf-worker.py", **variables)
            self.assertEqual(message, f"{folder}/libllama2_bench_worker.so is not there: run `make build`")

    def message(self, worker, **variables):
        command = [worker, "hf-eager"]
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        return json.loads(done.stdout)["message"]


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

    def test_what_an_installed_wheel_makes_is_in_the_user_s_cache(self):
        self.assertEqual(peers.kept(), peers.runtime() / "peers")
        self.enterContext(mock.patch.object(peers, "INSTALLED_BY_PIP", True))
        for folders, expected in (
            ({"LLAMA2_BENCH_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a/peers"),
            ({"LLAMA2_BENCH_CACHE": "a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/llama2-bench/peers"),
            ({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/llama2-bench/peers"),
        ):
            with mock.patch.dict(os.environ, folders, clear=True):
                self.assertEqual(peers.kept(), Path(expected))
        with mock.patch.dict(os.environ, clear=True), self.assertRaisesRegex(RuntimeError, "set LLAMA2_BENCH_CACHE"):
            peers.kept()

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
        vllm.load({**request, "threads": 1, "options": {"enforce_eager": False}})
        # 3840 tokens of a prompt, one of the prefill, 256 of decode steps: vLLM counts all, and ends at the last.
        self.assertEqual(self.vllm.LLM.call_args.kwargs["max_model_len"], 3840 + 1 + 256)
        self.assertEqual(os.environ["VLLM_ALLOW_LONG_MAX_MODEL_LEN"], "1")

    def test_quantized_weights_are_refused_with_the_reason(self):
        self.enterContext(mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in ("numpy", "transformers")}))
        for engine, reason in (
            (self.worker("hf-worker").HuggingFace("hf-eager"), "transformers would compute with dequantized weights"),
            (self.worker("vllm-worker").Vllm(), "quantized weights are not yet tried with vLLM"),
        ):
            for precision in peers.QUANTIZATIONS:
                with self.assertRaisesRegex(ValueError, f"^precision {precision}: {reason}"):
                    engine.load({"precision": precision, "device": "cpu"})

    def test_device_memory_is_bounded_by_the_fraction_that_the_limit_is(self):
        from worker import torch_device

        fraction = self.torch.cuda.set_per_process_memory_fraction
        self.torch.cuda.mem_get_info.return_value = (1 << 30, 141 << 30)
        (note,) = torch_device.bound_memory("cuda:1", 80 << 30)
        fraction.assert_called_with(80 / 141, "cuda:1")
        self.assertIn(f"limited to {80 << 30} of {141 << 30} bytes", note)
        (note,) = torch_device.bound_memory("cuda:1", 200 << 30)
        fraction.assert_called_with(1.0, "cuda:1")
        self.assertIn("has no effect", note)
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
        with self.assertRaisesRegex(ValueError, '"flash" runs only in fp16 and bf16'):
            worker._allow_kernels("flash", "fp32")
        worker.device = "cpu"
        with self.assertRaisesRegex(ValueError, '"cudnn" runs only on a GPU, not on cpu'):
            worker._allow_kernels("cudnn", "fp16")
        self.assertIn("flash", worker.options["attention"])
        with mock.patch.dict(sys.modules, {"transformers": mock.MagicMock()}):
            compiled = self.worker("hf-worker").HuggingFace("hf-compile")
        self.assertNotIn("flash", compiled.options["attention"])


class QuantizedCheckpoints(unittest.TestCase):
    def test_a_checkpoint_is_quantized_once_unless_it_is_stored_so(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.dict(os.environ, {"LLAMA2_BENCH": str(PROGRAM)}))
        self.enterContext(mock.patch.object(peers, "kept", return_value=folder))
        given = REPOSITORY / "fixtures" / "tiny-gqa"
        request = {"model": {"checkpoint": {"dir": str(given)}}, "precision": "int4"}
        self.assertEqual(peers.checkpoint({**request, "precision": "fp32"}), given)
        quantized = peers.checkpoint(request)
        config = json.loads((quantized / "config.json").read_text())
        self.assertEqual((quantized, config["quantization_config"]["ignore"]), (peers.checkpoint(request), ["lm_head"]))
        self.assertEqual(peers.checkpoint({"model": {"checkpoint": {"dir": str(quantized)}}, "precision": "int4"}), quantized)
        tiny = {"model": {"checkpoint": {"dir": str(REPOSITORY / "fixtures" / "tiny-mha")}}, "precision": "int4"}
        with self.assertRaisesRegex(RuntimeError, "int4 has a scale for every 32 inputs"):
            peers.checkpoint(tiny)


# Run in the peers' Python: what gguf reads in a GGUF file of stored codes is what compressed-tensors' layout stands for.
CHECK_GGUF = """
    from pathlib import Path
    import gguf, numpy
    from safetensors.numpy import load_file
    from worker import gguf_file, peers

    top = Path(sys.argv[1])
    for precision, (bits, _) in peers.QUANTIZATIONS.items():
        file = top / f"{precision}.gguf"
        gguf_file.write_gguf(top / precision, gguf.GGMLQuantizationType.F16, file, bits)
        read = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
        stored = load_file(top / precision / "model.safetensors")
        for name in [name.removesuffix("_packed") for name in stored if name.endswith("_packed")]:
            shape = stored[f"{name}_shape"]
            shifts = numpy.arange(0, 32, bits, dtype=numpy.uint32)
            codes = stored[f"{name}_packed"].view(numpy.uint32)[..., None] >> shifts & 2**bits - 1
            scales = stored[f"{name}_scale"].astype(numpy.float32)
            numbers = (codes.reshape(*scales.shape, -1).astype(numpy.float32) - 2 ** (bits - 1)) * scales[..., None]
            tensor = read[gguf_file._gguf_name(name)]
            found = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            heads = {"q_proj": 8, "k_proj": 2}.get(name.split(".")[-2])
            if heads:
                found = found.reshape(heads, -1, 2, shape[1]).swapaxes(1, 2)
            assert numpy.array_equal(found.reshape(shape), numbers.reshape(shape)), (precision, name)
        types = {tensor.tensor_type.name for tensor in read.values()}
        assert types == {"F32", "F16", f"Q{bits}_0"}, types
"""


@unittest.skipUnless((peers.runtime() / "peers" / "bin" / "python").exists(), "the peers are not installed: `make peers` does it")
class ThePeers(unittest.TestCase):
    """Each answers as transformers did when fixtures/ were made."""

    def check(self, *command):
        for name in ("tiny-mha", "tiny-gqa", "tiny-f16", "tiny-llama3"):
            folder = REPOSITORY / "fixtures" / name
            cases = json.loads((folder / "expected.json").read_text())["cases"]
            model = {"checkpoint": {"dir": str(folder)}}
            requests = [{**LOAD, "model": model, "threads": 2}]
            for case in cases:
                new_tokens = len(case["tokens"][0])
                ask = {"prompt_ids": case["prompt_ids"], "max_new_tokens": new_tokens, "logits": True}
                requests.append({"request": "generate", **ask})
            measure = {"prompt_ids": cases[-1]["prompt_ids"], "generation_length": 4, "procedure": PROCEDURE}
            requests += [{"request": "measure", **measure}, SHUTDOWN]
            done = subprocess.run(
                [WORKERS / command[0], *command[1:]],
                env={**os.environ, "LLAMA2_BENCH": str(PROGRAM)},
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
            for case, generated in zip(cases, replies[2:-1], strict=True):
                self.assertEqual(generated["tokens"], case["tokens"])
                for found, expected in zip(generated["logits"][0], case["prompt_logits"], strict=True):
                    self.assertLess(max(abs(a - b) for a, b in zip(found, expected, strict=True)), 1e-4)
            tokens = [row[:4] for row in cases[-1]["tokens"]]
            self.assertEqual(replies[-1]["tokens_sha256"], tokens_sha256(tokens))

    def test_gguf_has_the_numbers_of_quantized_weights(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        config = json.loads((REPOSITORY / "fixtures/tiny-gqa/config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 128, "intermediate_size": 256}))
        for precision in peers.QUANTIZATIONS:
            synth = [PROGRAM, "-q", "synth", "--model", folder / "config.json", "--out", folder / precision]
            subprocess.run([*synth, "--precision", precision], check=True)
        python = peers.runtime() / "peers" / "bin" / "python"
        program = f"import sys\nsys.path.insert(0, {str(WORKERS)!r})\n" + textwrap.dedent(CHECK_GGUF)
        done = subprocess.run([python, "-B", "-c", program, folder], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_conversion_is_not_in_the_peak_memory(self):
        for worker, precision in (("llama-cpp", "fp32"), ("llama-cpp", "int4"), ("onnxruntime-genai", "int4")):
            folder = Path(self.enterContext(tempfile.TemporaryDirectory())) / "new"
            shutil.copytree(REPOSITORY / "fixtures" / "tiny-gqa", folder)
            load = {**LOAD, "model": {"checkpoint": {"dir": str(folder)}}, "threads": 1, "precision": precision}
            measure = {"request": "measure", "prompt_ids": [[1, 2, 3]], "generation_length": 2, "procedure": PROCEDURE}
            peaks = []
            for _ in ("converted", "kept"):
                done = subprocess.run(
                    [WORKERS / f"{worker}-worker.py"],
                    env={**os.environ, "LLAMA2_BENCH": str(PROGRAM)},
                    input="".join(json.dumps(request) + "\n" for request in (load, measure, SHUTDOWN)),
                    capture_output=True,
                    text=True,
                    timeout=600,
                )
                measured = [json.loads(line) for line in done.stdout.splitlines()][-1]
                peaks.append(measured["memory"]["peak_bytes"])
            self.assertLess(max(peaks), 1.2 * min(peaks), (worker, precision))

    def test_quantized_weights_are_the_reference_s(self):
        verify = [PROGRAM, "-q", "verify", "--engines-file", REPOSITORY / "configs/peers.toml", "--engine", "onnxruntime-genai,llama-cpp"]
        model = ["--model", REPOSITORY / "fixtures/tiny-gqa", "--precision", "int8,int8-channel,int4"]
        done = subprocess.run([*verify, *model], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_hf_eager(self):
        self.check("hf-worker.py", "hf-eager")

    def test_onnxruntime_genai(self):
        self.check("onnxruntime-genai-worker.py")

    def test_llama_cpp(self):
        self.check("llama-cpp-worker.py")


if __name__ == "__main__":
    unittest.main()
