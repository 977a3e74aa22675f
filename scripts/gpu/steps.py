"""Turns a plan's steps into commands, and judges what they left."""

import importlib.util
import itertools
import shutil
import sys

from plan import sweep_toml, without_engines
from results import outcome, read_records
from runner import Step

GPU_FACTS = (
    "name,driver_version,memory.total,compute_cap,power.limit,clocks.max.sm,clocks.max.memory,ecc.mode.current,"
    "mig.mode.current,pcie.link.gen.max"
)
GPU_SECTIONS = "MEMORY,UTILIZATION,ECC,TEMPERATURE,POWER,CLOCK,COMPUTE,PERFORMANCE"
# Rows that a step's note names, before it only counts them.
MOST_NAMES = 8


def steps(plan, installation, out, device, unusable):
    """The runner's steps. `unusable` maps engines that can't be used to the reason."""
    return [to_step(planned, plan, installation, out, device, unusable) for planned in plan.steps]


def to_step(planned, plan, installation, out, device, unusable):
    left_out = {engine: unusable[engine] for engine in planned.engines if engine in unusable}
    without_engines(planned, unusable)
    step = Step(
        planned.name,
        planned.limit,
        expected=planned.expected,
        least=planned.least,
        skip=planned.skip,
        takes_the_rest=planned.takes_the_rest,
        note="; ".join(f"without {engine}: {why}" for engine, why in left_out.items()),
    )
    if step.skip is None:
        engines_file = ["--engines-file", plan.engines_file]
        BUILDERS[planned.kind](step, planned, installation, out, device, engines_file)
        if planned.kind == "machine":
            step.judge = lambda result: judge_machine(unusable, device)
    return step


def machine(step, planned, installation, out, device, engines_file):
    if shutil.which("nvidia-smi", path=installation.variables.get("PATH")):
        step.commands.append(["nvidia-smi", "-i", "0", f"--query-gpu={GPU_FACTS}", "--format=csv"])
        step.commands.append(["nvidia-smi", "-i", "0", "-q", "-d", GPU_SECTIONS])
    elif device != "cpu":
        step.note = "there is no nvidia-smi"
    # Its exit code says whether all engines can be used; the judge looks at those that the plan names.
    step.commands.append(["sh", "-c", '"$0" "$@" || :', installation.program, "doctor", *engines_file])


def verify(step, planned, installation, out, device, engines_file):
    words = ["--model", planned.model, "--precision", planned.precision, "--device", device]
    words += ["--engine", ",".join(planned.engines), *planned.flags]
    step.commands = [[installation.program, "verify", *engines_file, *words]]


def peaks(step, planned, installation, out, device, engines_file):
    words = ["--precision", planned.precision, "--device", device, "--engine", ",".join(planned.engines)]
    step.commands = [[installation.program, "peaks", *engines_file, *words, *planned.flags]]


def list_cells(step, planned, installation, out, device, engines_file):
    step.commands = [[installation.program, "run", write_sweep(planned, out), "--list", *engines_file, *planned.flags]]


def run(step, planned, installation, out, device, engines_file):
    step.folder, step.can_be_stopped = out / planned.name, True
    words = [write_sweep(planned, out), *engines_file, "--out", step.folder, *planned.flags]
    step.commands = [[installation.program, "run", *words]]
    step.judge = lambda result: judge_run(step.folder, planned.sweep, planned.out_of_memory)


def script(step, planned, installation, out, device, engines_file):
    missing = [module for module in planned.needs if importlib.util.find_spec(module) is None]
    if missing:
        step.skip = f"{sys.executable} has no {', '.join(missing)}"
    step.commands = [[sys.executable, planned.script, "--device", device, *planned.arguments]]


def write_sweep(planned, out):
    path = out / f"{planned.name}.toml"
    path.write_text(sweep_toml(planned.sweep))
    return path


BUILDERS = {
    "machine": machine,
    "verify": verify,
    "peaks": peaks,
    "list": list_cells,
    "run": run,
    "script": script,
}


def judge_machine(unusable, device):
    problems = "; ".join(f"{engine} can't be used: {why}" for engine, why in unusable.items())
    return ("failed" if unusable and device != "cpu" else None, problems)


def judge_run(folder, sweep, out_of_memory=None):
    """Compare every row of the sweep with its outcome, and say what differs from the plan.

    With `out_of_memory`, a list of rows, exactly those are expected to run out of memory.
    """
    expected_oom = {tuple(row) for row in out_of_memory or []}
    measured, counts = {}, {}
    records = read_records(folder / "measurements.jsonl")
    for record in records:
        row = tuple(record["key"][name] for name in ("model", "engine", "batch_size", "prompt_length"))
        ended = outcome(record)
        measured.setdefault(row, set()).add(ended)
        counts[ended] = counts.get(ended, 0) + 1
    differing = {}
    for model, *row in sweep_rows(sweep):
        for ended in sorted(measured.get((model, *row), {"not measured"})):
            if difference := difference_from_plan(ended, tuple(row) in expected_oom, out_of_memory is not None):
                differing.setdefault(difference, []).append(name(row))
    summary = ", ".join(f"{count} {ended.replace('_', ' ')}" for ended, count in counts.items())
    parts = [f"{len(records)} cells: {summary}" if records else "no cell measured"]
    if not records:
        return None, parts[0]
    parts += [f"{difference}: {shortened(rows)}" for difference, rows in differing.items()]
    as_planned = out_of_memory is not None and not differing
    return None, "; ".join(parts) + (", as the plan has it" if as_planned else "")


def difference_from_plan(outcome, expects_oom, compares_oom):
    """The words for an outcome that the plan does not have; None where it is as planned."""
    if outcome == "ok":
        return "unlike the plan, fits" if expects_oom else None
    if outcome == "out_of_memory":
        # Where the plan doesn't say which rows run out of memory, the count says enough.
        return "unlike the plan, out of memory" if compares_oom and not expects_oom else None
    return outcome.replace("_", " ")


def sweep_rows(sweep):
    """Yield every [model, engine, batch size, prompt length] of a sweep."""
    rows = sweep.get("rows")
    if rows is None:
        rows = itertools.product(sweep["engines"], sweep["batch_sizes"], sweep["prompt_lengths"])
    for model, row in itertools.product(sweep["models"], list(rows)):
        yield [model, *row]


def shortened(names):
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def name(row):
    return f"{row[0]} {row[1]}×{row[2]}"
