"""The steps of action.yml. Run by GitHub's runner: python3 scripts/action.py start|build|measure|comment

The action's inputs are in the environment as INPUT_NAME and so on; OUT_FOLDER and TEMP_FOLDER are what `start` chose.
Everything of a gate is named by its input `name`: its folders, cache, artifact and comment.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

SCRIPTS = Path(__file__).resolve().parent
# Lower case alone, because GitHub's caches do not tell cases apart; without a slash, which ends a name in a cache's key.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# Events that only people who may write to the repository cause. A pull request's run may have the default branch as its
# ref, too (pull_request_target, workflow_run), and what it measured is a stranger's.
TRUSTED_EVENTS = ("push", "schedule", "workflow_dispatch")
RUN = ("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB")
GH_SECONDS = 120


def tell(level, message):
    """Print a workflow command, escaped as GitHub's toolkit does."""
    for character, escape in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        message = message.replace(character, escape)
    print(f"::{level} title=llama2-bench::{message}", flush=True)


def fail(message):
    tell("error", message)
    sys.exit(2)


def hand_on(**outputs):
    with open(os.environ["GITHUB_OUTPUT"], "a") as file:
        file.writelines(f"{key.replace('_', '-')}={value}\n" for key, value in outputs.items())


def start():
    name = os.environ["INPUT_NAME"]
    if not NAME.fullmatch(name):
        fail(f"the input `name` is {name!r}: take up to 64 of a-z, 0-9, `.`, `_` and `-`, a letter or digit first")
    # Relative, because the report names the runs by it.
    out, temp = Path("llama2-bench-out", name), Path(os.environ["RUNNER_TEMP"], "llama2-bench", name)
    made_by, run = out / ".made-by", "-".join(os.environ[key] for key in RUN)
    for path in (out.parent, out):
        if path.is_symlink() or path.is_file():
            fail(f"{path} is a link or a file of the checkout: remove it")
    if out.exists():
        if not made_by.is_file():
            fail(f"{out} is there, and not of an earlier run: remove it")
        if made_by.read_text() == run:
            fail(f"two gates of this job have the name {name!r}: give each its own `name`")
        shutil.rmtree(out)
    # The runner empties its temporary folder between jobs, where it may.
    if temp.exists():
        shutil.rmtree(temp)
    out.mkdir(parents=True)
    temp.mkdir(parents=True)
    made_by.write_text(run)
    is_default_branch = os.environ["GITHUB_REF"] == f"refs/heads/{os.environ['DEFAULT_BRANCH']}"
    trusted = is_default_branch and os.environ["GITHUB_EVENT_NAME"] in TRUSTED_EVENTS
    hand_on(out=out, temp=temp, adds_to_history=str(trusted).lower())


def build():
    temp, command, workers = (os.environ[key] for key in ("TEMP_FOLDER", "INPUT_BUILD", "INPUT_WORKERS"))
    base = Path(temp, "base")
    checkout = [SCRIPTS / "base.sh", os.environ["INPUT_BASE"], base]
    checked_out = subprocess.run(checkout, capture_output=True, text=True)
    if checked_out.returncode != 0:
        fail(f"the input `base`: {checked_out.stderr.strip()}")
    commit = checked_out.stdout.strip()
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    if commit == head:
        tell("warning", f"base and head are the same commit, {commit}: there is no change to find")
    for side, root in (("base", base), ("head", Path.cwd())):
        # Like a step of a workflow: a line that fails ends it.
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command]
        code = subprocess.run(shell, cwd=root).returncode
        if code != 0:
            fail(f"the {side} was not built: the input `build` ({command.strip()}) ended with exit code {code}")
        made = root / workers
        if not made.is_file() and not (made / "llama2-bench").is_file():
            fail(f"the {side} has no workers: {made}, the input `workers`, is no file and has no llama2-bench in it")


def split_flags(text):
    """Split as a shell does, of several lines, too; a line that starts with # is a comment. Nothing is expanded."""
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    try:
        return shlex.split("\n".join(lines).replace("\\\n", "\n"))
    except ValueError as error:
        fail(f"the input `flags` can't be split: {error}: {text.strip()}")


