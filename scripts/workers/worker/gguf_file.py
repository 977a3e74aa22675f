"""Writes a checkpoint in HF's format as GGUF: the same numbers, under llama.cpp's names."""

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


def write_gguf(checkpoint, numbers, path):
    """Writes `path` with weights of the type `numbers`; norms are F32, for llama.cpp multiplies by no others."""
    config = LlamaConfig.from_pretrained(checkpoint)
    heads_of = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=True)
    _write_config(writer, config, numbers)
    for name, weight in _weights(checkpoint, config):
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
    writer.add_file_type(
        {"F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16, "BF16": gguf.LlamaFileType.MOSTLY_BF16}[numbers.name]
    )
    # What llama.cpp divides the frequencies of the rotary embedding by.
    plain, _ = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    divisors = plain / LlamaRotaryEmbedding(config).inv_freq
    if not torch.all(divisors == 1):
        writer.add_tensor("rope_freqs.weight", divisors.numpy())


def _weights(checkpoint, config):
    """The model's weights, of the stored tensors that transformers takes for them; the head only where it is not the embedding."""
    with torch.device("meta"):
        known = {name for name in LlamaForCausalLM(config).state_dict() if name.endswith(".weight")}
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
        yield weight, _read(*place)


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
