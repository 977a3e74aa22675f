"""Reads plans: scripts/gpu/plans/NAME.toml.

    about = "What the plan is to find out"
    limit_seconds = 280          # for the whole plan; at most 580, so that it fits one call of ten minutes
    startup_seconds = 30         # unpacking and asking the engines, expected
    engines_file = "engines.toml"

    [[step]]
    name = "verify"
    kind = "verify"              # machine, verify, peaks, list, run or script
    expected_seconds = 60
    limit_seconds = 150          # optional: three times the expected seconds, at least 30
    least_seconds = 15           # optional: a quarter of the expected seconds; with less time left the step is skipped
    takes_the_rest = true        # optional: the step's limit is all that is left of the plan

A `run` or `list` step holds its sweep, as configs/*.toml do, in [step.sweep]. Errors name the file, the step and the key.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLANS = HERE / "plans"
# A call is cut after 600 seconds: the rest is for starting and for the last archive.
LONGEST = 580
# Seconds of a plan that no step may use: the runner's, for the last archive and for a step that is slow to stop.
RESERVE = 10
PLAN_KEYS = {"about": str, "limit_seconds": (int, float), "startup_seconds": (int, float), "engines_file": str, "step": list}
STEP_KEYS = {
    "name": str,
    "kind": str,
    "expected_seconds": (int, float),
    "limit_seconds": (int, float),
    "least_seconds": (int, float),
    "takes_the_rest": bool,
}
# The keys of each kind of step: what they hold, and whether a step must have them.
KIND_KEYS = {
    "machine": {},
    "verify": {"engines": (list, True), "model": (str, True), "precision": (str, True), "flags": (list, False)},
    "peaks": {"engines": (list, True), "precision": (str, True), "flags": (list, False)},
    "list": {"sweep": (dict, True), "flags": (list, False)},
    "run": {"sweep": (dict, True), "flags": (list, False), "out_of_memory": (list, False)},
    "script": {"script": (str, True), "arguments": (list, False), "needs": (list, False)},
}


class PlanError(Exception):
    """A plan that can't be read, in one line."""


@dataclass
class PlannedStep:
    """One [[step]] of a plan."""

    name: str
    kind: str
    expected: float
    limit: float
    least: float
    takes_the_rest: bool = False
    engines: list = field(default_factory=list)
    model: str | None = None
    precision: str | None = None
    flags: list = field(default_factory=list)
    sweep: dict | None = None
    # Rows [engine, batch size, prompt length] that must end out of memory; every other row must not.
    out_of_memory: list | None = None
    script: Path | None = None
    arguments: list = field(default_factory=list)
    # Python modules without which the step can't run.
    needs: list = field(default_factory=list)
    # Why the step can't run, where it can't.
    skip: str | None = None


@dataclass
class Plan:
    name: str
    about: str
    limit: float
    startup: float
    engines_file: Path
    steps: list

    def expected(self):
        return self.startup + sum(step.expected for step in self.steps)

    def engines(self):
        """All engines that the plan's steps name, each once."""
        return list(dict.fromkeys(engine for step in self.steps for engine in step.engines))


def names():
    return sorted(path.stem for path in PLANS.glob("*.toml"))


