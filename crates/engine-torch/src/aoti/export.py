"""LlamaForCausalLM, exported by torch.export and compiled by AOTInductor into one package. Run by store.rs, in the peers'
Python; the operators are those of model.rs, in its order. A line of stdout is a step done, one of `STEPS`.

    python -c SCRIPT '{"config": {…}, "precision": "fp32", …}' cpu|cuda:N PACKAGE
"""

import json
import sys

import torch
from torch import nn
from torch._inductor import aot_compile, cpu_vec_isa
from torch._inductor.package import package_aoti
from torch.nn import functional as F

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# The graphs of a package, and what they are fixed to; what is not fixed may have any size. No name may begin another: the loader
# takes files by the beginning of their names.
GRAPHS = {
    "prefill": {},
    "decode_many": {"length": 1},
    "decode_one": {"length": 1, "batch_size": 1},
}


# An operator of the engine's own (shim/onednn.cpp); here nothing is computed.
OPERATORS = torch.library.Library("llama2_bench", "DEF")
OPERATORS.define("linear(Tensor input, Tensor weight) -> Tensor")


@torch.library.impl(OPERATORS, "linear", "Meta")
def _(states, weight):
    return states.new_empty((*states.shape[:-1], weight.shape[0]))


class Linear(nn.Module):
    """at::linear, or the engine's own."""

    product = F.linear

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, states):
        return Linear.product(states, self.weight)


class RmsNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config["hidden_size"]))
        self.variance_epsilon = config["rms_norm_eps"]

    def forward(self, hidden_states):
        input_dtype = hidden_states.dtype
        hidden_states = hidden_states.float()
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
        return self.weight * hidden_states.to(input_dtype)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, self.head_dim = config["hidden_size"], config["head_dim"]
        self.heads, self.key_value_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.q_proj = Linear(hidden, self.heads * self.head_dim)
        self.k_proj = Linear(hidden, self.key_value_heads * self.head_dim)
        self.v_proj = Linear(hidden, self.key_value_heads * self.head_dim)
        self.o_proj = Linear(self.heads * self.head_dim, hidden)

    def forward(self, hidden_states, cos, sin, attended, keys, values):
        batch_size, length, _ = hidden_states.shape

        def split_heads(states):
            return states.view(batch_size, length, -1, self.head_dim).transpose(1, 2)

        query = apply_rotary_pos_emb(split_heads(self.q_proj(hidden_states)), cos, sin)
        key = apply_rotary_pos_emb(split_heads(self.k_proj(hidden_states)), cos, sin)
        value = split_heads(self.v_proj(hidden_states))
        keys.narrow(2, attended - length, length).copy_(key)
        values.narrow(2, attended - length, length).copy_(value)

        scale = self.head_dim**-0.5
        if length == 1:
            # A group's queries attend to the same keys: as if they were so many tokens, no key is repeated.
            query = query.reshape(batch_size, self.key_value_heads, -1, self.head_dim)
            key, value = keys.narrow(2, 0, attended), values.narrow(2, 0, attended)
            if query.device.type == "cpu":
                # In BF16 MKL has nothing better than a plain loop for a few rows: on AMD processors an eighth of a forward.
                query, key, value = query.float(), key.float(), value.float()
            output = F.scaled_dot_product_attention(query, key, value, scale=scale).to(hidden_states.dtype)
        else:
            # A whole prompt: the cache was empty.
            enable_gqa = self.heads > self.key_value_heads
            output = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=enable_gqa)
            output = output.transpose(1, 2)
        return self.o_proj(output.reshape(batch_size, length, -1))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, intermediate = config["hidden_size"], config["intermediate_size"]
        self.gate_proj = Linear(hidden, intermediate)
        self.up_proj = Linear(hidden, intermediate)
        self.down_proj = Linear(intermediate, hidden)

    def forward(self, hidden_states):
        return self.down_proj(F.silu(self.gate_proj(hidden_states)) * self.up_proj(hidden_states))


class DecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = RmsNorm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RmsNorm(config)
        self.mlp = Mlp(config)

    def forward(self, hidden_states, *attention):
        hidden_states = hidden_states + self.self_attn(self.input_layernorm(hidden_states), *attention)
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = RmsNorm(config)