def measure():
    temp, workers, name = (os.environ[key] for key in ("TEMP_FOLDER", "INPUT_WORKERS", "INPUT_NAME"))
    flags = split_flags(os.environ["INPUT_FLAGS"])
    environment = {
        **os.environ,
        "LLAMA2_BENCH": str(SCRIPTS.parent / "target/release/llama2-bench"),
        "ENGINES": workers if os.path.isfile(workers) else "",
        "HISTORY": f"{temp}/kept/history",
    }
    if not os.path.isfile(workers):
        environment["LLAMA2_BENCH"] = os.path.abspath(f"{workers}/llama2-bench")
    if name != "default":
        with open(os.environ["GITHUB_STEP_SUMMARY"], "a") as summary:
            summary.write(f"# Gate {name}\n\n")
    gate = [SCRIPTS / "gate.sh", os.environ["INPUT_SWEEP"], f"{temp}/base/{workers}", os.environ["OUT_FOLDER"], *flags]
    code = subprocess.run(gate, env=environment).returncode
    hand_on(exit_code=code if code >= 0 else 128 - code)


def gh(*arguments, data=None):
    """What GitHub's API answers: the items of all its pages, or the one object."""
    host = urlparse(os.environ["GITHUB_SERVER_URL"]).hostname
    token = os.environ["INPUT_TOKEN"]
    # The second is for a GitHub Enterprise Server.
    environment = {**os.environ, "GH_TOKEN": token, "GH_ENTERPRISE_TOKEN": token}
    command = ["gh", "api", "--hostname", host, *arguments, *(["--input", "-"] if data else [])]
    run = subprocess.run(command, input=json.dumps(data), env=environment, capture_output=True, text=True, timeout=GH_SECONDS)
    if run.returncode != 0:
        raise OSError(f"gh api: {' '.join(run.stderr.split())}")
    found, text = [], run.stdout
    while text := text.lstrip():
        page, end = json.JSONDecoder().raw_decode(text)
        found += page if isinstance(page, list) else [page]
        text = text[end:]
    return found


def write_comment(name, report):
    marker = f"<!-- llama2-bench:gate {name} -->"
    heading = "" if name == "default" else f"**Gate {name}**\n\n"
    body = {"body": f"{marker}\n{heading}{report}"}
    comments = f"repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    # Whoever writes the marker first must not own the gate's comment. The default token may not ask for /user, but for
    # the viewer, whose login is that of its comments, such as github-actions[bot].
    viewer = gh("graphql", "-f", "query=query { viewer { login } }")[0]["data"]["viewer"]["login"]
    there = gh("--paginate", f"{comments}/{os.environ['PULL_REQUEST']}/comments?per_page=100")
    own = [
        comment["id"]
        for comment in there
        if (comment["user"] or {}).get("login") == viewer and (comment["body"] or "").split("\n")[0].rstrip() == marker
    ]
    if own:
        gh("--method", "PATCH", f"{comments}/comments/{own[0]}", data=body)
    else:
        gh("--method", "POST", f"{comments}/{os.environ['PULL_REQUEST']}/comments", data=body)


def comment():
    name, path = os.environ["INPUT_NAME"], Path(os.environ["OUT_FOLDER"], "comment.md")
    if not path.exists():
        return
    try:
        write_comment(name, path.read_text())
    except (OSError, ValueError, LookupError, TypeError, subprocess.TimeoutExpired) as error:
        # The token of a fork's pull request may only read: the verdict is the gate's all the same.
        tell(
            "warning",
            f"no comment on the pull request ({error}); the report is in the job's summary and in the artifact"
            f" llama2-bench-{name}. It needs the GitHub CLI, and `pull-requests: write`, which forks do not get.",
        )


if __name__ == "__main__":
    steps = {step.__name__: step for step in (start, build, measure, comment)}
    if len(sys.argv) != 2 or sys.argv[1] not in steps:
        sys.exit(__doc__)
    steps[sys.argv[1]]()
