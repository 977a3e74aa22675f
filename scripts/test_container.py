"""Tests of the Dockerfile. Run: python3 scripts/test_container.py

    python3 scripts/test_container.py --build FOLDER [--variant cpu|cuda] [--runtimes FOLDER]

The tests read it: that every path is there and passes .dockerignore, and who runs the program. --build also carries it out
without Docker (`make container-check`): each stage is a chroot in FOLDER, made by debootstrap where Docker would fetch Debian's
image. Two things differ from Docker. The toolchain of rust:... is the one of this machine, by a bind mount, with the crates that it
has downloaded. --runtimes copies runtimes that were fetched before, so that none are fetched (LLAMA2_BENCH_RUNTIME is the default).
Then `doctor`, and a cell of each engine without Python, run as the image's user and as another one. It takes root, Debian's
debootstrap, 5 GB and some minutes.
"""

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import unittest
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RUST, CARGO_HOME = "/usr/local/rust", "/usr/local/cargo"
ENGINES = "mock,onnxruntime,pytorch-eager,pytorch-compile"


@dataclass
class Stage:
    base: str
    name: str
    steps: list = field(default_factory=list)


def expand(text, variables):
    return re.sub(r"\$\{?(\w+)\}?", lambda name: variables.get(name[1], ""), text)


