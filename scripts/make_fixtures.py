#!/usr/bin/env python3
"""Write fixtures/: four tiny LLaMA checkpoints, with the tokens and logits that Hugging Face gets from them.

    python3 -m venv /tmp/fixtures
    /tmp/fixtures/bin/pip install torch==2.11.0 transformers==5.23.0 safetensors==0.8.0 tokenizers==0.23.3 numpy==2.4.6
    /tmp/fixtures/bin/python scripts/make_fixtures.py

tiny-mha    fp32, one file, transformers 4 config (rope_theta, torch_dtype), head_dim implied, untied; has a tokenizer
tiny-gqa    bf16, two shards with an index, transformers 5 config (rope_parameters), head_dim 16 on hidden 64, tied
tiny-f16    fp16, one file, transformers 5 config, two query heads to a key-value head, untied
tiny-llama3 bf16, one file, transformers 4 config as LLaMA 3.2 has it (rope_scaling of type llama3), grouped heads, tied

expected.json holds, for each case (a batch of prompts), what LlamaForCausalLM answers with the stored weights upcast
to fp32: eager attention, KV cache, greedy, never stopping at EOS. `tokens` are the `max_new_tokens` new ones only. The
prompt forward gives the first, so the last comes from decode forward number max_new_tokens - 1 (`decode_forwards`).
`prompt_logits` are those of the last prompt position, `decode_logits` those of that last decode forward; one row each
per prompt, with nine significant digits, which is what an f32 needs to be read back exactly.

variants.json lists other ways to store tiny-f16: changes of its config and of its tensors, in the order of `VARIANT_STEPS`, and
the tokens that LlamaForCausalLM answers a prompt with. It is JSON as Python writes it, with Infinity in it.

Seeds are chosen so that an engine that rounds differently still finds the same tokens: the script fails where the best
two logits of any step are closer than MIN_GAP. Two runs on one machine write the same bytes.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
VOCAB_SIZE = 256
MAX_NEW_TOKENS = 24
CASES = ((1, 5), (1, 16), (4, 12))
SPECIAL_TOKENS = ["<unk>", "<s>", "</s>"]
MATRIX_STD = 0.2
MIN_GAP = 0.02
MIN_DISTINCT_TOKENS = 8

COMMON_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "max_position_embeddings": 256,
    "mlp_bias": False,
    "model_type": "llama",
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": VOCAB_SIZE,
}

TINY_MHA = {
    **COMMON_CONFIG,
    "intermediate_size": 144,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "torch_dtype": "float32",
    "transformers_version": "4.40.0",
}

TINY_GQA = {
    **COMMON_CONFIG,
    "dtype": "bfloat16",
    "head_dim": 16,
    "intermediate_size": 96,
    "num_attention_heads": 8,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "transformers_version": "5.23.0",
}

TINY_F16 = {
    **COMMON_CONFIG,
    "dtype": "float16",
    "head_dim": 16,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "transformers_version": "5.23.0",
}

TINY_LLAMA3 = {
    **COMMON_CONFIG,
    "head_dim": 16,
    "intermediate_size": 96,
    "num_attention_heads": 8,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rope_scaling": {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 64,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.45.0",
}

# What a variant can do, in this order: `set` and `remove` keys of the config; `copy` tensors to new names, `drop` and `rename`
# them, `add_prefix` or `strip_prefix` of all names, `fill` new tensors of a shape with one number.
VARIANT_STEPS = ("set", "remove", "copy", "drop", "rename", "strip_prefix", "add_prefix", "fill")
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TIED = {"tie_word_embeddings": True}
LINEAR = {"type": "linear", "factor": 4.0}
BIASES = {f"model.layers.{layer}.self_attn.{name}_proj.bias": size for layer in (0, 1) for name, size in (("q", 64), ("o", 64))}
VARIANTS = {
    "as it is": {},
    "pretraining_tp of LLaMA-2 13B": {"set": {"pretraining_tp": 2}},
    "activation by its other name": {"set": {"hidden_act": "swish"}},
    "Infinity in the config": {"set": {"time_step_limit": [0.0, float("inf"), float("-inf"), float("nan")]}},
    "base in rope_scaling": {"set": {"rope_scaling": {"rope_type": "default", "rope_theta": 100.0}}, "remove": ["rope_parameters"]},
    "base beside an empty rope_parameters": {"set": {"rope_theta": 100.0, "rope_parameters": {}}},
    "rope_scaling before rope_parameters": {"set": {"rope_scaling": LINEAR, "rope_theta": 100.0}},
    "linear rope scaling": {"set": {"rope_scaling": LINEAR, "rope_theta": 10000.0}, "remove": ["rope_parameters"]},
    "linear rope scaling in rope_parameters": {"set": {"rope_parameters": {**LINEAR, "rope_theta": 10000.0}}},
    "dynamic rope scaling within the context": {"set": {"rope_scaling": {"type": "dynamic", "factor": 4.0}}},
    "llama3 rope scaling from a context of 256": {
        "set": {"rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 32.0}}
    },
    "rope scaling that scales nothing": {"set": {"rope_scaling": {"type": "linear", "factor": 1.0}}},
    "rope type default with a factor": {"set": {"rope_scaling": {"type": "linear", "rope_type": "default", "factor": 8.0}}},
    "tied, with another head stored": {"set": TIED},
    "tied, with both stored": {"set": TIED, "copy": {HEAD: EMBEDDING}},
    "tied, with the embedding stored": {"set": TIED, "drop": [HEAD]},
    "tied, with the head stored": {"set": TIED, "drop": [HEAD], "rename": {EMBEDDING: HEAD}},
    "names without model.": {"strip_prefix": "model."},
    "names with model. twice": {"add_prefix": "model."},
    "one name without model.": {"rename": {"model.norm.weight": "norm.weight"}},
    "biases of zeros": {"fill": {name: [[size], 0.0] for name, size in BIASES.items()}},
    "biases of zeros that the config has": {
        "set": {"attention_bias": True},
        "fill": {name: [[size], 0.0] for name, size in BIASES.items()},
    },
    "biases in the config alone": {"set": {"attention_bias": True, "mlp_bias": True}},
    "a window of the whole context": {"set": {"sliding_window": 256, "attention_chunk_size": 4}},
    "full attention beside a short window": {"set": {"layer_types": ["full_attention"] * 2, "sliding_window": 4}},
    "an epsilon of zero": {"set": {"rms_norm_eps": 0.0}},
    "llama3 rope scaling from a context of 128.0": {
        "set": {
            "rope_scaling": {
                "type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 32.0,
                "original_max_position_embeddings": 128.0,
            }
        }
    },
    "a weight under three names": {"copy": {"norm.weight": "model.norm.weight", "model.model.norm.weight": "model.norm.weight"}},
    "parts that the model does not have": {
        "fill": {
            "model.layers.0.self_attn.rotary_emb.inv_freq": [[8], 1.0],
            "v_head.summary.bias": [[1], 0.5],
            "score.weight": [[2, 64], 0.5],
        }
    },
}
# Read wrongly, these would have the tokens of the first.
TELLING = ("base", "linear", "llama3", "tied, with both", "rope_scaling before")

CORPUS = """
A large language model reads a prompt and writes the next token, and then the next token after that. The prompt is
read in one forward pass, the prefill; every token after it takes a forward pass of its own, the decode. The keys
and the values of the tokens that were read are kept in a cache, so that no token is read twice. The latency of the
prompt grows with its length, and the latency of a token grows with the size of the weights, which all have to come
from memory for every token. Larger batches share the weights between the prompts of the batch, so the throughput
grows with the batch size until the memory is full or the arithmetic takes longer than the reading. What is the
capital of France? The capital of France is Paris. Once upon a time there was a llama that lived in the mountains,
and it was the fastest of all the llamas there.
"""


def random_weights(config, seed):
    generator = torch.Generator().manual_seed(seed)

    def matrix(rows, columns):
        return torch.randn(rows, columns, generator=generator) * MATRIX_STD

    def norm():
        return 1 + 0.1 * torch.randn(hidden, generator=generator)

    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    head_dim = config.get("head_dim", hidden // config["num_attention_heads"])
    query, key_value = head_dim * config["num_attention_heads"], head_dim * config["num_key_value_heads"]
    weights = {"model.embed_tokens.weight": matrix(VOCAB_SIZE, hidden)}
    for layer in range(config["num_hidden_layers"]):
        weights |= {
            f"model.layers.{layer}.{name}": tensor
            for name, tensor in (
                ("input_layernorm.weight", norm()),
                ("self_attn.q_proj.weight", matrix(query, hidden)),
                ("self_attn.k_proj.weight", matrix(key_value, hidden)),
                ("self_attn.v_proj.weight", matrix(key_value, hidden)),
                ("self_attn.o_proj.weight", matrix(hidden, query)),
                ("post_attention_layernorm.weight", norm()),
                ("mlp.gate_proj.weight", matrix(intermediate, hidden)),
                ("mlp.up_proj.weight", matrix(intermediate, hidden)),
                ("mlp.down_proj.weight", matrix(hidden, intermediate)),
            )
        }
    weights["model.norm.weight"] = norm()
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = matrix(VOCAB_SIZE, hidden)
    dtype = getattr(torch, config.get("dtype") or config["torch_dtype"])
    return {name: tensor.to(dtype).contiguous() for name, tensor in weights.items()}


def save_tensors(tensors, path):
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def save_weights(weights, folder, shards):
    if shards == 1:
        save_tensors(weights, folder / "model.safetensors")
        return
    names = list(weights)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[len(names) * shard // shards : len(names) * (shard + 1) // shards]
        save_tensors({name: weights[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    total_size = sum(tensor.nbytes for tensor in weights.values())
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def save_tokenizer(folder):
    """A byte-level BPE over ASCII text; any other byte becomes <unk>."""
    ascii_bytes = [chr(code) for code in range(ord("!"), ord("~") + 1)] + ["Ġ", "Ċ", "ĉ"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, special_tokens=SPECIAL_TOKENS, initial_alphabet=ascii_bytes, show_progress=False)
    tokenizer.train_from_iterator([CORPUS], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 256,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )

    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    text = "The capital of France is Paris.\n\tfn main() { return 42; }"
    ids = loaded(text)["input_ids"]
    assert len(loaded) == VOCAB_SIZE and ids[0] == 1 and len(ids) < len(text)
    assert loaded.decode(ids, skip_special_tokens=True) == text


@torch.no_grad()
def generate(model, prompt_ids):
    tokens, logits, cache, input_ids = [], [], None, prompt_ids
    for _ in range(MAX_NEW_TOKENS):
        output = model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        logits.append(output.logits[:, -1])
        input_ids = logits[-1].argmax(dim=-1, keepdim=True)
        tokens.append(input_ids)
    return torch.cat(tokens, dim=1), torch.stack(logits, dim=1)


def check(model, prompt_ids, tokens, logits):
    """The fixture can tell a right engine from a wrong one, and the cache changed nothing."""
    best, second = logits.topk(2, dim=-1).values.unbind(-1)
    gap = (best - second).min().item()
    assert gap > MIN_GAP, f"the best two logits are only {gap:.4f} apart: choose another seed"
    assert 0 not in tokens, "token 0 is chosen, which ONNX Runtime GenAI never does: choose another seed"
    for row in tokens.tolist():
        assert len(set(row)) >= MIN_DISTINCT_TOKENS, f"too few different tokens: {row}"
    assert len(set(map(tuple, tokens.tolist()))) == len(tokens)
    with torch.no_grad():
        whole = model(input_ids=torch.cat([prompt_ids, tokens[:, :-1]], dim=1), use_cache=False).logits
    torch.testing.assert_close(whole[:, prompt_ids.shape[1] - 1 :], logits, rtol=1e-4, atol=1e-4)
    return gap


def round_trip(rows):
    short = [[float(f"{value:.9g}") for value in row] for row in rows.tolist()]
    assert torch.equal(torch.tensor(short, dtype=torch.float32), rows)
    return short


def save_expected(folder, seed):
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    cases, gaps = [], []
    for batch_size, prompt_length in CASES:
        shape = (batch_size, prompt_length)
        prompt_ids = torch.randint(len(SPECIAL_TOKENS), VOCAB_SIZE, shape, generator=generator)
        tokens, logits = generate(model, prompt_ids)
        gaps.append(check(model, prompt_ids, tokens, logits))
        cases.append(
            {
                "prompt_ids": prompt_ids.tolist(),
                "max_new_tokens": MAX_NEW_TOKENS,
                "decode_forwards": MAX_NEW_TOKENS - 1,
                "tokens": tokens.tolist(),
                "prompt_logits": round_trip(logits[:, 0]),
                "decode_logits": round_trip(logits[:, -1]),
            }
        )
    assert_scaling_tells(model, cases)
    versions = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    (folder / "expected.json").write_text(json.dumps({**versions, "cases": cases}, separators=(",", ":")) + "\n")
    return min(gaps)


def save_variants():
    """Each variant of tiny-f16 with the tokens that transformers gets from it, greedily, for its first unambiguous prompt."""
    plain, found = None, []
    for name, steps in VARIANTS.items():
        assert set(steps) <= set(VARIANT_STEPS)
        with tempfile.TemporaryDirectory() as folder:
            write_variant(Path(folder), steps)
            model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        for seed in range(1000):
            generator = torch.Generator().manual_seed(seed)
            prompt_ids = torch.randint(len(SPECIAL_TOKENS), VOCAB_SIZE, (1, 12), generator=generator)
            tokens, logits = generate(model.eval(), prompt_ids)
            best, second = logits.topk(2, dim=-1).values.unbind(-1)
            if (best - second).min() > MIN_GAP:
                break
        else:
            raise AssertionError(f"{name}: no prompt has unambiguous tokens")
        tokens = tokens[0].tolist()
        plain = plain or tokens
        assert not name.startswith(TELLING) or tokens != plain, name
        found.append({"name": name, "steps": steps, "prompt_ids": prompt_ids[0].tolist(), "tokens": tokens})
    lines = ",\n".join(json.dumps(variant) for variant in found)
    (FIXTURES / "variants.json").write_text(f"[\n{lines}\n]\n")
    print(f"variants.json: {len(found)} variants")


def write_variant(folder, steps):
    config = json.loads((FIXTURES / "tiny-f16" / "config.json").read_text()) | steps.get("set", {})
    config = {key: value for key, value in config.items() if key not in steps.get("remove", ())}
    tensors = load_file(FIXTURES / "tiny-f16" / "model.safetensors")
    tensors |= {new: tensors[old].clone() for new, old in steps.get("copy", {}).items()}
    renamed = {}
    for name, tensor in tensors.items():
        if name not in steps.get("drop", ()):
            name = steps.get("rename", {}).get(name, name)
            renamed[steps.get("add_prefix", "") + name.removeprefix(steps.get("strip_prefix", ""))] = tensor
    for name, (shape, value) in steps.get("fill", {}).items():
        renamed[name] = torch.full(shape, value, dtype=torch.float16)
    save_tensors(renamed, folder / "model.safetensors")
    write_json(folder / "config.json", config)


def assert_scaling_tells(model, cases):
    """An engine that does not scale rotary frequencies finds other tokens."""
    rotary = model.model.rotary_emb
    if rotary.rope_type == "default":
        return
    rotary.inv_freq, _ = rotary.compute_default_rope_parameters(model.config)
    for case in cases:
        assert generate(model, torch.tensor(case["prompt_ids"]))[0].tolist() != case["tokens"]


def make(name, config, seed, shards=1, tokenizer=False):
    folder = FIXTURES / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config)
    save_weights(random_weights(config, seed), folder, shards)
    if tokenizer:
        save_tokenizer(folder)
    gap = save_expected(folder, seed + 1)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{name}: {size / 1000:.0f} kB, smallest gap between the best two logits {gap:.4f}")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    make("tiny-mha", TINY_MHA, seed=92, tokenizer=True)
    make("tiny-gqa", TINY_GQA, seed=6, shards=2)
    make("tiny-f16", TINY_F16, seed=274)
    make("tiny-llama3", TINY_LLAMA3, seed=216)
    save_variants()


if __name__ == "__main__":
    main()
