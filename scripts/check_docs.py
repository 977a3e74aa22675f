#!/usr/bin/env python3
"""Check the README, the guides and results/README.md: every command runs, and prints what they show.

    python3 scripts/check_docs.py [--programs target/debug] [--write]

Commands are the lines of ```sh blocks, and those after `$ ` in ```console blocks, whose other lines must be printed, in this order
(`…` is any number of lines). They run in a temporary folder with links to the repository and runs of the mock engine. What needs
more (a GPU, peers, MPI, a network, minutes) is named with its reason, and parsed by the program. --write puts what is printed now
into console blocks without `…`, and kept tables between `<!-- results/NAME/table.md -->` and `<!-- end -->`.
"""

import argparse
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LINKED = ["Makefile", "configs", "crates", "docs", "examples", "fixtures", "results", "scripts"]
# A peer's name, so that its results can be compared with llama-bench's.
ENGINES = "[mock]\ncommand = ['llama2-bench-mock']\n[llama-cpp]\ncommand = ['llama2-bench-mock']\n"
PREPARED = "run --batch-size 1 --prompt-length 16,64 --generation-length 128 --replicates 6 --no-verify"
# What is not run, and why: the first pattern that is found in the command.
NOT_RUN = [
    (r"^make ", "takes minutes and a network"),
    (r"^(\.|export|git|docker|ln|pip|python3 -m venv|uvx|nsys|ncu|bencher|benchstat|go|llama-bench) ", "another program"),
    (r"^ssh ", "needs another machine"),
    (r"^llama2-bench serve ", "runs until Ctrl-C"),
    (r"--engines-file configs/peers|run .*pytorch-aoti", "needs peers"),
    (r"^scripts/(gpu-bundle|run-gpu-checks)|^(?!.*--list).*cuda", "needs a GPU"),
    (r"^(?!.*--list).*(--world-size|--hostfile|--one-rank)", "needs MPI"),
    (r"synth --model tinyllama", "writes 4 GB"),
    (r"^scripts/gate.sh|^llama2-bench (run|noise|reproduce)\b(?!.*(--list|mock|--from|--resume))", "measures for minutes"),
]
# Flags that `--list` does not go with.
NO_LIST = {"--against", "--against-option", "--hostfile", "--profile", "--resume", "--shard"}
# Commands that say by exit codes 1 and 3 what they found.
VERDICTS = re.compile(r"^llama2-bench (audit|compare|history|noise|reproduce|run .*--against)")


