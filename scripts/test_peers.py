"""Tests of peers.py on tiny packages made on the spot, in a real virtual environment. Run: python3 scripts/test_peers.py"""

import contextlib
import hashlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True

import peers
import setup

SCRIPTS = Path(peers.__file__).resolve().parent
MODULE = "answer = 42\n"
# A build tool that is installed as a wheel, as the one of llama.cpp is.
BUILDER = """
import os, zipfile

def build_wheel(folder, *settings):
    name = "built-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for file, text in (("built.py", "answer = 43\\n"), ("built-1.0.dist-info/METADATA", open("PKG-INFO").read()),
                           ("built-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"),
                           ("built-1.0.dist-info/RECORD", "")):
            archive.writestr(file, text)
    return name
"""


def metadata(name):
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"


def pin(path):
    return f"{path.name.split('-')[0]}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@unittest.skipIf(sys.version_info < peers.OLDEST_PYTHON, "the peers need a newer Python")
@unittest.skipUnless(importlib.util.find_spec("ensurepip"), "needs python3-venv")
class Peers(unittest.TestCase):
    """One environment for all tests, as making it takes seconds: each puts right what it broke."""

    @classmethod
    def setUpClass(cls):
        cls.top = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.runtime, cls.scripts, index = (cls.top / name for name in ("runtime", "scripts", "index"))
        cls.scripts.mkdir()
        index.mkdir()
        environment = {"LLAMA2_BENCH_RUNTIME": str(cls.runtime), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_NO_CACHE_DIR": "1"}
        cls.enterClassContext(mock.patch.dict(os.environ, environment))
        cls.enterClassContext(mock.patch.object(peers, "SCRIPTS", cls.scripts))
        cls.enterClassContext(mock.patch.object(peers, "detect_variant", return_value="cpu"))
        wheels = [cls.wheel(index, "peer", MODULE), cls.wheel(index, "builder", BUILDER)]
        cls.requirements = cls.scripts / "peers-requirements.txt"
        cls.requirements.write_text("".join(map(pin, wheels)))
        (cls.scripts / "peers-source-requirements.txt").write_text(pin(cls.source(index)))
        cls.first = cls.install()

    @staticmethod
    def wheel(index, name, text):
        path = index / f"{name}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}.py", text)
            archive.writestr(f"{name}-1.0.dist-info/METADATA", metadata(name) + "Requires-Dist: not-in-the-lock\n")
            archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{name}-1.0.dist-info/RECORD", f"{name}.py,,{len(text)}\n")
        return path

    @staticmethod
    def source(index):
        path = index / "built-1.0.tar.gz"
        project = '[build-system]\nrequires = ["not-on-the-index"]\nbuild-backend = "builder"\n'
        with tarfile.open(path, "w:gz") as archive:
            for name, text in (("pyproject.toml", project), ("PKG-INFO", metadata("built"))):
                member = tarfile.TarInfo(f"built-1.0/{name}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        return path

    @staticmethod
    def install():
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = setup.exit_code(peers.install_all)
        return code, out.getvalue(), err.getvalue()

    def site(self):
        [folder] = self.runtime.glob("peers/lib/python*/site-packages")
        return folder

    def answers(self):
        program = "import peer, built; print(peer.answer, built.answer)"
        done = subprocess.run([self.runtime / "peers/bin/python", "-c", program], capture_output=True, text=True)
        return done.stdout.strip()

    def test_wheels_are_installed_and_sources_built_with_tools_of_the_lock(self):
        self.assertEqual((self.first[0], self.first[2]), (0, ""))
        self.assertEqual(self.answers(), "42 43")
        self.assertEqual((self.site() / "peer.py").read_text(), MODULE)

    def test_setup_takes_the_folder(self):
        with setup.Runtime(self.runtime).lock():
            pass

    def test_what_was_damaged_is_put_back(self):
        module, record = self.site() / "peer.py", self.site() / "peer-1.0.dist-info/RECORD"
        damages = (
            lambda: module.write_text("answer"),
            record.unlink,
            lambda: (module.unlink(), (module / "folder").mkdir(parents=True)),
            lambda: os.truncate(self.site() / "pip/__init__.py", 3),
        )
        for damage in damages:
            damage()
            code, out, err = self.install()
            self.assertEqual((code, err), (0, ""))
            self.assertRegex(out, r"peers: (peer-1\.0|pip-\S+) is not as it was installed, and is put back")
            self.assertEqual((self.answers(), module.read_text()), ("42 43", MODULE))
        self.assertNotIn("put back", self.install()[1])

    def test_another_hash_or_none_is_refused(self):
        good = self.requirements.read_text()
        self.addCleanup(self.install)
        self.addCleanup(self.requirements.write_text, good)
        (self.site() / "peer.py").unlink()
        for pinned, error in (
            (re.sub(r"(?m)^(peer==.*:)\w+$", r"\g<1>" + "0" * 64, good), r"peer==1\.0 does not have the pinned hash, .*"),
            ("peer==1.0\n", "Hashes are required in --require-hashes mode, .*"),
        ):
            self.requirements.write_text(pinned)
            code, _, err = self.install()
            self.assertEqual(code, 2)
            self.assertRegex(err, rf"^error: {error} \(pip's log: .*\n$")
            self.assertFalse((self.site() / "peer.py").exists())


class Locks(unittest.TestCase):
    def test_everything_has_one_version_and_hashes_and_what_is_asked_for_is_there(self):
        for source in SCRIPTS.glob("*-requirements.in"):
            name = source.name.removesuffix("-requirements.in")
            locks = [path.read_text() for path in SCRIPTS.glob(f"{name}-*requirements.txt")]
            lines = [line for lock in locks for line in lock.replace("\\\n", "").splitlines() if not line.startswith("#")]
            for line in lines:
                self.assertRegex(line, r"^[\w.-]+==[^\s;]+( ; [^;]+)?( +--hash=sha256:[0-9a-f]{64})+$")
            locked = {line.split()[0] for line in lines}
            wanted = re.findall(r"(?m)^([\w.-]+==\S+)$", source.read_text())
            self.assertGreater(len(wanted), 0)
            self.assertLessEqual(set(wanted), locked)


if __name__ == "__main__":
    unittest.main()