def read(word):
    """The plan of this name, or in this file (a word that ends in .toml)."""
    path = Path(word) if word.endswith(".toml") else PLANS / f"{word}.toml"
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        if path.parent == PLANS:
            raise PlanError(f"--plan: no plan {word}: expected one of {', '.join(names())}, or a file") from None
        raise PlanError(f"--plan: {path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(f"{path}: {error}") from None
    return parse(values, path)


def parse(values, path):
    check(values, PLAN_KEYS, {"about", "limit_seconds", "step"}, str(path))
    # A file from elsewhere names its engines relative to itself, or as the plans here do.
    engines_file = values.get("engines_file", "engines.toml")
    beside = path.parent / engines_file
    steps = [parse_step(step, index, path) for index, step in enumerate(values["step"], 1)]
    plan = Plan(
        name=path.stem,
        about=values["about"],
        limit=values["limit_seconds"],
        startup=values.get("startup_seconds", 30),
        engines_file=beside if beside.is_file() else HERE / engines_file,
        steps=steps,
    )
    repeated = {step.name for step in steps if [other.name for other in steps].count(step.name) > 1}
    if repeated:
        raise PlanError(f"{path}: two steps are named {', '.join(sorted(repeated))}")
    if not 0 < plan.limit <= LONGEST:
        raise PlanError(f"{path}: limit_seconds: expected at most {LONGEST}, found {plan.limit:g}")
    if plan.expected() > plan.limit - RESERVE:
        raise PlanError(
            f"{path}: startup and steps are expected to take {plan.expected():.0f} s, more than limit_seconds less "
            f"{RESERVE} ({plan.limit - RESERVE:g}): drop a step or measure less"
        )
    return plan


def parse_step(values, index, path):
    if not isinstance(values, dict):
        raise PlanError(f"{path}: step {index}: expected a table")
    where = f"{path}: step {values.get('name', index)}"
    kind = values.get("kind")
    if kind not in KIND_KEYS:
        raise PlanError(f"{where}: kind: expected one of {', '.join(KIND_KEYS)}, found {kind!r}")
    own = KIND_KEYS[kind]
    known = {**STEP_KEYS, **{key: holds for key, (holds, _) in own.items()}}
    check(values, known, {"name", "expected_seconds", *(key for key, (_, must) in own.items() if must)}, where)
    expected = values["expected_seconds"]
    step = PlannedStep(
        name=values["name"],
        kind=kind,
        expected=expected,
        limit=values.get("limit_seconds", max(30, 3 * expected)),
        least=values.get("least_seconds", expected / 4),
        takes_the_rest=values.get("takes_the_rest", False),
    )
    for key in own:
        if key in values:
            setattr(step, key, values[key])
    if step.sweep is not None:
        step.engines = sweep_engines(step.sweep, where)
    if step.script is not None:
        step.script = HERE / step.script
        if not step.script.is_file():
            raise PlanError(f"{where}: script: {step.script} is not there")
    return step


def check(values, known, needed, where):
    for key, value in values.items():
        if key not in known:
            raise PlanError(f"{where}: unknown key {key}: expected one of {', '.join(known)}")
        holds = known[key]
        # Python counts a boolean as a number.
        if not isinstance(value, holds) or (isinstance(value, bool) and holds is not bool):
            kinds = holds if isinstance(holds, tuple) else (holds,)
            raise PlanError(f"{where}: {key}: expected {kinds[-1].__name__}, found {value!r}")
    missing = [key for key in known if key in needed and key not in values]
    if missing:
        raise PlanError(f"{where}: lacks {', '.join(missing)}")


def sweep_engines(sweep, where):
    """The engines of a sweep: its `engines`, or those of its `rows`."""
    if ("rows" in sweep) == ("engines" in sweep):
        raise PlanError(f"{where}: sweep: expected either rows, or engines with batch_sizes and prompt_lengths")
    try:
        return list(dict.fromkeys(sweep.get("engines") or [row[0] for row in sweep["rows"]]))
    except (TypeError, IndexError):
        raise PlanError(f'{where}: sweep: rows: expected rows such as ["onnxruntime", 1, 256]') from None


def without_engines(step, unusable):
    """Takes engines that can't be used out of a step; a step without any is skipped, and says why."""
    gone = {engine: unusable[engine] for engine in step.engines if engine in unusable}
    if not gone:
        return
    step.engines = [engine for engine in step.engines if engine not in gone]
    if not step.engines:
        step.skip = step.skip or "; ".join(f"{engine} can't be used: {why}" for engine, why in gone.items())
    if step.out_of_memory:
        step.out_of_memory = [row for row in step.out_of_memory if row[0] not in gone]
    if step.sweep is None:
        return
    if "rows" in step.sweep:
        step.sweep["rows"] = [row for row in step.sweep["rows"] if row[0] not in gone]
    else:
        step.sweep["engines"] = step.engines
    options = step.sweep.get("options", {})
    for engine in gone:
        options.pop(engine, None)


def sweep_toml(sweep):
    """A sweep as TOML text."""
    lines = []

    def table(values, name):
        plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
        if plain and name:
            lines.append(f"\n[{name}]")
        lines.extend(f"{key} = {toml_value(value)}" for key, value in plain.items())
        for key, value in values.items():
            if isinstance(value, dict):
                table(value, f"{name}.{key}" if name else key)

    table(sweep, "")
    return "\n".join(lines) + "\n"


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)
