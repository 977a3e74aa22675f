#!/usr/bin/env python3
"""llama-cpp: the checkpoint's weights as GGUF, through llama.cpp's own batches, one sequence for each row."""

import ctypes

from worker import peers

loop = peers.start("llama_cpp", "gguf", "torch", "transformers", huge_pages=True)

import gguf
import llama_cpp
import numpy

NUMBERS = {
    "fp32": gguf.GGMLQuantizationType.F32,
    "fp16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
}
LOAD_MODES = {"none": llama_cpp.LLAMA_LOAD_MODE_NONE, "mmap": llama_cpp.LLAMA_LOAD_MODE_MMAP}


class LlamaCpp:
    options = {
        "kv_cache": ["precision", "fp16"],
        "flash_attention": ["precision", True, False],
        "ubatch": [512, 1024, 2048, 4096],
        # What is mapped can't be in huge pages.
        "load_mode": list(LOAD_MODES),
    }
    model = context = batch = None

    def hello(self):
        system = llama_cpp.llama_print_system_info().decode()
        cuda = "this build of llama.cpp has no CUDA" if not llama_cpp.llama_supports_gpu_offload() else None
        return {
            "engine": "llama-cpp",
            "libraries": [
                {"name": "llama-cpp-python", "version": llama_cpp.__version__, "path": llama_cpp.__file__},
                {"name": "llama.cpp", "version": " ".join(system.split()), "path": None},
            ],
            "devices": [{"device": "cpu", "unusable": None}, {"device": "cuda", "unusable": cuda}],
        }

    def load(self, request):
        self._free_context()
        if self.model:
            llama_cpp.llama_model_free(self.model)
            self.model = None
        self.chosen = request["options"]
        self.device, self.threads = request["device"], request["threads"]
        precision = request["precision"]
        quantization = peers.QUANTIZATIONS.get(precision)
        # Beside quantized weights, what is not quantized is stored in FP16.
        numbers = NUMBERS["fp16" if quantization else precision]
        self.activations = NUMBERS["fp32"] if quantization and self.device == "cpu" else numbers
        # llama.cpp multiplies quantized weights by blocks of INT8, on a CPU (Q8_0) as on a GPU (Q8_1).
        self.product_inputs = "int8" if quantization else None
        checkpoint = peers.checkpoint(request)
        key = {"files": peers.fingerprint(checkpoint), "precision": precision, "layout": 3}
        bits = quantization[0] if quantization else 0
        folder = peers.made_once(
            "gguf", key, lambda folder: peers.convert("gguf_file.py", checkpoint, numbers.name, folder / "model.gguf", bits)
        )

        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0 if self.device == "cpu" else -1
        if self.device != "cpu":
            parameters.main_gpu = int(self.device.removeprefix("cuda:"))
        load_mode = self.chosen["load_mode"]
        if load_mode == "mmap" and request["memory_limit_bytes"] is not None:
            raise ValueError('option load_mode: what "mmap" maps would not count against memory_limit')
        parameters.load_mode = LOAD_MODES[load_mode]
        self.model = llama_cpp.llama_model_load_from_file(str(folder / "model.gguf").encode(), parameters)
        if not self.model:
            raise RuntimeError("llama.cpp could not load the GGUF file: its reason is on stderr")
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(vocab)
        self.max_position_embeddings = llama_cpp.llama_model_n_ctx_train(self.model)
        notes = [f"KV cache in {self._cache_numbers().name} (llama.cpp's default is F16)"]
        if self._flash_attention() == llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED:
            notes.append("without flash attention, which llama.cpp computes with FP16 in it")
        if quantization and quantization[1] != 32:
            notes.append("each scale is stored for every block of 32 weights, as GGUF has them")
        notes += filter(None, [loop.move_to_huge_pages()])
        return {"weights_bytes": llama_cpp.llama_model_size(self.model), "notes": notes}

    def _flash_attention(self):
        """FP32 flash attention is off by 1e-3 of the largest logit, so it is used there only on request."""
        wanted = self.chosen["flash_attention"]
        if wanted == "precision":
            wanted = None if self.activations != NUMBERS["fp32"] else False
        return {
            None: llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO,
            True: llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            False: llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        }[wanted]

    def _cache_numbers(self):
        return gguf.GGMLQuantizationType.F16 if self.chosen["kv_cache"] == "fp16" else self.activations

    def begin(self, prompt_ids, generation_length):
        self._free_context()
        self.prompt = prompt_ids
        rows, length = len(prompt_ids), len(prompt_ids[0])
        parameters = llama_cpp.llama_context_default_params()
        # One part of the cache for each row: they share no tokens.
        parameters.kv_unified = False
        parameters.n_seq_max = rows
        parameters.n_ctx = rows * (length + generation_length)
        parameters.n_batch = rows * length
        parameters.n_ubatch = min(self.chosen["ubatch"], rows * length)
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.type_k = parameters.type_v = self._cache_numbers().value
        parameters.flash_attn_type = self._flash_attention()
        self.context = llama_cpp.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise RuntimeError(
                f"llama.cpp made no context for {rows} sequences of {length + generation_length} tokens: its reason is on stderr"
            )
        self.batch = llama_cpp.llama_batch_init(rows * length, 0, 1)

    def reset(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), False)
        self.length, self.selected = 0, []
        self._fill(self.prompt)

    def _fill(self, rows):
        """The batch of the next forward: it asks for logits only at each row's last position."""
        batch, length = self.batch, len(rows[0])
        batch.n_tokens = len(rows) * length
        for row, ids in enumerate(rows):
            for column, token in enumerate(ids):
                place = row * length + column
                batch.token[place] = token
                batch.pos[place] = self.length + column
                batch.n_seq_id[place] = 1
                batch.seq_id[place][0] = row
                batch.logits[place] = column == length - 1
        self.places = [(row + 1) * length - 1 for row in range(len(rows))]
        self.filled = length

    def prefill(self):
        self._forward()

    def decode(self):
        self._forward()

    def _forward(self):
        status = llama_cpp.llama_decode(self.context, self.batch)
        if status:
            # 1: no place in the KV cache; -2: no memory for the computation.
            words = {1: "no place in the KV cache", -2: "out of memory"}.get(status, "its reason is on stderr")
            raise RuntimeError(f"llama_decode returned {status}: {words}")
        self.length += self.filled

    def synchronize(self):
        if self.context:
            llama_cpp.llama_synchronize(self.context)

    def select(self):
        chosen = [[int(row.argmax())] for row in self._last_logits()]
        self.selected.append(chosen)
        self._fill(chosen)

    def tokens(self):
        return [[step[row][0] for step in self.selected] for row in range(len(self.prompt))]

    def logits(self):
        # Native floats, which ctypes says are little-endian ones.
        return [row.view(numpy.float32) for row in self._last_logits()]

    def _last_logits(self):
        """Views of llama.cpp's own buffer."""
        rows = (llama_cpp.llama_get_logits_ith(self.context, place) for place in self.places)
        return [numpy.ctypeslib.as_array(row, shape=(self.vocab_size,)) for row in rows]

    def kv_cache_bytes(self):
        model, numbers = self.model, self._cache_numbers()
        block, size = gguf.GGML_QUANT_SIZES[numbers]
        heads, layers = llama_cpp.llama_model_n_head_kv(model), llama_cpp.llama_model_n_layer(model)
        width = heads * self._head_dim()
        return llama_cpp.llama_n_ctx(self.context) * 2 * layers * width * size // block

    def _head_dim(self):
        text = ctypes.create_string_buffer(32)
        llama_cpp.llama_model_meta_val_str(self.model, b"llama.attention.key_length", text, len(text))
        return int(text.value)

    def end(self):
        self._free_context()

    def _free_context(self):
        if self.batch:
            llama_cpp.llama_batch_free(self.batch)
        if self.context:
            llama_cpp.llama_free(self.context)
        self.context = self.batch = None


if __name__ == "__main__":
    loop.serve(LlamaCpp())
