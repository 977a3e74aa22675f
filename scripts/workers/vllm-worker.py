#!/usr/bin/env python3
"""vllm: one step of vLLM's engine is one forward, which also chooses the next tokens. It runs only on an NVIDIA GPU."""

import array
import json
import os

from worker import peers

loop = peers.start(
    "vllm",
    environment="vllm",
    remedy="it needs an NVIDIA GPU and another torch, and `make peers` in a clone installs it where there is a driver for one",
)
# The engine in this process: its steps are called, and timed, here.
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
# Room for the last token of a generation that fills the context: see `max_model_len`.
os.environ["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] = "1"

import torch
import vllm

from worker import torch_device


class Vllm(torch_device.TorchClock):
    options = {"enforce_eager": [False, True], "gpu_memory_utilization": []}
    llm = None
    requests = ()

    def hello(self):
        return {
            "engine": "vllm",
            "libraries": [
                {"name": "vllm", "version": vllm.__version__, "path": vllm.__file__},
                torch_device.library(),
            ],
            "devices": [
                {"device": "cpu", "unusable": "this build of vLLM is for NVIDIA GPUs"},
                *torch_device.cuda_devices(),
            ],
        }

    def load(self, request):
        peers.refuse_quantized(request, "quantized weights are not yet tried with vLLM")
        self.llm = None
        options = request["options"]
        share = options.get("gpu_memory_utilization", 0.9)
        self.device = request["device"]
        torch_device.set_up(self.device, request["threads"])
        folder = peers.checkpoint(request)
        positions = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
        self.make = lambda rows, tokens: vllm.LLM(
            model=str(folder),
            # A step chooses a token, too. That of the last step stands behind the last position, where nothing is computed: it
            # counts for vLLM, which would end a generation that fills the context one step early.
            max_model_len=positions + 1,
            skip_tokenizer_init=True,
            dtype=torch_device.DTYPES[request["precision"]],
            enforce_eager=options["enforce_eager"],
            gpu_memory_utilization=share,
            # Every prompt run computes the whole prompt, in one step.
            enable_prefix_caching=False,
            max_num_seqs=rows,
            max_num_batched_tokens=max(tokens, 2048),
            async_scheduling=False,
            # The logits themselves, for `generate`.
            max_logprobs=-1,
            logprobs_mode="raw_logits",
        )
        self._make(1, 0)
        config = self.llm.llm_engine.model_config.hf_config
        self.vocab_size, self.max_position_embeddings = config.vocab_size, config.max_position_embeddings
        return {
            "weights_bytes": peers.weights_bytes(folder),
            "notes": [
                "a forward's time has the choice of the next tokens and vLLM's scheduling in it",
                f"peak memory is what vLLM was given ({share} of the GPU), not what it needs",
            ],
        }

    def _make(self, rows, tokens):
        """Sets vLLM up for a number of rows, and of tokens per step; again where a cell has more of them."""
        if self.llm is None or rows > self.room[0] or tokens > self.room[1]:
            self.llm = None
            torch.cuda.empty_cache()
            self.room = (rows, tokens)
            self.llm = self.make(rows, tokens)

    def begin(self, prompt_ids, generation_length):
        self._make(len(prompt_ids), len(prompt_ids) * len(prompt_ids[0]))
        torch.cuda.reset_peak_memory_stats()
        self.prompt = prompt_ids
        self.sampling = vllm.SamplingParams(
            temperature=0.0,
            max_tokens=generation_length + 1,
            ignore_eos=True,
            detokenize=False,
            logprobs=self.vocab_size if self.keeps_logits else None,
        )

    def reset(self):
        engine = self.llm.llm_engine
        engine.abort_request(list(self.requests))
        while engine.has_unfinished_requests():
            engine.step()
        self.generation = getattr(self, "generation", 0) + 1
        self.requests = [f"{self.generation}-{row}" for row in range(len(self.prompt))]
        for name, ids in zip(self.requests, self.prompt, strict=True):
            engine.add_request(name, {"prompt_token_ids": ids}, self.sampling)
        self.selected = []

    def prefill(self):
        self._step()

    def decode(self):
        self._step()

    def _step(self):
        self.outputs = {output.request_id: output.outputs[0] for output in self.llm.llm_engine.step()}

    def select(self):
        if len(self.outputs) != len(self.requests):
            raise RuntimeError(f"vLLM computed {len(self.outputs)} of {len(self.requests)} rows in one step")
        self.selected.append([self.outputs[name].token_ids[-1] for name in self.requests])

    def tokens(self):
        return [list(row) for row in zip(*self.selected, strict=True)] or [[] for _ in self.prompt]

    def logits(self):
        if not self.keeps_logits:
            return []
        rows = []
        for name in self.requests:
            logits = self.outputs[name].logprobs[-1]
            rows.append(array.array("f", (logits[token].logprob for token in range(self.vocab_size))))
        return rows

    def end(self):
        self.llm.llm_engine.abort_request(list(self.requests))
        self.requests = ()


if __name__ == "__main__":
    loop.serve(Vllm())
