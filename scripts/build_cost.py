#!/usr/bin/env python3
"""What a build costs: `make bench` from nothing, and a rebuild, of each revision.

    python3 scripts/build_cost.py [--test] [--rounds N] [--out FILE] [REVISION...]

Each revision (the checked-out one by default) is cloned into target/build-cost and built there with nothing built before.
The libraries that `make setup` fetches are those of this clone, so that no download is measured. Per revision, one after the
other, and again from the first in each further round:

    make bench            from nothing: until it ends, and until its first table of figures
    make build            after a change in crates/cli, and after one in crates/protocol
    make test             with --test: from nothing, in a folder of its own

Wall-clock time is this script's; CPU time is that of every process started, as the kernel counts it. Measure on an idle
machine: CPU time depends less on what else runs than wall-clock time does, but it does. The result is a table in Markdown, of
medians where there are several rounds.

Exit codes: 0 measured, 2 a command failed, and its last lines are shown.
"""

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
WORK = REPOSITORY / "target" / "build-cost"
RUNTIME = Path(os.environ.get("LLAMA2_BENCH_RUNTIME") or REPOSITORY / ".runtime").absolute()
# A row of a table of cells: an engine, its batch size, its prompt length.
FIRST_ROW = re.compile(r"^\s*\|?\s*(onnxruntime|pytorch-eager|pytorch-compile)\s*\|?\s+1\s*\|?\s+16\s")
PROGRAMS = ("llama2-bench", "llama2-bench-onnxruntime", "llama2-bench-torch")


class Failed(Exception):
    pass


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(clone, words, environment):
    """Runs a command in a clone: its wall-clock and CPU seconds, and the second in which it printed a first table."""
    begin, before, first_table, lines = time.monotonic(), cpu_seconds(), None, []
    with subprocess.Popen(
        words, cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            lines.append(line)
            if first_table is None and FIRST_ROW.match(line):
                first_table = time.monotonic() - begin
    if process.returncode != 0:
        raise Failed(f"{' '.join(words)} in {clone}: exit code {process.returncode}\n{''.join(lines[-20:])}")
    return time.monotonic() - begin, cpu_seconds() - before, first_table


def cost(revision, with_test):
    """Every figure of one revision, by name, in seconds or bytes."""
    clone = WORK / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", REPOSITORY, clone], check=True)
    subprocess.run(["git", "-C", clone, "checkout", "--quiet", "--detach", revision], check=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CARGO_", "LLAMA2_BENCH_"))}
    environment = clean | {"LLAMA2_BENCH_RUNTIME": str(RUNTIME)}
    figures = {}

    def measure(name, words, extra=None):
        print(f"{revision}: {name}", file=sys.stderr, flush=True)
        wall, cpu, first_table = measured(clone, words, environment | (extra or {}))
        figures[f"{name}, wall-clock s"] = wall
        figures[f"{name}, CPU s"] = cpu
        return first_table

    first_table = measure("make bench from nothing", ["make", "bench"])
    figures["first table after, s"] = first_table
    for crate, file in (("cli", "crates/cli/src/main.rs"), ("protocol", "crates/protocol/src/lib.rs")):
        with open(clone / file, "a") as source:
            source.write("// A change.\n")
        measure(f"make build after a change in {crate}", ["make", "build"])
    release = clone / "target" / "release"
    for program in PROGRAMS:
        figures[f"{program}, MB"] = (release / program).stat().st_size / 1e6
    figures["target/release, MB"] = sum(file.stat().st_blocks * 512 for file in release.rglob("*") if not file.is_symlink()) / 1e6
    if with_test:
        shutil.rmtree(clone / "target")
        subprocess.run(["git", "-C", clone, "checkout", "--quiet", "."], check=True)
        measure("make test from nothing", ["make", "test"], {"CI": "true", "CARGO_INCREMENTAL": "0"})
    shutil.rmtree(clone)
    return figures


def table(revisions, rounds):
    names = [subprocess.check_output(["git", "-C", REPOSITORY, "rev-parse", "--short", r], text=True).strip() for r in revisions]
    yield f"| | {' | '.join(names)} |" + (" ratio |" if len(names) == 2 else "")
    yield "|---|" + "---:|" * (len(names) + (len(names) == 2))
    for figure in rounds[0][0]:
        values = []
        for index in range(len(revisions)):
            seen = [figures[index][figure] for figures in rounds]
            values.append(None if None in seen else statistics.median(seen))
        cells = ["-" if value is None else f"{value:.1f}" for value in values]
        if len(values) == 2:
            cells.append("-" if None in values else f"{values[1] / values[0]:.2f}")
        yield f"| {figure} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description="What a build costs, from nothing and after a change.")
    parser.add_argument("revisions", metavar="REVISION", nargs="*", default=["HEAD"], help="what to build (default: HEAD)")
    parser.add_argument("--rounds", type=int, default=1, help="how often to build each (default: 1)")
    parser.add_argument("--test", action="store_true", help="also run `make test` from nothing")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        rounds = [[cost(revision, arguments.test) for revision in arguments.revisions] for _ in range(arguments.rounds)]
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = "\n".join(table(arguments.revisions, rounds)) + "\n"
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
