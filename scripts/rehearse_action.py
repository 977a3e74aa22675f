"""Runs the steps of action.yml as GitHub's runner does, in a clone of a made-up repository, with stand-ins for the GitHub CLI and
for llama2-bench: for test_action.py and test_gate.py.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
BOT = "github-actions[bot]"
# Nothing of the machine's own.
CLEAN = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "ENGINES": "",
    "HISTORY": "",
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
PULL_REQUEST = {"event_name": "pull_request", "ref": "refs/pull/7/merge"}
PUSH = {"event_name": "push", "ref": "refs/heads/main"}

# Comments are in a file, two a page; a token that may only read gets GitHub's error.
GH = """
import json, os, sys
path = os.environ["GH_STATE"]
state = json.load(open(path))
arguments = [word for word in sys.argv[2:] if word != "--paginate"]
assert sys.argv[1] == "api" and arguments[:2] == ["--hostname", "github.com"], sys.argv
assert os.environ["GH_TOKEN"] == "secret"
arguments = arguments[2:]
if arguments[0] == "graphql":
    print(json.dumps({"data": {"viewer": {"login": state["viewer"]}}}))
elif arguments[0] == "--method":
    if state["may_only_read"]:
        sys.exit("gh: Resource not accessible by integration (HTTP 403)")
    body = json.load(sys.stdin)["body"]
    assert len(body) <= 65536
    if arguments[1] == "POST":
        assert arguments[2] == "repos/o/r/issues/7/comments"
        identifier = len(state["comments"]) + 1
        state["comments"].append({"id": identifier, "user": {"login": state["viewer"]}, "body": body})
    else:
        prefix, identifier = arguments[2].rsplit("/", 1)
        assert (arguments[1], prefix) == ("PATCH", "repos/o/r/issues/comments")
        comment = next(comment for comment in state["comments"] if comment["id"] == int(identifier))
        if comment["user"]["login"] != state["viewer"]:
            sys.exit("gh: Forbidden (HTTP 403)")
        comment["body"] = body
    json.dump(state, open(path, "w"))
    print("{}")
else:
    assert arguments == ["repos/o/r/issues/7/comments?per_page=100"], arguments
    pages = [state["comments"][at : at + 2] for at in range(0, len(state["comments"]), 2)] or [[]]
    print("".join(map(json.dumps, pages)))
"""

# Records its arguments and writes the formats; its verdict is VERDICT.
BENCH = """
import json, os, sys
from pathlib import Path
arguments = sys.argv[1:]
value = lambda flag: next(value for name, value in zip(arguments, arguments[1:]) if name == flag)
call = {"program": sys.argv[0], "arguments": arguments}
if "--against" in arguments:
    base = Path(value("--against"))
    call["base"] = (base.parent / "revision").read_text()
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps(call), file=calls)
if "--out" in arguments:
    Path(value("--out")).mkdir(parents=True)
    Path(value("--out"), "measurements.jsonl").touch()
for name, text in zip(arguments, arguments[1:]):
    if name == "--format" and "=" in text:
        Path(text.partition("=")[2]).write_text("<!-- llama2-bench:compare -->\\n## " + os.environ.get("REPORT", "") + "\\n")
    if (name, text) == ("--format", "github"):
        with open(os.environ["GITHUB_STEP_SUMMARY"], "a") as summary:
            summary.write("## " + os.environ["REPORT"] + "\\n")
sys.exit(int(os.environ.get("VERDICT", "0")))
"""


def read_action():
    """The inputs' defaults and the steps of action.yml, of the part of YAML that it is written in."""
    text = (ROOT / "action.yml").read_text()
    inputs, steps = text.split("\nruns:\n")
    defaults = dict(re.findall(r"^  (\w+):\n(?:    .*\n)*?    default: (.*)$", inputs, re.MULTILINE))
    return {name: value.strip('"') for name, value in defaults.items()}, list(map(read_step, steps.split("\n    - ")[1:]))


def read_step(text):
    step, inner, block = {}, None, None
    for line in text.split("\n"):
        line = line.removeprefix("      ")
        at = len(line) - len(line.lstrip())
        if block and at >= block[2]:
            block[0][block[1]] += line[block[2] :] + "\n"
        elif line.strip() and not line.lstrip().startswith("#"):
            target = inner if at else step
            key, _, value = line.strip().partition(":")
            value = value.strip()
            block = (target, key, at + 2) if value == "|" else None
            target[key] = "" if value in ("", "|") else value
            if not at and not value:
                inner = step[key] = {}
    return step


DEFAULTS, STEPS = read_action()


