"""Runs steps one after the other, each with a time limit, and leaves no process behind."""

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from plan import RESERVE
from results import Summary

# Seconds that a step has to stop after a signal.
GRACE = 15
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# Loaded here: a forked child must not have to load anything.
LIBC = ctypes.CDLL(None)


@dataclass
class Step:
    """What is run, and how its outcome is judged."""

    name: str
    limit: float
    commands: list = field(default_factory=list)
    expected: float = 0.0
    # A step with less time than this is not begun.
    least: float = 10
    # Why the step can't be run, where it can't.
    skip: str | None = None
    # The step's limit is all that is left of the plan.
    takes_the_rest: bool = False
    # Every cell is kept as it is measured, so being stopped is no failure.
    can_be_stopped: bool = False
    # What to say in any case.
    note: str = ""
    # Looks at the result: (verdict or None, note).
    judge: object = None
    # The run's folder; what is in there is deleted first.
    folder: Path | None = None


@dataclass
class Result:
    step: str
    expected: float = 0.0
    seconds: float = 0.0
    exit_code: int | None = None
    # ok, failed, stopped, skipped, interrupted
    verdict: str = "ok"
    note: str = ""
    log: str | None = None


class Killed(Exception):
    """This program was asked to stop."""


def say(line):
    print(line, flush=True)


class Runner:
    """Runs steps and writes down the outcome of each as soon as it has ended.

    `archive` is renewed after every step; its own thread renews it meanwhile.
    """

    def __init__(self, out, seconds, variables, about, archive=None, grace=GRACE, reserve=RESERVE):
        self.out, self.variables, self.archive = out, variables, archive
        self.grace, self.reserve = grace, reserve
        self.summary = Summary(out, about)
        self.deadline = time.monotonic() + seconds
        self.results = []
        # Orphans of a step become children of this process, so that it finds them.
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def remaining(self):
        return self.deadline - self.reserve - time.monotonic()

    def run_all(self, steps):
        self.results = [Result(step.name, step.expected, verdict="skipped", note="not reached") for step in steps]
        try:
            for index, step in enumerate(steps):
                self.run(index, step)
                self.write()
        finally:
            self.write()

    def write(self):
        self.summary.write(self.results)
        if self.archive is not None:
            self.archive.renew()

    def run(self, index, step):
        result = self.results[index]
        if step.skip is None and self.remaining() < step.least:
            step.skip = f"it needs at least {step.least:.0f} s, and {max(self.remaining(), 0):.0f} s were left"
        if step.skip is not None:
            result.note = step.skip
            say(f"{step.name}: skipped: {step.skip}")
            return
        result.log = f"{index + 1:02}-{step.name}.log"
        limit = self.remaining() if step.takes_the_rest else min(step.limit, self.remaining())
        say(f"{step.name}: expected {step.expected:.0f} s, at most {limit:.0f} s …")
        begin = time.monotonic()
        # This stays where this program is killed meanwhile.
        result.verdict, result.note = "interrupted", "this program was told to end"
        self.summary.write(self.results)
        with open(self.out / result.log, "w") as log:
            try:
                if step.folder is not None:
                    shutil.rmtree(step.folder, ignore_errors=True)
                ended = self.run_commands(step.commands, begin + limit, log)
            finally:
                result.seconds = round(time.monotonic() - begin, 1)
                self.end_leftovers()
        result.exit_code = ended
        if ended is None:
            result.verdict = "stopped" if step.can_be_stopped else "failed"
            result.note = f"stopped at its time limit of {limit:.0f} s"
        else:
            result.verdict, result.note = ("ok", "") if ended == 0 else ("failed", f"exit code {ended}")
        notes = [result.note, step.note]
        if step.judge is not None:
            verdict, note = step.judge(result)
            result.verdict = verdict or result.verdict
            notes.append(note)
        result.note = "; ".join(filter(None, notes))
        say(f"{step.name}: {result.verdict} after {result.seconds:.0f} s" + (f": {result.note}" if result.note else ""))

    def run_commands(self, commands, deadline, log):
        """The first exit code that is not 0, else 0; None where the time was up."""
        worst = 0
        for command in commands:
            log.write(f"$ {shlex.join(map(str, command))}\n")
            log.flush()
            try:
                process = self.start(command, log)
            except OSError as error:
                log.write(f"{command[0]}: {error.strerror}\n")
                worst = worst or 127
                continue
            try:
                code = process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                self.end(process)
                log.write("stopped: the time was up\n")
                return None
            except BaseException:
                self.end(process)
                raise
            worst = worst or code
        return worst

    def start(self, command, log):
        # No fork while the archive's thread is at work: the child would inherit its locks.
        with self.archive.lock if self.archive is not None else contextlib.nullcontext():
            return subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.variables,
                start_new_session=True,
                preexec_fn=begin_as_child,  # noqa: PLW1509
            )

    def end(self, process):
        """Ask a command to stop, as Ctrl-C does, and kill it where it does not."""
        process.send_signal(signal.SIGINT)
        try:
            process.wait(self.grace)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def end_leftovers(self):
        """Kill every process that a step left behind, daemons included."""
        patience = time.monotonic() + 2
        while left := children():
            if time.monotonic() > patience:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            reap()
            time.sleep(0.02)

    def exit_code(self):
        verdicts = {result.verdict for result in self.results}
        return 130 if "interrupted" in verdicts else 1 if "failed" in verdicts else 0


def begin_as_child():
    """Runs in a child: it dies when this program does, and hears SIGINT, which a shell's background jobs ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def children():
    """This process's children, zombies included."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == os.getpid():
                found.append(int(entry.name))
    return found


def reap():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
