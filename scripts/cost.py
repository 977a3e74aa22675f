#!/usr/bin/env python3
"""What the project costs its users: building it, and the program on 20,000 cells. A table with a column for each revision.

    python3 scripts/cost.py [--only build,test,program] [--rounds N] [--out FILE] [REVISION...]

Each revision (the checked-out one by default) is cloned into target/cost and built there with nothing built before. The libraries
that `make setup` fetches are those of this clone, so that no download is measured.

build      `make bench` from nothing: until it ends, and until its first table; the share of its sweep that is none of timing, warm-ups,
           loading, verification and peaks; `make build` after a change in crates/cli
test       `make test` from nothing
program    its start; `run` of 20,000 cells of the mock engine; `table`, `audit`, `compare` and `report` of that run: time, memory, sizes;
           an earlier build of the revision is used where there is one

Revisions take turns in the third part, and its figures are medians of N rounds (5 by default); the others are measured once.
Wall-clock time is this script's. CPU time is the kernel's, of a command and all that it started; memory is that of the largest process
among these. Measure on an idle machine: CPU time depends less on what else runs than wall-clock time does, but it does.

Exit codes: 0 measured, 2 a command failed, and its last lines are shown.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
WORK = REPOSITORY / "target" / "cost"
RUNTIME = Path(os.environ.get("LLAMA2_BENCH_RUNTIME") or REPOSITORY / ".runtime").absolute()
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("CARGO_", "LLAMA2_BENCH_")) or name == "CARGO_HOME"
}
ENVIRONMENT |= {"LLAMA2_BENCH_RUNTIME": str(RUNTIME), "LLAMA2_BENCH_CACHE": str(WORK / "cache")}
# A row of a table of cells: an engine, its batch size, its prompt length.
FIRST_ROW = re.compile(r"^\s*\|?\s*(onnxruntime|pytorch-eager|pytorch-compile)\s*\|?\s+1\s*\|?\s+16\s")
OTHER = re.compile(r"^Finished in .* ([\d.]+) % other$")
PROGRAMS = ("llama2-bench", "llama2-bench-onnxruntime", "llama2-bench-torch")
SWEEP = f"""models = ["llama2-15m"]
engines = ["mock"]
batch_sizes = {list(range(1, 101))}
prompt_lengths = {list(range(1, 201))}
generation_length = 16
device = "cpu"
precision = "fp32"

