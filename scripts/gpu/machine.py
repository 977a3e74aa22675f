"""What this machine is: its NVIDIA driver and GPU, whether a bundle fits it, and which engines can use it."""

import ctypes
import json
import os
import platform
import re
import subprocess
import sys

from installation import Unusable

# Where NVIDIA's driver is on machines that do not tell the dynamic loader.
DRIVER_FOLDERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib")

# Asks the driver in a process of its own, so that this one never holds the GPU.
GPU_PROBE = """
import ctypes, json, sys
try:
    driver = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    sys.exit(f"no NVIDIA driver: {error}")
def call(name, *arguments):
    code = getattr(driver, name)(*arguments)
    if code != 0:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(text))
        sys.exit(f"the NVIDIA driver: {text.value.decode() if text.value else 'unknown error'} ({name}: {code})")
call("cuInit", 0)
version, count, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
call("cuDriverGetVersion", ctypes.byref(version))
call("cuDeviceGetCount", ctypes.byref(count))
if count.value == 0:
    sys.exit("the NVIDIA driver reports no GPU")
call("cuDeviceGet", ctypes.byref(device), 0)
name, memory, parts = ctypes.create_string_buffer(256), ctypes.c_size_t(), []
call("cuDeviceGetName", name, 256, device)
call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
for attribute in (75, 76):
    value = ctypes.c_int()
    call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
    parts.append(value.value)
print(json.dumps({"name": name.value.decode(), "memory_bytes": memory.value, "architecture": 10 * parts[0] + parts[1],
                  "driver_cuda": version.value // 1000, "gpus": count.value}))
"""


def driver_folder():
    """The folder of NVIDIA's driver where the dynamic loader does not know it."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return next((folder for folder in DRIVER_FOLDERS if os.path.exists(f"{folder}/libcuda.so.1")), None)
    return None


def probe_gpu(folder):
    """The driver's facts about the first GPU.

    Raises Unusable where there is none.
    """
    variables = dict(os.environ)
    if folder:
        variables["LD_LIBRARY_PATH"] = ":".join(filter(None, [folder, variables.get("LD_LIBRARY_PATH")]))
    try:
        done = subprocess.run([sys.executable, "-c", GPU_PROBE], env=variables, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise Unusable("no GPU can be used: the NVIDIA driver did not answer within a minute") from None
    if done.returncode != 0:
        why = (done.stderr.strip() or f"asking the driver ended with {done.returncode}").splitlines()[-1]
        raise Unusable(f"no GPU can be used: {why}")
    return json.loads(done.stdout)


def misfits(versions, torch, gpu):
    """Reasons why this machine does not fit the bundle."""
    needs, found = versions["needs"], []
    libc, glibc = platform.libc_ver()
    if libc == "glibc" and numbers(glibc) < numbers(needs["glibc"]):
        found.append(f"the programs need glibc {needs['glibc']} or newer, and this machine has {glibc}")
    if torch.version is not None and torch.version.split("+")[0] != needs["torch"]:
        found.append(f"the programs are built against torch {needs['torch']}, and {torch.folder} is {torch.version}")
    if gpu is None:
        return found
    if torch.cuda is None or torch.cuda.split(".")[0] != needs["cuda"]:
        found.append(f"torch must be built for CUDA {needs['cuda']}, and this one is for {torch.cuda or 'no CUDA'}")
    if gpu["driver_cuda"] < int(needs["cuda"]):
        found.append(f"the NVIDIA driver is for CUDA {gpu['driver_cuda']}, too old for CUDA {needs['cuda']}, which came with 580")
    if gpu["architecture"] != versions["architecture"]:
        here, there = gpu["architecture"], versions["architecture"]
        found.append(f"{gpu['name']} is sm_{here}, and the bundle has code for sm_{there}: make it with --arch {here}")
    return found


def numbers(version):
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def unusable_engines(installation, engines_file, engines, device):
    """Engines that can't use the device, with the reason that `doctor` gives."""
    command = [installation.program, "doctor", "--json", "--engines-file", engines_file]
    said = ""
    try:
        done = subprocess.run(command, env=installation.variables, capture_output=True, text=True, timeout=180)
        said = done.stderr.strip()
        answers = {answer["engine"]: answer for answer in json.loads(done.stdout)}
        return {engine: why for engine in engines if (why := whats_wrong(answers[engine], device))}
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        # The steps show what is wrong: every engine is tried.
        print(f"warning: `doctor --json` gave no answer, so all engines are tried: {said or repr(error)}", flush=True)
        return {}


def whats_wrong(answer, device):
    """The reason why the engine of one of doctor's answers can't use the device; None if it can."""
    if not answer.get("hello"):
        return str(answer.get("unusable") or "it does not answer")
    devices = {entry["device"]: entry["unusable"] for entry in answer["hello"]["devices"]}
    if device in devices:
        return devices[device]
    return devices.get(device.split(":")[0]) or f"it has no {device}"
