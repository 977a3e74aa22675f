"""Writes a checkpoint in HF's format as GGUF: the same numbers, under llama.cpp's names."""

import sys
from pathlib import Path

import gguf
import torch
from safetensors import safe_open
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTSIDE_LAYERS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# What stands behind the name of a quantized weight in compressed-tensors' layout.
PACKED, SCALE = "_packed", "_scale"
# Of quantized weights, by their bits: blocks of 32, each with an FP16 scale.
BLOCK, BLOCKS = 32, {4: gguf.GGMLQuantizationType.Q4_0, 8: gguf.GGMLQuantizationType.Q8_0}


def write_gguf(checkpoint, numbers, path, bits=None):
    """Writes `path` with weights rounded to the type `numbers`; norms are stored in F32, for llama.cpp multiplies by no others.

    With `bits`, the projections of the checkpoint are stored in so many.
    """
    config = LlamaConfig.from_pretrained(checkpoint)
    heads_of = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=True)
    _write_config(writer, config, BLOCKS.get(bits, numbers))
    for name, weight, scales in _weights(checkpoint, config):
        if scales is not None:
            of_type, codes = BLOCKS[bits], _unpack(weight, bits)
            if codes.shape[1] % BLOCK:
                raise ValueError(f"llama.cpp quantizes blocks of {BLOCK} weights: {name} has {codes.shape[1]} inputs")
            data = _blocks(codes, scales, bits)
        else:
            of_type = gguf.GGMLQuantizationType.F32 if weight.dim() == 1 else numbers
            data = weight.to(DTYPES[numbers.name]).to(DTYPES[of_type.name]).contiguous().view(torch.uint8)
        projection = name.split(".")[-2]
        if projection in heads_of:
            data = _interleave(data, heads_of[projection])
        writer.add_tensor(_gguf_name(name), data.numpy(), raw_dtype=of_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_config(writer, config, most):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if most.name == "F32" else f"MOSTLY_{most.name}"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    # What llama.cpp divides the frequencies of the rotary embedding by.
    plain, _ = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    divisors = plain / LlamaRotaryEmbedding(config).inv_freq
    if not torch.all(divisors == 1):
        writer.add_tensor("rope_freqs.weight", divisors.numpy())


def _weights(checkpoint, config):
    """The model's weights, of the stored tensors that transformers takes for them; the head only where it is not the embedding.

    Of a quantized one what is packed, and its scales.
    """
    with torch.device("meta"):
        known = {name + part for name in LlamaForCausalLM(config).state_dict() if name.endswith(".weight") for part in ("", PACKED, SCALE)}
    # Where each weight is. One that is stored under its own name is taken from there.
    stored = {}
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            # An open file is not iterable.
            for name in tensors.keys():  # noqa: SIM118
                weight = next((one for one in (name, name.removeprefix("model."), f"model.{name}") if one in known), None)
                if weight == name or (weight and weight not in stored):
                    stored[weight] = path, name
    if config.tie_word_embeddings and HEAD in stored:
        if EMBEDDING not in stored:
            stored[EMBEDDING] = stored.pop(HEAD)
        elif torch.equal(_read(*stored[HEAD]), _read(*stored[EMBEDDING])):
            del stored[HEAD]
    for weight, place in stored.items():
        name = weight.removesuffix(PACKED)
        if not weight.endswith(SCALE):
            yield name, _read(*place), None if name == weight else _read(*stored[name + SCALE])


def _read(path, name):
    with safe_open(path, framework="pt") as tensors:
        return tensors.get_tensor(name)


def _gguf_name(name):
    module = name.removesuffix(".weight")
    if module in OUTSIDE_LAYERS:
        return f"{OUTSIDE_LAYERS[module]}.weight"
    _, _, layer, module = module.split(".", 3)
    return f"blk.{layer}.{NAMES[module]}.weight"


def _interleave(weight, heads):
    """HF turns element i of a head with i + head_dim/2, llama.cpp 2i with 2i + 1: their rows in each other's order."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def _unpack(packed, bits):
    """A code in each byte; the first of two is packed in the low half."""
    packed = packed.view(torch.uint8)
    return torch.stack((packed & 15, packed >> 4), -1).flatten(1) if bits == 4 else packed


def _blocks(codes, scales, bits):
    """The bytes of each row's blocks: the scale of its group, then the codes."""
    rows, inputs = codes.shape
    codes = codes.view(rows, -1, BLOCK)
    if bits == 4:
        # A byte has two codes that are half a block apart.
        codes = codes[..., : BLOCK // 2] | codes[..., BLOCK // 2 :] << 4
    else:
        # The same number in two's complement.
        codes = codes ^ 128
    scales = scales.repeat_interleave(inputs // BLOCK // scales.shape[1], 1)
    return torch.cat((scales.unsqueeze(-1).view(torch.uint8), codes), -1).flatten(1)


if __name__ == "__main__":
    checkpoint, numbers, path, bits = sys.argv[1:]
    write_gguf(Path(checkpoint), gguf.GGMLQuantizationType[numbers], path, int(bits) or None)
