"""Writes a checkpoint in HF's format as GGUF: the same numbers, under llama.cpp's names."""

import json

import gguf
import torch
from safetensors import safe_open

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
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def write_gguf(checkpoint, numbers, path):
    """Writes `path` with weights of the type `numbers`; norms are F32, for llama.cpp multiplies by no others."""
    config = json.loads((checkpoint / "config.json").read_text())
    heads = config["num_attention_heads"]
    heads_of = {"q_proj": heads, "k_proj": config.get("num_key_value_heads") or heads}
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=True)
    _write_config(writer, config, numbers)
    for name, weight in _weights(checkpoint):
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        projection = name.split(".")[-2]
        if projection in heads_of:
            weight = _interleave(weight, heads_of[projection])
        of_type = gguf.GGMLQuantizationType.F32 if weight.dim() == 1 else numbers
        weight = weight.to(DTYPES[of_type.name]).contiguous()
        data = weight.view(torch.uint8).numpy()
        writer.add_tensor(_gguf_name(name), data, raw_dtype=of_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_config(writer, config, numbers):
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(
        {"F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16, "BF16": gguf.LlamaFileType.MOSTLY_BF16}[
            numbers.name
        ]
    )


def _weights(checkpoint):
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():
                yield name, tensors.get_tensor(name)


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
