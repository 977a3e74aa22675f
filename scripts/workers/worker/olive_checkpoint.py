"""Writes a checkpoint with quantized weights in the layout of Olive, which ONNX Runtime GenAI's model builder reads."""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

# Parts of a quantized weight in compressed-tensors' layout, and in Olive's.
PACKED, SCALE = ".weight_packed", ".weight_scale"
OLIVE_PACKED, OLIVE_SCALE = ".qweight", ".scales"
# The builder knows no scale of a whole output channel that ONNX Runtime's operator takes.
LONGEST_GROUP = 128


def write_olive(checkpoint, folder, bits, group_size):
    """Fills `folder`; with a `group_size` of 0 each output channel has one scale, which is then repeated."""
    group_size = group_size or _largest_group(checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "olive", "bits": bits, "group_size": group_size, "symmetric": True}
    (folder / "config.json").write_text(json.dumps(config, indent=4))
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            save_file(dict(_converted(tensors, bits, group_size)), folder / path.name)
    for path in checkpoint.glob("*.safetensors.index.json"):
        shutil.copyfile(path, folder / path.name)


def _converted(tensors, bits, group_size):
    # An open file is not iterable.
    for name in tensors.keys():  # noqa: SIM118
        if name.endswith(PACKED):
            # Codes plus 8 or 128, the first of two in the low half of a byte: as ONNX Runtime takes them.
            packed = tensors.get_tensor(name).view(torch.uint8)
            scales = tensors.get_tensor(name.removesuffix(PACKED) + SCALE)
            groups = packed.shape[1] * 8 // bits // group_size
            yield name.removesuffix(PACKED) + OLIVE_PACKED, packed
            yield name.removesuffix(PACKED) + OLIVE_SCALE, scales.repeat_interleave(groups // scales.shape[1], 1)
        elif not name.endswith((SCALE, ".weight_shape")):
            yield name, tensors.get_tensor(name)


def _largest_group(checkpoint):
    """The largest power of 2 that divides the inputs of every projection."""
    config = json.loads((checkpoint / "config.json").read_text())
    heads = config["num_attention_heads"] * (config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    group_size = LONGEST_GROUP
    while any(inputs % group_size for inputs in (config["hidden_size"], config["intermediate_size"], heads)):
        group_size //= 2
    return group_size


if __name__ == "__main__":
    checkpoint, folder, bits, group_size = sys.argv[1:]
    write_olive(Path(checkpoint), Path(folder), int(bits), int(group_size))
