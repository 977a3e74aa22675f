"""The command line of run-gpu-checks: prepares this machine, then runs one plan."""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import plan as plans
from installation import Unusable, find_torch, from_bundle, from_checkout, read_versions
from rehearsal import SLOW_ENGINES, rehearse
from results import PERIOD, Archive
from runner import Killed, Runner, say
from steps import steps as build_steps

# The bundle or the checkout that this folder is a part of.
ROOT = Path(__file__).resolve().parent.parent.parent
DESCRIPTION = "Run a plan of GPU measurements on a machine without a network: from a bundle, or from a checkout."
EPILOG = """Exit codes: 0 every step that ran succeeded, 1 a step failed, 2 bad input or a machine that can't be used,
130 interrupted. scripts/gpu/README.md says which plan comes first."""


def arguments(words):
    parser = argparse.ArgumentParser(prog="run-gpu-checks", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--plan", metavar="NAME|FILE", help=f"the plan: {', '.join(plans.names())}, or a .toml file")
    parser.add_argument("--list", action="store_true", help="print the plans with their steps and expected seconds")
    parser.add_argument("--rehearse", action="store_true", help="run the plan on the CPU: 15M model, tiny cells")
    parser.add_argument("--slow", action="store_true", help="with --rehearse: also engines that compile for minutes")
    parser.add_argument("--only", metavar="STEP,...", help="run only these steps of the plan")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="stop after this time (default: the plan's limit)")
    parser.add_argument(
        "--out",
        type=Path,
        help="the results folder (default: results/PLAN; with an archive, a temporary folder)",
    )
    parser.add_argument(
        "--archive",
        type=Path,
        help=f"keep all results in this .tar.gz, renewed every {PERIOD} s (default: $OUT/PLAN.tar.gz where OUT is set)",
    )
    parser.add_argument("--archive-period", type=float, default=PERIOD, metavar="SECONDS", help=argparse.SUPPRESS)
    parser.add_argument("--torch", type=Path, help="torch's folder, or its parent (default: this Python's torch)")
    parser.add_argument("--scratch", type=Path, help="unpack the bundle here and keep it (default: a temporary folder)")
    parser.add_argument(
        "--programs", type=Path, metavar="DIR", help="a checkout's built programs (default: target/release or target/debug)"
    )
    options = parser.parse_args(words)
    if options.plan is None and not options.list:
        parser.error(f"--plan is needed: one of {', '.join(plans.names())}, or a .toml file")
    return options


def print_plans():
    for name in plans.names():
        plan = plans.read(name)
        say(f"{name}: {plan.about} (expected {plan.expected():.0f} s, at most {plan.limit:.0f} s)")
        say(f"    {plan.startup:4.0f} s  startup")
        for step in plan.steps:
            say(f"    {step.expected:4.0f} s  {step.name} ({step.kind})")


def prepare(options, scratch):
    """Find the GPU and the programs: (installation, facts for the summary)."""
    versions = read_versions(ROOT)
    problems, gpu, torch = [], None, None
    driver = machine.driver_folder()
    if not options.rehearse:
        try:
            gpu = machine.probe_gpu(driver)
        except Unusable as why:
            problems.append(str(why))
    if versions is not None:
        try:
            torch = find_torch(options.torch)
            problems += machine.misfits(versions, torch, gpu)
        except Unusable as why:
            problems.append(str(why))
    if problems:
        raise Unusable("\n".join(problems))
    if versions is None:
        installation = from_checkout(ROOT, options.programs)
    else:
        say(f"unpacking into {scratch}")
        installation = from_bundle(ROOT, versions, scratch, torch, driver)
    if missing := installation.about.get("missing_libraries"):
        # Not the end: doctor says which engines can be used all the same.
        say(f"warning: the onnxruntime engine will not find {', '.join(missing)}")
    facts = {
        **installation.about,
        "revision": installation.about["bundle"] or revision(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "gpu": gpu,
        "gpu_name": gpu["name"] if gpu else None,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return installation, facts


def revision():
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def select(plan, only):
    if only is None:
        return
    wanted = only.split(",")
    known = [step.name for step in plan.steps]
    if unknown := [name for name in wanted if name not in known]:
        raise plans.PlanError(f"--only: plan {plan.name} has no step {', '.join(unknown)}: expected {', '.join(known)}")
    plan.steps = [step for step in plan.steps if step.name in wanted]


def places(options, plan):
    """The results folder and the archive; where an archive is asked for, the folder is a temporary one."""
    archive = options.archive
    if archive is None and os.environ.get("OUT"):
        archive = Path(os.environ["OUT"]) / f"{plan.name}.tar.gz"
    out = options.out
    if out is None:
        out = Path(tempfile.mkdtemp(prefix="llama2-bench-results-")) / plan.name if archive else Path("results") / plan.name
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    return out, archive.absolute() if archive else None


def run(options, plan, scratch, begin):
    """Run the plan; the exit code."""
    installation, facts = prepare(options, scratch)
    plan.engines_file = installation.own(plan.engines_file)
    device = "cpu" if options.rehearse else "cuda:0"
    unusable = {}
    if options.rehearse:
        rehearse(plan)
        unusable = {} if options.slow else dict(SLOW_ENGINES)
    asked = [engine for engine in plan.engines() if engine not in unusable]
    unusable |= machine.unusable_engines(installation, plan.engines_file, asked, device)
    unusable = {engine: why for engine, why in unusable.items() if engine in plan.engines()}
    out, archive_path = places(options, plan)
    about = {"plan": plan.name, "about": plan.about, "rehearsal": options.rehearse, **facts}
    steps = build_steps(plan, installation, out, device, unusable)
    seconds = (options.limit or plan.limit) - (time.monotonic() - begin)
    say(f"plan {plan.name}: {seconds:.0f} s left, steps are expected to take {sum(s.expected for s in plan.steps):.0f} s")
    if archive_path is None:
        runner = Runner(out, seconds, installation.variables, about)
        runner.run_all(steps)
    else:
        with Archive(out, archive_path, options.archive_period) as archive:
            runner = Runner(out, seconds, installation.variables, about, archive)
            runner.run_all(steps)
    verdicts = ", ".join(f"{result.step} {result.verdict}" for result in runner.results)
    say(f"{archive_path or out}: {verdicts}")
    return runner.exit_code()


def main(words=None):
    begin = time.monotonic()
    options = arguments(words)

    def told_to_end(number, frame):
        raise Killed(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, told_to_end)
    scratch = (options.scratch or Path(tempfile.mkdtemp(prefix="llama2-bench-"))).absolute()
    try:
        if options.list:
            print_plans()
            return 0
        plan = plans.read(options.plan)
        select(plan, options.only)
        return run(options, plan, scratch, begin)
    except (Unusable, plans.PlanError, OSError) as why:
        for line in str(why).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    except Killed as why:
        print(f"ended by {why}: finished cells are kept", file=sys.stderr)
        return 130
    finally:
        if options.scratch is None:
            shutil.rmtree(scratch, ignore_errors=True)
