#!/usr/bin/env python3
"""Look for inputs that break what parsers promise, guided by coverage (libFuzzer): `make fuzz`.

    python3 scripts/fuzz.py                              # every target of crates/fuzz, a minute each
    python3 scripts/fuzz.py --seconds 600 records page   # these, ten minutes each
    python3 scripts/fuzz.py --seconds 0 --keep records   # keep in crates/fuzz/corpus what was found

Inputs that reach new code go into target/fuzz/corpus/TARGET, where the next run goes on. One that fails ends its target and
goes into target/fuzz/artifacts/TARGET; `target/fuzz/TRIPLE/fuzz/TARGET FILE` runs it again.

Exit codes: 0 nothing failed, 1 something did, 2 nothing could be run.
"""

import argparse
import hashlib
import heapq
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATE = ROOT / "crates/fuzz"
FOLDER = ROOT / "target/fuzz"
# Samples are much longer than what libFuzzer would begin with, hence len_control.
LIMITS = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=32768", "-len_control=0"]
# What clang's -fsanitize=fuzzer does, by rustc's own LLVM.
COVERAGE = ["-Cpasses=sancov-module", "-Cllvm-args=-sanitizer-coverage-level=4"]
COVERAGE += [f"-Cllvm-args=-sanitizer-coverage-{part}" for part in ("inline-8bit-counters", "pc-table", "trace-compares")]
# The most that is kept of a target beside findings, in one file and in all.
KEPT_FILE, KEPT_BYTES = 4096, 32768


def build():
    """Build the programs of all targets, and return their folder."""
    compiler = (os.environ.get("CXX") or "c++").split()[0]
    if not shutil.which(compiler):
        raise OSError(f"no C++ compiler {compiler}, which libFuzzer needs (Debian: apt-get install g++)")
    version = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    triple = re.search(r"^host: (.*)$", version, re.MULTILINE)[1]
    # With --target, build scripts are compiled without RUSTFLAGS.
    command = ["cargo", "build", "--locked", "--profile", "fuzz", "--target", triple, "--target-dir", FOLDER]
    command += ["-p", "fuzz", "--features", "libfuzzer", "--bins"]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "RUSTFLAGS": " ".join(COVERAGE)})
    return FOLDER / triple / "fuzz"


def last(pattern, log):
    """The last number after `pattern` in a log."""
    found = re.findall(pattern + r"\s*(\d+)", log)
    return found[-1] if found else "-"


def fuzz(program, seconds):
    """Run a target; return the row of the summary, and whether nothing failed."""
    name = program.name
    corpus, artifacts, log = FOLDER / "corpus" / name, FOLDER / "artifacts" / name, FOLDER / f"{name}.log"
    for folder in (corpus, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    print(f"fuzz: {name} for {seconds} s: {log.relative_to(ROOT)}", file=sys.stderr, flush=True)
    command = [program, *LIMITS, f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={artifacts}/"]
    with log.open("wb") as output:
        done = subprocess.run([*command, corpus, CRATE / "corpus" / name], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    text = log.read_text(errors="replace")
    if done.returncode != 0:
        print("\n".join(text.splitlines()[-20:]), file=sys.stderr)
    figures = [last(f"stat::{key}:", text) for key in ("number_of_executed_units", "average_exec_per_sec", "peak_rss_mb")]
    counts = [str(len(list(folder.iterdir()))) for folder in (corpus, artifacts)]
    return [name, *figures, last("cov:", text), *counts], done.returncode == 0


def reached(program, folders):
    """What each file of these folders reaches: sets of edges, by file. Files are cut at KEPT_FILE bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        control, merged = Path(scratch, "control"), Path(scratch, "merged")
        merged.mkdir()
        options = ["-merge=1", "-set_cover_merge=1", "-use_counters=0", f"-max_len={KEPT_FILE}", f"-merge_control_file={control}"]
        # The kernel counts the memory of the process that started a program as the program's own.
        options.append("-rss_limit_mb=0")
        command = [program, *options, merged, *folders]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
        lines = control.read_text().splitlines()
    files = [Path(line) for line in lines[2 : 2 + int(lines[0])]]
    edges = {}
    for line in lines[2 + len(files) :]:
        if line.startswith("FT "):
            _, number, *found = line.split()
            edges[files[int(number)]] = set(found)
    return edges


def keep(program):
    """Choose what the repository keeps: whatever reaches the most new edges for its size, as long as there is room."""
    kept = CRATE / "corpus" / program.name
    found = FOLDER / "corpus" / program.name
    found.mkdir(parents=True, exist_ok=True)
    edges = reached(program, [kept, found])
    contents = {path: path.read_bytes()[:KEPT_FILE] for path in edges}
    # Findings have names of their own, and stay. One that still fails reaches nothing.
    named = {path for path in kept.iterdir() if not re.fullmatch("[0-9a-f]{40}", path.name)}
    seen = set().union(*(edges.get(path, set()) for path in named))
    # What a file adds only becomes less, so the first one whose value is still true is the best.
    queue = [(-len(edges[path]), str(path), path) for path in edges]
    heapq.heapify(queue)
    chosen, room = [], KEPT_BYTES
    while queue:
        value, name, path = heapq.heappop(queue)
        new = edges[path] - seen
        now = -len(new) / (len(contents[path]) + 20)
        if not new or len(contents[path]) > room:
            continue
        if now > value:
            heapq.heappush(queue, (now, name, path))
            continue
        chosen.append(contents[path])
        room -= len(contents[path])
        seen |= new
    for path in set(kept.iterdir()) - named:
        path.unlink()
    for content in chosen:
        name = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        (kept / name).write_bytes(content)
    every = len(set().union(*edges.values()))
    files = len(chosen) + len(named)
    print(f"fuzz: {program.name}: kept {files} files, {KEPT_BYTES - room} bytes, {len(seen)} of {every} edges", file=sys.stderr)


def nothing_could_be_run(error):
    print(f"fuzz: {getattr(error, 'stderr', None) or error}", file=sys.stderr)
    return 2


def main():
    targets = sorted(path.stem for path in (CRATE / "fuzz_targets").glob("*.rs"))
    parser = argparse.ArgumentParser(description="Look for inputs that break what parsers promise, guided by coverage.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"run these alone: {', '.join(targets)}")
    parser.add_argument("--seconds", type=int, default=60, help="how long each runs (default: 60; 0: not at all)")
    parser.add_argument("--keep", action="store_true", help="then choose what crates/fuzz/corpus keeps")
    arguments = parser.parse_args()
    for name in arguments.targets:
        if name not in targets:
            parser.error(f"no target {name}: choose from {', '.join(targets)}")
    try:
        programs = build()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(nothing_could_be_run(error))
    rows, failed = [["target", "executions", "/s", "peak MB", "edges", "corpus", "failures"]], False
    for name in arguments.targets or targets:
        (CRATE / "corpus" / name).mkdir(parents=True, exist_ok=True)
        if arguments.seconds > 0:
            row, passed = fuzz(programs / name, arguments.seconds)
            rows.append(row)
            failed |= not passed
        try:
            if arguments.keep:
                keep(programs / name)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(nothing_could_be_run(error))
    if arguments.seconds > 0:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.exit(failed)


if __name__ == "__main__":
    main()