def parse(text):
    """The ARGs before the first stage, and the stages with their instructions."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    arguments, stages = {}, []
    for line in filter(str.strip, lines):
        word, rest = line.split(None, 1)
        if word == "FROM":
            found = re.fullmatch(r"(\S+)(?: AS (\S+))?", rest)
            stages.append(Stage(expand(found[1], arguments), found[2] or ""))
        elif not stages:
            name, _, value = rest.partition("=")
            arguments[name] = value
        else:
            stages[-1].steps.append((word, rest))
    return arguments, stages


def words_of(rest):
    """The words of a CMD, an ENTRYPOINT or another step in either of its forms."""
    return json.loads(rest) if rest.startswith("[") else shlex.split(rest)


class Context:
    """The files that a build may copy: what git keeps and .dockerignore lets through."""

    def __init__(self):
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
        )
        rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
        files = (name for name in listed.stdout.decode().splitlines() if (ROOT / name).is_file())
        self.files = sorted(name for name in files if self.passes(name, rules))

    @staticmethod
    def passes(name, rules):
        """The last rule that fits a path or a folder above it decides."""
        parts = name.split("/")
        above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        passes = True
        for rule in rules:
            pattern = rule.removeprefix("!")
            # `**/x` is x in any folder; `*` alone is everything.
            anywhere = pattern.removeprefix("**/")
            if any(path == pattern or fnmatch.fnmatchcase(path, pattern) for path in above) or (anywhere != pattern and anywhere in parts):
                passes = rule.startswith("!")
        return passes

    def under(self, source):
        """The files of a source of COPY, each with the path below it."""
        source = source.rstrip("/")
        if source == ".":
            return [(name, name) for name in self.files]
        if source in self.files:
            return [(source, os.path.basename(source))]
        return [(name, name[len(source) + 1 :]) for name in self.files if name.startswith(f"{source}/")]


class Dockerfile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.arguments, cls.stages = parse((ROOT / "Dockerfile").read_text())
        cls.context = Context()

    def steps(self, *words):
        return [(stage, rest) for stage in self.stages for word, rest in stage.steps if word in words]

    def test_the_default_is_the_cpu_variant_and_each_variant_is_a_stage(self):
        names = {stage.name for stage in self.stages}
        self.assertEqual((self.arguments["VARIANT"], self.stages[-1].base), ("cpu", "cpu"))
        for path in (ROOT / "scripts" / "runtimes").glob("torch-*.txt"):
            self.assertIn(path.stem.removeprefix("torch-"), names)

    def test_every_copied_path_is_in_the_context(self):
        for _, rest in self.steps("COPY"):
            words = rest.split()
            if not words[0].startswith("--from="):
                for source in words[:-1]:
                    self.assertTrue(self.context.under(source), source)

    def test_every_run_is_a_script_of_the_repository(self):
        for _, rest in self.steps("RUN"):
            script = next(word for word in words_of(rest) if word != "python3")
            name = script if script.startswith("scripts/") else f"scripts/container/{os.path.basename(script)}"
            self.assertTrue(os.access(ROOT / name, os.R_OK), name)
            self.assertTrue("python3" in rest or os.access(ROOT / name, os.X_OK), name)

    def test_the_context_has_what_the_workspace_includes_and_nothing_else(self):
        files = set(self.context.files)
        for path in (ROOT / "crates").rglob("*.rs"):
            if "tests" not in path.parts:
                for included in re.findall(r'include_(?:str|bytes)!\("(\.\./[^"]+)"\)', path.read_text()):
                    name = os.path.relpath(os.path.join(path.parent, included), ROOT)
                    self.assertIn(name, files, path)
        self.assertLessEqual({"Cargo.lock", "Makefile", "scripts/tarball.py", ".cargo/config.toml"}, files)
        self.assertFalse([name for name in files if name.startswith((".git", "target", "runs"))])

    def test_the_toolchain_is_new_enough(self):
        needed = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
        has = re.fullmatch(r"rust:(\d+)\.(\d+)\.\d+-slim-bookworm", self.stages[0].base)
        self.assertGreaterEqual(tuple(map(int, has.groups())), tuple(map(int, needed.split("."))))

    def test_the_program_is_not_run_by_root_and_writes_into_the_volume(self):
        runtime = dict(next(stage for stage in self.stages if stage.name == "runtime").steps)
        self.assertEqual(runtime["USER"], "1000:1000")
        self.assertEqual(runtime["VOLUME"], runtime["WORKDIR"])
        self.assertEqual(words_of(runtime["ENTRYPOINT"]), ["llama2-bench"])
        self.assertTrue(runtime["ENV"].split("=")[1].startswith(runtime["VOLUME"]))

    def test_a_rule_of_dockerignore(self):
        rules = ["*", "!scripts", "!docs/a.md", "**/__pycache__"]
        for name, passes in (
            ("scripts/setup.py", True), ("scripts/__pycache__/setup.pyc", False), ("docs/a.md", True), ("docs/b.md", False),
            ("README.md", False), ("target/release/x", False),
        ):  # fmt: skip
            self.assertEqual(Context.passes(name, rules), passes, name)


def say(text):
    print(f"container: {text}", flush=True)


class Build:
    """The stages of the Dockerfile as chroots in a folder, in a mount namespace of this process."""

    def __init__(self, folder, runtimes, variant):
        self.folder, self.runtimes = folder.absolute(), runtimes
        text = (ROOT / "Dockerfile").read_text().replace("ARG VARIANT=cpu", f"ARG VARIANT={variant}", 1)
        self.arguments, self.stages = parse(text)
        self.context = Context()
        self.made = {}

    def command(self, *words, **options):
        subprocess.run(words, check=True, **options)

    def debian(self):
        """A Debian of essential packages, made once."""
        base = self.folder / "debian"
        if not base.exists():
            say("debootstrap")
            partial = self.folder / "debian.partial"
            shutil.rmtree(partial, ignore_errors=True)
            words = ["debootstrap", "--variant=minbase", "bookworm", partial]
            self.command(*words, stdout=subprocess.DEVNULL)
            partial.rename(base)
        return base

    def begin(self, stage):
        """The folder, environment and state of a new stage."""
        root = self.folder / (stage.name or "final")
        above = self.made.get(stage.base)
        if above:
            # Only the last stages begin with another one, and they change nothing on disk.
            return dict(above, environment=dict(above["environment"]))
        shutil.rmtree(root, ignore_errors=True)
        self.command("cp", "--archive", "--reflink=auto", self.debian(), root)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        for name in ("proc", "dev"):
            self.command("mount", "--rbind", f"/{name}", root / name)
        state = {"root": root, "environment": {"PATH": PATH}, "workdir": "/", "user": (0, 0), "entry": [], "cmd": [], "arguments": {}}
        if stage.base.startswith("rust:"):
            self.add_rust(state)
        elif not stage.base.startswith("debian:bookworm"):
            raise SystemExit(f"container: no such base here: {stage.base}")
        return state

    def add_rust(self, state):
        """What the image rust:...-slim has more than Debian."""
        say("packages of the image rust")
        self.run(
            state,
            ["sh", "-c", "apt-get update -qq && apt-get install -qq -y --no-install-recommends ca-certificates gcc libc6-dev >/dev/null"],
        )
        sysroot = subprocess.run(["rustc", "--print", "sysroot"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
        registry = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "registry"
        for source, target in ((sysroot, RUST), (registry, f"{CARGO_HOME}/registry")):
            (state["root"] / target[1:]).mkdir(parents=True)
            self.command("mount", "--bind", source, state["root"] / target[1:])
        state["environment"].update(PATH=f"{RUST}/bin:{PATH}", CARGO_HOME=CARGO_HOME)

    def run(self, state, words, user=(0, 0), **options):
        environment = {**state["environment"], "DEBIAN_FRONTEND": "noninteractive"}
        inside = ["sh", "-c", 'cd "$0" && exec "$@"', state["workdir"], *words]
        chroot = ["chroot", f"--userspec={user[0]}:{user[1]}", "--groups=", state["root"], *inside]
        return subprocess.run(chroot, env=environment, check=options.pop("check", True), **options)

    def copy(self, state, rest):
        words = rest.split()
        target = os.path.join(state["workdir"], words[-1])
        place = state["root"] / target.lstrip("/")
        if words[0].startswith("--from="):
            source = self.made[words[0].partition("=")[2]]["root"] / words[1].lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            self.command("cp", "--archive", source, place)
            return
        for source in words[:-1]:
            for name, below in self.context.under(source):
                path = place / below if target.endswith(("/", ".")) else place
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, path)

    def step(self, state, word, rest):
        variables = {**state["arguments"], **state["environment"]}
        if word == "ARG":
            name, _, value = rest.partition("=")
            state["arguments"][name] = value or self.arguments.get(name, "")
        elif word == "ENV":
            name, _, value = rest.partition("=")
            state["environment"][name] = expand(value, variables)
        elif word == "WORKDIR":
            state["workdir"] = expand(rest, variables)
            (state["root"] / state["workdir"].lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            self.copy(state, expand(rest, variables))
        elif word == "RUN":
            if "scripts/setup.py" in rest and self.runtimes:
                say(f"runtimes of {self.runtimes}")
                place = state["root"] / state["workdir"].lstrip("/") / ".runtime"
                self.command("cp", "--archive", "--reflink=auto", self.runtimes, place)
            say(rest)
            self.run({**state, "environment": variables}, words_of(expand(rest, variables)))
        elif word == "USER":
            state["user"] = tuple(map(int, rest.split(":")))
        elif word in ("ENTRYPOINT", "CMD"):
            state["entry" if word == "ENTRYPOINT" else "cmd"] = words_of(rest)
        elif word != "VOLUME":
            raise SystemExit(f"container: no such instruction here: {word}")

    def build(self):
        """The state of the last stage. As with Docker, stages that it does not need are not built."""
        wanted, names = {self.stages[-1].name}, [self.stages[-1].base]
        by_name = {stage.name: stage for stage in self.stages}
        while names:
            name = names.pop()
            if name in by_name and name not in wanted:
                wanted.add(name)
                names.append(by_name[name].base)
                copies = [rest for word, rest in by_name[name].steps if word == "COPY" and rest.startswith("--from=")]
                names += [rest.split()[0].partition("=")[2] for rest in copies]
        for stage in self.stages:
            if stage.name in wanted:
                say(f"stage {stage.name or 'final'} from {stage.base}")
                self.made[stage.name] = self.begin(stage)
                for word, rest in stage.steps:
                    self.step(self.made[stage.name], word, rest)
        return self.made[self.stages[-1].name]

    def check(self, state):
        """The program as `docker run` starts it."""
        entry = state["entry"]
        printed = self.run(state, [*entry, "--version"], state["user"], capture_output=True, text=True).stdout.strip()
        say(printed)
        say("doctor")
        self.run(state, [*entry, "doctor"], state["user"])
        one_cell = f"run --engine {ENGINES} --batch-size 1 --prompt-length 16 --generation-length 128".split()
        for user, out in ((state["user"], "of-the-image"), ((4321, 4321), "of-another-user")):
            say(f"one cell as user {user[0]}")
            self.run(state, [*entry, *one_cell, "--out", out], user)
            table = state["root"] / "runs" / out / "table.md"
            found = table.stat()
            if (found.st_uid, found.st_gid) != user:
                raise SystemExit(f"container: {table} belongs to {found.st_uid}:{found.st_gid}, not to {user}")
        refused = self.run(state, ["touch", "/opt/llama2-bench/bin/x"], state["user"], check=False, stderr=subprocess.DEVNULL)
        if refused.returncode == 0:
            raise SystemExit("container: the user may change the programs")
        size = subprocess.run(["du", "-xsm", state["root"]], check=True, capture_output=True, text=True).stdout.split()[0]
        say(f"everything as it should be; the image has {size} MB")


def build(arguments):
    if os.environ.get("LLAMA2_BENCH_IN_NAMESPACE") != "1":
        # The mounts end with this process.
        os.environ["LLAMA2_BENCH_IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation=private", sys.executable, *sys.argv])
    arguments.build.mkdir(parents=True, exist_ok=True)
    try:
        made = Build(arguments.build, arguments.runtimes, arguments.variant)
        made.check(made.build())
    except FileNotFoundError as error:
        sys.exit(f"container: {error.filename} is missing (Debian: apt-get install debootstrap)")
    except subprocess.CalledProcessError as error:
        sys.exit(f"container: exit code {error.returncode}: {shlex.join(map(str, error.cmd))}")


def main():
    parser = argparse.ArgumentParser(description="Carry out the Dockerfile without Docker.")
    parser.add_argument("--build", type=Path, metavar="FOLDER", help="build the stages in this folder, and run the program")
    parser.add_argument("--variant", choices=("cpu", "cuda"), default="cpu", help="which runtimes; default: cpu")
    given = os.environ.get("LLAMA2_BENCH_RUNTIME")
    parser.add_argument("--runtimes", type=Path, metavar="FOLDER", default=given and Path(given), help="runtimes that were fetched before")
    arguments = parser.parse_args()
    if arguments.build:
        build(arguments)
    else:
        unittest.main(argv=sys.argv[:1])


if __name__ == "__main__":
    main()
