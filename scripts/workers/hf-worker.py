#!/usr/bin/env python3
"""hf-eager and hf-compile: transformers' LlamaForCausalLM with its DynamicCache, as it is and through torch.compile.

Usage: hf-worker.py hf-eager|hf-compile
"""

import sys

from worker import peers

loop = peers.start("torch", "transformers")

import torch
import transformers

from worker import torch_device

OPTIONS = {"attention": ["sdpa", "eager", "cudnn"], "logits": ["last", "all"]}
# Whether a forward's outputs, logits in FP32 and KV cache, live until the next forward is done, as in the loop that the published
# tables were measured with.
# Flash attention takes no mask, and transformers makes one for every forward that is compiled.
EAGER_OPTIONS = {"attention": [*OPTIONS["attention"], "flash"], "keep_outputs": [False, True]}
# The kernels that scaled_dot_product_attention may choose on a GPU, by the option `attention`. On Hopper torch prefers cuDNN's, and
# plans them anew for every length, so for every token: as in pytorch-eager, they are used only on request.
SDPA_KERNELS = {
    "sdpa": ("flash", "mem_efficient", "math"),
    "cudnn": ("cudnn", "flash", "mem_efficient", "math"),
    "flash": ("flash",),
}
COMPILE_OPTIONS = {
    "mode": ["default", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune"],
    "dynamic": [True, False, "auto"],
}
# The cache of the prefill, of the first decode forward and of the later ones differ in layout: each is compiled for.
DECODES_TO_COMPILE = 4


class HuggingFace(torch_device.TorchClock):
    bounds_device_memory = True

    def __init__(self, name):
        self.name = name
        self.options = OPTIONS | (COMPILE_OPTIONS if name == "hf-compile" else EAGER_OPTIONS)
        self.model = None

    def hello(self):
        transformers_ = {"name": "transformers", "version": transformers.__version__, "path": transformers.__file__}
        return {
            "engine": self.name,
            "libraries": [transformers_, torch_device.library()],
            "devices": torch_device.devices(),
        }

    def load(self, request):
        peers.refuse_quantized(request, "transformers would compute with dequantized weights")
        self.model = self.cache = self.last = self.kept = None
        options = request["options"]
        self.device = request["device"]
        torch_device.set_up(self.device, request["threads"])
        notes = torch_device.bound_memory(self.device, request.get("device_memory_limit_bytes"))
        self._allow_kernels(options["attention"], request["precision"])
        folder = peers.checkpoint(request)
        self.model = transformers.LlamaForCausalLM.from_pretrained(
            folder,
            dtype=torch_device.DTYPES[request["precision"]],
            attn_implementation="eager" if options["attention"] == "eager" else "sdpa",
            local_files_only=True,
        ).to(self.device)
        self.model.eval()
        config = self.model.config
        self.vocab_size, self.max_position_embeddings = config.vocab_size, config.max_position_embeddings
        self.keep = {"logits_to_keep": 1 if options["logits"] == "last" else 0}
        self.forward, self.keep_outputs = self.model, options.get("keep_outputs", False)
        if self.keep_outputs:
            notes.append("a forward's outputs (logits in FP32, KV cache) are kept until the next forward is done")
        if self.device != "cpu" and options["attention"] != "eager":
            notes.append(self._attention_note(options["attention"]))
        if self.name == "hf-compile":
            self.compile_options = {
                "mode": options["mode"],
                "dynamic": None if options["dynamic"] == "auto" else options["dynamic"],
            }
            notes += ["torch.compile: " + ", ".join(f"{key} = {options[key]}" for key in COMPILE_OPTIONS)]
        weights = {weight.data_ptr(): weight.nbytes for weight in self.model.parameters()}
        return {"weights_bytes": sum(weights.values()), "notes": notes}

    def _allow_kernels(self, attention, precision):
        kernels = SDPA_KERNELS.get(attention, SDPA_KERNELS["sdpa"])
        if attention in ("cudnn", "flash") and self.device == "cpu":
            raise ValueError(f'option attention: "{attention}" runs only on a GPU, not on cpu')
        if attention == "flash" and precision == "fp32":
            raise ValueError('option attention: "flash" runs only in fp16 and bf16, not in fp32')
        for kernel in ("cudnn", "flash", "mem_efficient", "math"):
            getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(kernel in kernels)

    def _attention_note(self, attention):
        """Which kernels are allowed, and which torch chooses of them for a prompt and for a token behind it."""
        config = self.model.config
        heads, width = config.num_attention_heads, getattr(config, "head_dim", None)
        width = width or config.hidden_size // heads

        def states(length):
            return torch.empty(1, heads, length, width, dtype=self.model.dtype, device=self.device)

        def chosen(length, is_causal):
            query, keys, mask = states(length), states(256), None
            if self.name == "hf-compile":
                # transformers masks every forward that is compiled.
                mask, is_causal = torch.ones(1, 1, length, 256, dtype=torch.bool, device=self.device), False
            choice = torch._fused_sdp_choice(query, keys, keys, attn_mask=mask, is_causal=is_causal)
            return torch.nn.attention.SDPBackend(choice).name.lower()

        allowed = ", ".join(SDPA_KERNELS[attention])
        return f"attention kernels: {allowed}; chosen {chosen(256, True)} for a prompt, {chosen(1, False)} for a token"

    def begin(self, prompt_ids, generation_length):
        self.cache = self.last = self.kept = None
        self.empty_device()
        self.prompt = torch.tensor(prompt_ids, device=self.device)
        if self.name == "hf-compile":
            self._compile(min(generation_length, DECODES_TO_COMPILE))

    def _compile(self, decodes):
        """Compiles before anything is timed, whatever the warm-up."""
        dynamo = torch._dynamo
        if self.compile_options["dynamic"] is not True:
            # Each cell for its own shapes, whatever was measured before it.
            dynamo.reset()
        # Past a limit torch would give up and say nothing: then hf-eager would be measured.
        dynamo.config.recompile_limit = 64
        dynamo.config.fail_on_recompile_limit_hit = True
        self.forward = torch.compile(self.model, **self.compile_options)
        self.reset()
        self.prefill()
        for _ in range(decodes):
            self.select()
            self.decode()
        self.synchronize()

    def reset(self):
        self.cache = transformers.DynamicCache(config=self.model.config)
        self.selected = []
        self.input_ids = self.prompt

    def prefill(self):
        self._forward()

    def decode(self):
        self._forward()

    def _forward(self):
        with torch.inference_mode():
            output = self.forward(input_ids=self.input_ids, past_key_values=self.cache, use_cache=True, **self.keep)
            if self.keep_outputs:
                logits = output.logits.float()
                # The earlier forward's outputs end here.
                self.kept = logits, [(layer.keys, layer.values) for layer in self.cache.layers]
        self.last = output.logits[:, -1]

    def select(self):
        # `max` names the first among equals, as `argmax` does, in less time on a CPU.
        self.input_ids = self.last.max(dim=-1, keepdim=True).indices
        self.selected.append(self.input_ids)

    def tokens(self):
        return torch.cat(self.selected, dim=1).tolist() if self.selected else [[] for _ in self.prompt]

    def logits(self):
        return list(self.last.float().cpu().contiguous().numpy())

    def kv_cache_bytes(self):
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)

    def end(self):
        self.cache = self.last = self.kept = None
        self.empty_device()


if __name__ == "__main__":
    loop.serve(HuggingFace(sys.argv[1]))