class Place:
    """A folder like the one that a reader of the documentation has."""

    def __init__(self, folder, programs):
        self.folder, self.prepared, self.checkpoint = folder, folder / "runs/before", folder / "path/to/checkpoint"
        runtime = os.environ.get("LLAMA2_BENCH_RUNTIME", str(REPOSITORY / ".runtime"))
        cache = dict.fromkeys(("LLAMA2_BENCH_CACHE", "XDG_CACHE_HOME"), f"{folder}/cache")
        path = f"{programs}:{os.environ['PATH']}"
        self.environment = {**os.environ, **cache, "PATH": path, "LLAMA2_BENCH_RUNTIME": runtime}
        for name in LINKED:
            (folder / name).symlink_to(REPOSITORY / name)
        shutil.copy(REPOSITORY / "README.md", folder)
        for name in ("llama-bench.json", "llama-bench.jsonl"):
            shutil.copy(REPOSITORY / "crates/results/tests/import" / name, folder)
        text = (folder / "llama-bench.jsonl").read_text()
        (folder / "threads.jsonl").write_text(text + text.replace('"n_threads": 2', '"n_threads": 1'))
        (folder / "engines.toml").write_text(ENGINES)
        for name, own in (("before", "mock"), ("after", "mock --option mock.slowdown=0.9"), ("mine", "llama-cpp")):
            flags = f"--engines-file engines.toml --engine {own} --out runs/{name} --history kept"
            self.run(f"llama2-bench {PREPARED} {flags}")
        self.run("llama2-bench synth --model llama2-15m --out path/to/checkpoint")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(REPOSITORY / "fixtures/tiny-mha" / name, self.checkpoint)

    def run(self, command):
        """Returns what is printed; raises where the command fails."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
        )  # fmt: skip
        if done.returncode and not (done.returncode in (1, 3) and VERDICTS.match(command)):
            raise ValueError(f"exit code {done.returncode}: {done.stdout.strip()[-600:]}")
        return [line.rstrip() for line in done.stdout.splitlines()]

    def parse(self, command):
        """Checks what can be checked without running it."""
        words = shlex.split(command, comments=True)
        if words[:2] == ["docker", "run"]:
            image = next(place for place, word in enumerate(words) if re.match(r"llama2-bench(:|$)", word))
            words = ["llama2-bench", *(word.removeprefix("/opt/llama2-bench/") for word in words[image + 1 :])]
        elif words[0] == "docker":
            return
        for word in words:
            if word.split("/")[0] in LINKED and "/" in word and not (self.folder / word).exists():
                raise ValueError(f"{word} is not there")
        if words[0] == "make":
            self.run(shlex.join(["make", "-n", *words[1:]]))
        elif words[0] != "llama2-bench" and "llama2-bench" not in words:
            return
        else:
            own = words[words.index("llama2-bench") :]
            self.run(shlex.join([*own, "--help"]))
            if own[1] in ("run", "reproduce") and not NO_LIST & set(own):
                self.run(shlex.join(own if "--list" in own else [*own, "--list"]))
            # What stands in for a run, or a checkpoint, that was not made.
            for flag, folder in itertools.pairwise(own):
                if flag in ("--out", "-o") and own[1] in ("run", "synth") and not (self.folder / folder).exists():
                    shutil.copytree(self.prepared if own[1] == "run" else self.checkpoint, self.folder / folder)


def blocks(text):
    """The fenced blocks of commands: language, line of the fence (from 1), lines."""
    for match in re.finditer(r"^```(sh|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1], text.count("\n", 0, match.start()) + 1, match[2].splitlines()


def commands(language, lines):
    """Each command with the lines that it is shown to print."""
    found = []
    for line in lines:
        if found and found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1][0] = found[-1][0][:-1] + line.strip()
        elif language == "sh" or line.startswith("$ "):
            found.append([re.sub(r"  +#.*", "", line.removeprefix("$ ")), []])
        else:
            found[-1][1].append(line.rstrip())
    return [(command, shown) for command, shown in found if command and not command.startswith("#")]


def missing(shown, printed):
    """The first shown line that is not printed in its place."""
    rest, anywhere = iter(printed), False
    for line in shown:
        if line == "…":
            anywhere = True
        elif line not in rest if anywhere else line != next(rest, None):
            return line
        else:
            anywhere = False
    return None if anywhere else next(rest, None)


def check(path, place, write):
    """Checks one document; returns its failures."""
    text = new = (REPOSITORY / path).read_text()
    failures, skipped, run = [], [], 0
    for language, line, lines in blocks(text):
        block = []
        for command, shown in commands(language, lines):
            reason = next((reason for pattern, reason in NOT_RUN if re.search(pattern, command)), None)
            printed = shown
            try:
                if reason:
                    skipped.append(f"  not run, {reason}: {command}")
                    place.parse(command)
                else:
                    run += 1
                    printed = place.run(command)
                    wrong = missing(shown, printed) if shown else None
                    if wrong is not None and not (write and "…" not in shown):
                        failures.append(f"{path}:{line}: {command}: not printed as shown: {wrong}")
            except (ValueError, subprocess.TimeoutExpired) as error:
                failures.append(f"{path}:{line}: {command}: {error}")
            block += [f"$ {command}", *(shown if "…" in shown else printed)]
        if write and language == "console":
            new = new.replace("\n".join(lines) + "\n", "\n".join(block) + "\n", 1)
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    failures += [f"{path}: {link} is not there" for link in links if not ((REPOSITORY / path).parent / link).exists()]
    for span in re.findall(r"(?<!`)`(llama2-bench [a-z][^`…]*)`", text):
        try:
            place.run(f"{span} --help")
        except ValueError as error:
            failures.append(f"{path}: {span}: {error}")

    def kept(match):
        parts = (REPOSITORY / match[1]).read_text().split("\n\n")
        return f"<!-- {match[1]} -->\n\n" + "\n\n".join(p.strip() for p in parts if p.startswith("|")) + "\n\n<!-- end -->"

    tables = re.sub(r"^<!-- (results/\S+/table\.md) -->$.*?^<!-- end -->$", kept, new, flags=re.MULTILINE | re.DOTALL)
    if tables != new and not write:
        failures.append(f"{path}: a kept table is another one now: run scripts/check_docs.py --write")
    if write:
        (REPOSITORY / path).write_text(tables)
    if (count := len(text.splitlines())) > {"README.md": 150, "results/README.md": 10_000}.get(path, 80):
        failures.append(f"{path}: {count} lines are too many")
    if path == "README.md" and min((line for _, line, _ in blocks(text)), default=99) >= 30:
        failures.append(f"{path}: the first command is below line 30")
    print(f"{path}: {run} commands run, {len(skipped)} parsed", *skipped, sep="\n")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    built = sorted((REPOSITORY / "target").glob("*/llama2-bench"), key=lambda program: program.stat().st_mtime)
    parser.add_argument("--programs", type=Path, help="the folder of llama2-bench [default: the newest in target/]")
    parser.add_argument("--write", action="store_true", help="write what is printed now into the documents")
    parser.add_argument("documents", nargs="*", help="the documents to check [default: all]")
    arguments = parser.parse_args()
    if not (arguments.programs or built):
        sys.exit("check_docs: no llama2-bench in target/: run `make build`")
    programs = (arguments.programs or built[-1].parent).absolute()
    guides = sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs/guide").glob("*.md"))
    failures = []
    for path in arguments.documents or ["README.md", "results/README.md", *guides]:
        with tempfile.TemporaryDirectory() as folder:
            failures += check(path, Place(Path(folder), programs), arguments.write)
    sys.exit("\n".join(failures) or 0)


if __name__ == "__main__":
    main()
