#!/usr/bin/env python3
"""The other tool's latencies over those of the run before it, round by round, and the interval of their geometric mean."""

import json
import math
import pathlib
import statistics
import subprocess
import sys

T95 = {2: 4.303, 3: 3.182}  # Student, by degrees of freedom


def ratios(run, file, heading):
    compare = ["compare", str(run), str(file), "--format", "json", "--allow-missing", *heading]
    text = subprocess.run([sys.argv[1], *compare], stdout=subprocess.PIPE, check=False).stdout
    sections = json.loads(text)["tables"][0]["sections"]
    return {section["metric"]: section["cells"][0]["ratio"] for section in sections}


def main():
    here = pathlib.Path(__file__).parent
    for name, engine in [
        ("llama2-15m", []),
        ("tinyllama-1.1b", []),
        ("hf-eager", ["--engine", "hf-eager"]),
        ("hf-eager-inline", ["--engine", "hf-eager"]),
    ]:
        folder = here / name.removesuffix("-inline")
        rounds = []
        for run in sorted(folder.glob("run-*")):
            number = run.name.split("-")[1]
            other = "inline" if name.endswith("-inline") else "process"
            file = folder / (f"llama-bench-{number}.jsonl" if not engine else f"{other}-{number}/benchmark_report.json")
            heading = (run / "table.md").read_text().splitlines()[0].removeprefix("## ")
            rounds.append(ratios(run, file, ["--heading", heading, *engine]))
        for metric in rounds[0]:
            values = [one[metric] for one in rounds]
            logs = [math.log(value) for value in values]
            half = T95[len(logs) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
            middle = statistics.mean(logs)
            interval = " to ".join(f"{math.exp(end):.2f}" for end in (middle - half, middle + half))
            print(f"{name} {metric}: {' '.join(f'{value:.2f}' for value in values)}: {math.exp(middle):.2f} ({interval})")


if __name__ == "__main__":
    main()
