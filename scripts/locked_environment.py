"""Install a tool of this repository in target/, at the versions and hashes that lock_requirements.py wrote."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)


def locked_environment(name):
    """The folder of the programs of scripts/NAME-requirements.txt: target/NAME-venv/bin. Exits with 2 where they can't be installed.

    The environment is made anew, unless it was made of these requirements by this Python.
    """
    environment = SCRIPTS.parent / "target" / f"{name}-venv"
    requirements = SCRIPTS / f"{name}-requirements.txt"
    stamp = environment / "stamp"
    wanted = f"{sys.executable} {sys.version}\n{requirements.read_text()}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return environment / "bin"
    if sys.version_info < OLDEST_PYTHON:
        fail(name, f"{requirements.name} is for Python {'.'.join(map(str, OLDEST_PYTHON))} or newer; this is {sys.version.split()[0]}")
    print(f"{name}: installing {requirements.name} into {environment}", file=sys.stderr)
    shutil.rmtree(environment, ignore_errors=True)
    try:
        venv.create(environment, with_pip=True)
    except subprocess.CalledProcessError:
        fail(name, f"no virtual environment in {environment}: install python3-venv (Debian: apt-get install python3-venv)")
    pip = [environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    words = ["--no-deps", "--require-hashes", "--only-binary=:all:", f"--requirement={requirements}"]
    if subprocess.run([*pip, *words]).returncode != 0:
        fail(name, f"pip could not install {requirements.name}: its reason is above")
    stamp.write_text(wanted)
    return environment / "bin"


def fail(name, message):
    print(f"{name}: {message}", file=sys.stderr)
    sys.exit(2)