class LlamaForCausalLM(nn.Module):
    """Its parameters have HF's names, which are those of the weights that the engine gives."""

    def __init__(self, config, logits):
        super().__init__()
        self.model = Decoder(config)
        if not config["tie_word_embeddings"]:
            self.lm_head = Linear(config["hidden_size"], config["vocab_size"])
        self.register_buffer("inv_freq", torch.empty(config["head_dim"] // 2))
        self.logits = logits

    def forward(self, input_ids, positions, keys, values):
        """`positions` are 0, 1, 2… of all tokens that are attended to, the new ones last; `keys` and `values` have room for
        more, and get those of the new tokens."""
        attended, length = positions.shape[0], input_ids.shape[1]
        hidden_states = self.model.embed_tokens(input_ids)
        freqs = positions[attended - length :, None].float() * self.inv_freq
        emb = torch.cat([freqs, freqs], dim=-1)
        cos, sin = emb.cos().to(hidden_states.dtype), emb.sin().to(hidden_states.dtype)
        for layer, *cache in zip(self.model.layers, keys, values):
            hidden_states = layer(hidden_states, cos, sin, attended, *cache)
        hidden_states = self.model.norm(hidden_states)
        if self.logits == "last":
            hidden_states = hidden_states[:, -1:]
        head = self.lm_head if hasattr(self, "lm_head") else self.model.embed_tokens
        return Linear.product(hidden_states, head.weight)


def apply_rotary_pos_emb(states, cos, sin):
    return states * cos + rotate_half(states) * sin


def rotate_half(states):
    first, second = states.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


def empty_model(request):
    """Its weights have memory, for AOTInductor takes two without for one and the same; nothing is ever written to it."""
    with torch.device("meta"):
        model = LlamaForCausalLM(request["config"], request["logits"])
    inv_freq = model.inv_freq
    model.to(DTYPES[request["precision"]]).inv_freq = inv_freq
    return model.to_empty(device=request["device"]).eval().requires_grad_(False)


def export(model, request, batch_size=None, length=None):
    config, device = request["config"], request["device"]
    # Sizes that are not fixed are those of an example, any two of them different.
    batch, new, attended, capacity = batch_size or 2, length or 3, 5 if length else 3, 7
    states = (batch, config["num_key_value_heads"], capacity, config["head_dim"])

    def cache():
        return [torch.zeros(states, dtype=model.model.norm.weight.dtype, device=device) for _ in model.model.layers]

    ids = torch.zeros((batch, new), dtype=torch.int64, device=device)
    positions = torch.arange(attended, device=device)
    dim = torch.export.Dim
    batches = {} if batch_size else {0: dim("batch_size", min=1)}
    # A prompt is all that is attended to.
    new_tokens = {} if length else {1: dim("attended", min=1)}
    of_cache = [batches | {2: dim("capacity", min=1)}] * config["num_hidden_layers"]
    shapes = (batches | new_tokens, {0: dim("attended", min=1)}, of_cache, of_cache)
    with torch.no_grad():
        return torch.export.export(model, (ids, positions, cache(), cache()), dynamic_shapes=shapes)


def main():
    request, device, package = json.loads(sys.argv[1]), torch.device(sys.argv[2]), sys.argv[3]
    found = torch.__version__.partition("+")[0]
    if found != request["torch"]:
        sys.exit(f"torch is {found} there, and libtorch {request['torch']}: `make peers` installs that")
    if device.type == "cuda":
        torch.cuda.set_device(device)
        capability = list(torch.cuda.get_device_capability())
        if capability != request["capability"]:
            sys.exit(f"{device} is of compute capability {capability} there, and {request['capability']} here")
    # Asked before the flags are in force: they would have its test program not be linked with libtorch, and fail.
    if not cpu_vec_isa.valid_vec_isa_list():
        sys.exit("no vector instructions that inductor knows, or g++ can't compile for them")
    if request["linear"] == "onednn":
        Linear.product = torch.ops.llama2_bench.linear
    # As the engine has it: torch chooses when the model is exported.
    torch.backends.cuda.enable_cudnn_sdp(False)
    model = empty_model(request)
    files = {}
    for name, fixed in GRAPHS.items():
        program = export(model, request, **fixed)
        print(f"{name}: exported", flush=True)
        options = {"aot_inductor.package": True, **request["flags"], **request["flags_of_graphs"].get(name, {})}
        args, kwargs = program.example_inputs
        files[name] = aot_compile(program.module(), args, kwargs, options=options)
        print(f"{name}: compiled", flush=True)
    package_aoti(package, files)


if __name__ == "__main__":
    main()
