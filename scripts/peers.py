#!/usr/bin/env python3
"""Install the peers, the engines that people would otherwise use: `make peers`. configs/peers.toml names them.

    .runtime/peers    transformers, ONNX Runtime GenAI, llama.cpp (built here, some minutes), at the versions of
                      scripts/peers-requirements.txt; and, made by their workers, checkpoints, GGUF and ONNX models
    .runtime/vllm     vLLM, at the version of scripts/vllm-requirements.txt, where there is an NVIDIA driver

Set LLAMA2_BENCH_RUNTIME to use another folder than .runtime. A second run does what the first left undone.

Exit codes: 0 everything is in place, 2 it could not be done, 130 interrupted.
"""

import subprocess
import sys
import venv
from pathlib import Path

from setup import SetupError, detect_variant, exit_code, runtime_folder, say

SCRIPTS = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)


def install(environment, requirements):
    folder = runtime_folder() / environment
    say(f"{environment}: {requirements.name} into {folder}")
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    try:
        if not (folder / "bin" / "pip").exists():
            venv.create(folder, with_pip=True)
        subprocess.run([*pip, "--requirement", requirements], check=True)
    except subprocess.CalledProcessError as error:
        raise SetupError(f"pip ended with {error.returncode}: its reason is above") from None


def install_all():
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:2]))
        raise SetupError(f"the peers need Python {'.'.join(map(str, OLDEST_PYTHON))} or newer, and this is {found}")
    install("peers", SCRIPTS / "peers-requirements.txt")
    if detect_variant() == "cuda":
        install("vllm", SCRIPTS / "vllm-requirements.txt")
    else:
        say("vllm: left out, for there is no NVIDIA driver")


if __name__ == "__main__":
    sys.exit(exit_code(install_all))
