"""Turns a plan's steps into commands, and judges what they left."""

import importlib.util
import shutil
import sys

from plan import sweep_toml, without_engines
from results import read_records
from runner import Step

GPU_FACTS = (
    "name,driver_version,memory.total,compute_cap,power.limit,clocks.max.sm,clocks.max.memory,ecc.mode.current,"
    "mig.mode.current,pcie.link.gen.max"
)
GPU_SECTIONS = "MEMORY,UTILIZATION,ECC,TEMPERATURE,POWER,CLOCK,COMPUTE,PERFORMANCE"


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


def ceilings(step, planned, installation, out, device, engines_file):
    words = ["--precision", planned.precision, "--device", device, "--engine", ",".join(planned.engines)]
    step.commands = [[installation.program, "ceilings", *engines_file, *words, *planned.flags]]


def list_cells(step, planned, installation, out, device, engines_file):
    step.commands = [[installation.program, "run", write_sweep(planned, out), "--list", *engines_file, *planned.flags]]


def run(step, planned, installation, out, device, engines_file):
    step.folder, step.can_be_stopped = out / planned.name, True
    words = [write_sweep(planned, out), *engines_file, "--out", step.folder, *planned.flags]
    step.commands = [[installation.program, "run", *words]]
    step.judge = lambda result: judge_run(step.folder, planned.out_of_memory)


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
    "ceilings": ceilings,
    "list": list_cells,
    "run": run,
    "script": script,
}


def judge_machine(unusable, device):
    problems = "; ".join(f"{engine} can't be used: {why}" for engine, why in unusable.items())
    return ("failed" if unusable and device != "cpu" else None, problems)


def judge_run(folder, out_of_memory):
    """Counts cells by outcome; where the plan says which rows run out of memory, compares."""
    records = read_records(folder / "measurements.jsonl")
    outcomes = {}
    for record in records:
        outcomes.setdefault(record.get("outcome", "unknown"), []).append(
            [record.get("engine"), record.get("batch_size"), record.get("prompt_length")]
        )
    counts = ", ".join(f"{len(rows)} {outcome.replace('_', ' ')}" for outcome, rows in outcomes.items())
    note = f"{len(records)} cells: {counts}" if records else "no cell measured"
    if out_of_memory is None:
        return None, note
    wrong = [f"{name(row)} fits" for row in out_of_memory if row in outcomes.get("ok", [])]
    wrong += [f"{name(row)} does not fit" for row in outcomes.get("out_of_memory", []) if row not in out_of_memory]
    return (None, f"{note}; unlike the plan's rows: {', '.join(wrong)}" if wrong else f"{note}, as the plan has it")


def name(row):
    return f"{row[0]} {row[1]}×{row[2]}"