[procedure]
warmup_runs = 0
prompt_runs = 3
generations = 1
"""


PARTS = ["build", "test", "program"]


class Failed(Exception):
    pass


def parts(text):
    asked = text.split(",")
    if unknown := set(asked) - set(PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    return asked


@dataclass
class Cost:
    wall: float
    cpu: float
    megabytes: float
    first_table: float | None
    other_share: float | None


def measure(words, folder, environment=ENVIRONMENT, found=(0,)):
    """Run a command: its cost, when it printed a first table, and the harness's own share of the last sweep that it finished. `found` are
    the exit codes of success."""
    print("$ " + " ".join(map(str, words)), file=sys.stderr, flush=True)
    begin, first_table, other_share, lines = time.monotonic(), None, None, []
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    for line in process.stdout:
        lines.append(line)
        if first_table is None and FIRST_ROW.match(line):
            first_table = time.monotonic() - begin
        if other := OTHER.match(line):
            other_share = float(other[1])
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode not in found:
        raise Failed(f"{' '.join(map(str, words))}: exit code {process.returncode}\n{''.join(lines[-20:])}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, first_table, other_share)


def clone(revision, folder):
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", REPOSITORY, folder], check=True)
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", "--detach", revision], check=True)


def build(folder):
    """Build a clone as `make bench` does: the figures, by name."""
    bench = measure(["make", "bench"], folder)
    figures = {
        "`make bench` from nothing, s": bench.wall,
        "its first table after, s": bench.first_table,
        "`make bench` from nothing, CPU s": bench.cpu,
        "the harness's own share of its sweep, %": bench.other_share,
    }
    # What a bench left out is built before a change is measured.
    measure(["make", "build"], folder)
    with open(folder / "crates/cli/src/main.rs", "a") as source:
        source.write("// A change.\n")
    figures["`make build` after a change in crates/cli, s"] = measure(["make", "build"], folder).wall
    for program in PROGRAMS:
        figures[f"`{program}`, MB"] = (folder / "target/release" / program).stat().st_size / 1e6
    return figures


def test(folder):
    cost = measure(["make", "test"], folder, ENVIRONMENT | {"CI": "true", "CARGO_INCREMENTAL": "0"})
    return {"`make test` from nothing, s": cost.wall, "`make test` from nothing, CPU s": cost.cpu}


def keep_programs(folder, programs):
    programs.mkdir(parents=True, exist_ok=True)
    for name in ("llama2-bench", "llama2-bench-mock"):
        shutil.copy(folder / "target/release" / name, programs)


def program(programs, folder):
    """One round of a revision's program on 20,000 cells; `folder` keeps its runs."""
    bench = programs / "llama2-bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.toml").write_text(SWEEP)
    starts = [measure([bench, "--version"], folder).wall for _ in range(20)]
    figures = {"start (`--version`), ms": statistics.median(starts) * 1e3}
    if not (folder / "run").exists():
        measure([bench, "run", "sweep.toml", "--out", "run", "--quiet"], folder)
    shutil.rmtree(folder / "timed", ignore_errors=True)
    costs = {
        "run": measure([bench, "run", "sweep.toml", "--out", "timed", "--quiet"], folder),
        "table": measure([bench, "table", "run", "--format", "csv"], folder),
        "audit": measure([bench, "audit", "run"], folder, found=(0, 1)),
        "compare": measure([bench, "compare", "run", "timed"], folder, found=(0, 1, 3)),
        "report": measure([bench, "report", "run", "--out", "report.html"], folder),
    }
    for name, cost in costs.items():
        figures[f"`{name}` of 20,000 cells, s"] = cost.wall
        figures[f"`{name}` of 20,000 cells, MB of memory"] = cost.megabytes
    for file in ("run/measurements.jsonl", "run/summary.csv", "report.html"):
        figures[f"{file}, MB"] = (folder / file).stat().st_size / 1e6
    return figures


def table(names, columns):
    two = len(names) == 2
    yield f"| | {' | '.join(names)} |" + (" ratio |" if two else "")
    yield "|---|" + "---:|" * (len(names) + two)
    for figure in columns[0]:
        values = [column.get(figure) for column in columns]
        cells = ["-" if value is None else f"{value:.4g}" for value in values]
        if two:
            cells.append("-" if None in values else f"{values[1] / values[0]:.2f}")
        yield f"| {figure} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description="What building and running the program costs.")
    parser.add_argument("revisions", metavar="REVISION", nargs="*", default=["HEAD"], help="what to measure (default: HEAD)")
    parser.add_argument("--only", type=parts, default=PARTS, metavar=",".join(PARTS), help="measure these parts alone")
    parser.add_argument("--rounds", type=int, default=5, help="how often to run each program (default: 5)")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    named = ["git", "-C", REPOSITORY, "rev-parse", "--short"]
    names = [subprocess.check_output([*named, revision], text=True).strip() for revision in arguments.revisions]
    asked = arguments.only
    WORK.mkdir(parents=True, exist_ok=True)
    columns = [{} for _ in names]
    try:
        for name, figures in zip(names, columns, strict=True):
            folder = WORK / "clone"
            if asked == ["program"] and (WORK / name).exists():
                continue
            if "build" in asked or "program" in asked:
                clone(name, folder)
                if "build" in asked:
                    figures |= build(folder)
                else:
                    measure(["make", "build"], folder)
                keep_programs(folder, WORK / name)
            if "test" in asked:
                clone(name, folder)
                figures |= test(folder)
            shutil.rmtree(folder)
        if "program" in asked:
            rounds = [[program(WORK / name, WORK / f"{name}-runs") for name in names] for _ in range(arguments.rounds)]
            for index, figures in enumerate(columns):
                figures |= {figure: statistics.median(one[index][figure] for one in rounds) for figure in rounds[0][0]}
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = "\n".join(table(names, columns)) + "\n"
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
