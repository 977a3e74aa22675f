#!/usr/bin/env python3
"""onnxruntime-genai: what ONNX Runtime's own model builder makes of the checkpoint, driven by ONNX Runtime GenAI."""

import json
import subprocess
import sys

from worker import peers

loop = peers.start("onnxruntime_genai", "onnx_ir", "torch", "transformers", huge_pages=True)

import numpy
import onnxruntime_genai
from tokenizers import Tokenizer, models

SPECIAL_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
# GenAI needs a token that ends a row, and forbids it up to `min_length`: so that no row ends, and </s> can be chosen as any
# other, it is <unk>, which no text has.
ENDING_TOKEN = 0


class GenAI:
    model = generator = None

    def hello(self):
        is_cuda = onnxruntime_genai.is_cuda_available()
        cuda = None if is_cuda else "this is the package without CUDA (onnxruntime-genai-cuda has it)"
        return {
            "engine": "onnxruntime-genai",
            "libraries": [
                {
                    "name": "onnxruntime-genai",
                    "version": onnxruntime_genai.__version__,
                    "path": onnxruntime_genai.__file__,
                },
                {"name": "onnxruntime", "version": _version("onnxruntime"), "path": None},
            ],
            "devices": [{"device": "cpu", "unusable": None}, {"device": "cuda", "unusable": cuda}],
        }

    def load(self, request):
        self.model = self.generator = None
        self.device, precision = request["device"], request["precision"]
        quantization = peers.QUANTIZATIONS.get(precision)
        if self.device == "cpu" and precision != "fp32" and not quantization:
            raise ValueError(f"precision {precision}: the model builder supports only fp32 and quantized weights on a CPU")
        self.product_inputs = "int8" if quantization and self.device == "cpu" else None
        checkpoint = peers.checkpoint(request)
        provider = "cpu" if self.device == "cpu" else "cuda"
        # The last number changes with what `_build` does.
        builder = [onnxruntime_genai.__version__, precision, provider, ENDING_TOKEN, 2]
        key = {"files": peers.fingerprint(checkpoint), "builder": builder}
        folder = peers.made_once("onnx", key, lambda folder: _build(checkpoint, folder, precision, provider))

        config = onnxruntime_genai.Config(str(folder))
        session_options = {"intra_op_num_threads": request["threads"]}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session_options}}}))
        if provider == "cuda":
            config.set_provider_option("cuda", "device_id", self.device.removeprefix("cuda:"))
        self.model = onnxruntime_genai.Model(config)
        facts = json.loads((folder / "genai_config.json").read_text())["model"]
        self.vocab_size, self.max_position_embeddings = facts["vocab_size"], facts["context_length"]
        decoder = facts["decoder"]
        numbers = 4 if self.device == "cpu" else 2
        heads, layers = decoder["num_key_value_heads"], decoder["num_hidden_layers"]
        self.cache_bytes_of_token = 2 * layers * heads * decoder["head_size"] * numbers
        notes = [
            "logits are computed for every position of the prompt",
            f"token {ENDING_TOKEN} is never chosen: GenAI would end a row there",
        ]
        if quantization:
            notes.append("q, k and v are separate products: the builder joins them only with zero points")
        if self.product_inputs:
            notes.append("products round activations to INT8 (accuracy_level 4, the builder's default)")
        weights_bytes = (folder / "model.onnx.data").stat().st_size
        notes += filter(None, [loop.move_to_huge_pages()])
        return {"weights_bytes": weights_bytes, "notes": notes}

    def begin(self, prompt_ids, generation_length):
        self.generator = None
        self.prompt = numpy.array(prompt_ids, dtype=numpy.int32)
        self.rows, length = self.prompt.shape
        # One more: choosing a token after the last forward must have a place.
        self.length = min(length + generation_length + 1, self.max_position_embeddings)
        parameters = onnxruntime_genai.GeneratorParams(self.model)
        parameters.set_search_options(batch_size=self.rows, max_length=self.length, min_length=self.length, do_sample=False)
        self.generator = onnxruntime_genai.Generator(self.model, parameters)

    def reset(self):
        if self.generator.token_count():
            self.generator.rewind_to(0)
        self.selected = []

    def prefill(self):
        self.generator.append_tokens(self.prompt)

    def select(self):
        # Greedy search; logits of the last forward are there, so nothing is computed but the choice.
        self.generator.generate_next_token()
        self.selected.append(numpy.array(self.generator.get_next_tokens()))

    def decode(self):
        # Without logits of the chosen tokens, asking for them is one forward.
        self.generator.get_logits()

    def tokens(self):
        return numpy.array(self.selected, dtype=int).reshape(-1, self.rows).T.tolist()

    def logits(self):
        return list(numpy.ascontiguousarray(self.generator.get_logits()[:, -1], dtype=numpy.float32))

    def kv_cache_bytes(self):
        return self.rows * self.length * self.cache_bytes_of_token

    def end(self):
        self.generator = None


def _version(package):
    from importlib.metadata import version

    return version(package)


def _build(checkpoint, folder, precision, provider):
    """Runs the model builder, which wants a tokenizer beside the weights: one of three words does."""
    source = folder / "source"
    source.mkdir()
    options = []
    if quantization := peers.QUANTIZATIONS.get(precision):
        bits, group_size = quantization
        peers.convert("olive_checkpoint.py", checkpoint, source, bits, group_size or 0)
        precision = f"int{bits}"
        # Else the builder would quantize embedding and head, too, in its own way; and it can't join q, k and v without zero points.
        options = ["--extra_options", "nodes_to_exclude=/model/embed_tokens/Gather,/lm_head/MatMul", "fuse_qkv=false"]
    else:
        for path in checkpoint.iterdir():
            if path.name == "config.json" or "safetensors" in path.name:
                (source / path.name).symlink_to(path.resolve())
    words = {word: index for index, word in enumerate(SPECIAL_TOKENS.values())}
    Tokenizer(models.WordLevel(words, unk_token="<unk>")).save(str(source / "tokenizer.json"))
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", **SPECIAL_TOKENS}
    (source / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    command = [sys.executable, "-s", "-m", "onnxruntime_genai.models.builder", "-i", source, "-o", folder]
    command += ["-p", precision, "-e", provider, "-c", folder / "cache", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise RuntimeError(f"the model builder: {done.stdout.strip().splitlines()[-1]}")
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"] |= {"eos_token_id": ENDING_TOKEN, "pad_token_id": ENDING_TOKEN}
    (folder / "genai_config.json").write_text(json.dumps(config, indent=4))


if __name__ == "__main__":
    loop.serve(GenAI())