class Job:
    """One use of the action in a job of a workflow: runs its steps as a runner does."""

    def __init__(self, place, event=PULL_REQUEST, run_id=None, environment=(), **inputs):
        self.place, self.log, self.failed, self.uses = place, "", False, {}
        self.environment = {**os.environ, **CLEAN, **place.environment, **dict(environment)}
        place.runs += 1
        run_id = run_id or f"run-{place.runs}"
        self.contexts = {
            "github.run_id": run_id,
            "github.run_attempt": "1",
            "github.event.repository.default_branch": "main",
            "github.event.pull_request.number": "7",
            "github.action_path": str(place.action),
            "runner.os": "Linux",
            "runner.arch": "X64",
            **{f"github.{key}": value for key, value in event.items()},
        }
        named = {"sweep": "sweep.toml", "build": place.build, "workers": "made", "base": place.base, "token": "secret"}
        self.contexts |= {f"inputs.{key}": value for key, value in {**DEFAULTS, **named, **inputs}.items()}
        self.environment |= {
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(place.action),
            "GITHUB_EVENT_NAME": event["event_name"],
            "GITHUB_REF": event["ref"],
            "GITHUB_JOB": "gate",
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": run_id,
            "GITHUB_SERVER_URL": "https://github.com",
            "RUNNER_TEMP": str(place.temp),
        }
        self.summary = place.file("summary")
        for step in STEPS:
            self.take(step)

    def take(self, step):
        condition = step.get("if", "true")
        if (self.failed and "always()" not in condition) or not self.holds(condition):
            return
        name, output = step["name"], self.place.file("output")
        if "uses" in step:
            self.uses[name] = {key: self.fill(value) for key, value in step["with"].items()}
            return
        environment = {**self.environment, "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(self.summary)}
        environment |= {key: self.fill(value) for key, value in step.get("env", {}).items()}
        # What `shell: bash` is.
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        run = subprocess.run(shell, env=environment, cwd=self.place.workspace, capture_output=True, text=True)
        self.log += run.stdout + run.stderr
        self.failed = self.failed or run.returncode != 0
        if "id" in step:
            self.contexts[f"steps.{step['id']}.outcome"] = "failure" if run.returncode else "success"
            for line in output.read_text().splitlines():
                key, _, value = line.partition("=")
                self.contexts[f"steps.{step['id']}.outputs.{key}"] = value

    def fill(self, text):
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: self.value(found[1]), text)

    def value(self, expression):
        return next((found for part in expression.split(" || ") if (found := self.contexts.get(part))), "")

    def holds(self, condition):
        """Whether every `NAME == 'text'` and `NAME != 'text'` of the condition holds."""
        for part in condition.split(" && "):
            if compared := re.fullmatch(r"([\w.-]+) (==|!=) '(.*)'", part):
                if (self.contexts.get(compared[1], "") == compared[3]) != (compared[2] == "=="):
                    return False
            else:
                assert part in ("true", "always()"), part
        return True

    def output(self, name):
        return self.contexts.get(name)


class Temporary(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.top = Path(temporary.name).resolve()
        self.files = self.runs = 0
        self.environment = {"CALLS": str(self.file("calls"))}
        self.bench = self.program("bin/bench", BENCH)

    def file(self, name, text=""):
        self.files += 1
        path = self.top / f"{self.files}-{name}"
        path.write_text(text)
        return path

    def program(self, name, text):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{sys.executable} -IS\n{text}")
        path.chmod(0o755)
        return path

    def git(self, *arguments, cwd=None):
        command, environment = ["git", *arguments], {**os.environ, **CLEAN}
        run = subprocess.run(command, cwd=cwd or self.workspace, env=environment, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout.strip()

    def calls(self):
        return [json.loads(line) for line in Path(self.environment["CALLS"]).read_text().splitlines()]

    def assert_nothing_was_run(self):
        self.assertEqual(list(self.top.rglob("*PWNED*")), [])


class ActionTest(Temporary):
    """A shallow clone, as a runner makes it, of an origin with three commits on main, and the action's own folder."""

    def setUp(self):
        super().setUp()
        self.origin, self.workspace, self.temp, self.action = (self.top / name for name in ("origin", "workspace", "temp", "action"))
        self.temp.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main", str(self.origin), cwd=self.top)
        self.commits = []
        for revision in ("first", "base", "head"):
            (self.origin / "revision").write_text(revision)
            self.git("add", "--all", cwd=self.origin)
            self.git("commit", "--quiet", "--message", revision, cwd=self.origin)
            self.commits.append(self.git("rev-parse", "HEAD", cwd=self.origin))
        self.base = self.commits[1]
        self.git("clone", "--quiet", "--depth", "1", f"file://{self.origin}", str(self.workspace), cwd=self.top)
        (self.action / "crates").mkdir(parents=True)
        (self.action / "Cargo.lock").touch()
        (self.action / "Makefile").write_text("build:\n")
        (self.action / "scripts").mkdir()
        for script in ("action.py", "base.sh", "gate.sh"):
            shutil.copy(SCRIPTS / script, self.action / "scripts")
        self.build = f"mkdir -p made && cp {self.bench} made/llama2-bench"
        self.gh = self.program("bin/gh", GH)
        self.state = self.file("state.json")
        self.environment |= {
            "GH_STATE": str(self.state),
            "PATH": f"{self.gh.parent}:{os.environ['PATH']}",
            "REPORT": "the report",
        }
        self.comments()

    def comments(self, *comments, may_only_read=False):
        """The comments on the pull request: authors and bodies."""
        there = [{"id": at + 1, "user": {"login": login}, "body": body} for at, (login, body) in enumerate(comments)]
        self.state.write_text(json.dumps({"viewer": BOT, "may_only_read": may_only_read, "comments": there}))

    def bodies(self):
        return [comment["body"] for comment in json.loads(self.state.read_text())["comments"]]

    def passes(self, **more):
        job = Job(self, **more)
        self.assertFalse(job.failed, job.log)
        return job

    def fails(self, expected, **more):
        """The job fails with one error, before anything is measured."""
        job, before = Job(self, **more), len(self.calls())
        self.assertTrue(job.failed, job.log)
        errors = [line for line in job.log.splitlines() if line.startswith("::error ")]
        self.assertEqual(len(errors), 1, job.log)
        self.assertRegex(errors[0], expected)
        self.assertNotIn("Traceback", job.log)
        self.assertEqual(len(self.calls()), before)
        return job
