"""Run pip, and say in one line why it failed: pip's own reason, and what to do about it."""

import os
import re
import signal
import subprocess

MAKE_ROOM = "make room, or name another folder with LLAMA2_BENCH_RUNTIME"
CHOOSE_FOLDER = "name a folder that you can write with LLAMA2_BENCH_RUNTIME"
# What to do, by a sign of what went wrong. The first one that fits is said.
REMEDIES = (
    (r"No space left|quota exceeded|File too large", MAKE_ROOM),
    (
        r"(?i)certificate.verify.failed",
        (
            "if a proxy inspects TLS here, have pip trust its CA: set PIP_CERT=FILE.pem, or run `pip config set global.cert FILE.pem` "
            "(where REQUESTS_CA_BUNDLE is set, pip takes that instead)"
        ),
    ),
    (r"\b407\b|ProxyError|[Pp]roxy connection", "check the proxy and its credentials: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"),
    (r"\b40[134]\b", "check the address of the package index and its credentials (`pip config list`)"),
    (r"too many \d+ error|\b5\d\d (Server )?Error", "the package index is in trouble: run this again later"),
    (r"Permission denied|Read-only file system", CHOOSE_FOLDER),
    (
        r"(?i)resolv|name or service|temporary failure|refused|unreachable|reset|timed out|respond|too early|connection|SSL",
        "check the network, and run this again",
    ),
)
MISMATCH = r"DO NOT MATCH THE HASHES.*\n(?:[\dT:,-]+)? *(\S+)"
NO_SUCH_WHEEL = "No matching distribution found"


class SetupError(Exception):
    """Something the user has to put right, said in one line."""


def run_pip(python, words, folder, lock, env=None):
    """Run `python -m pip` with these words, and log it in `folder`; a SetupError where it fails.

    The open file `lock` is pip's, too: what it locks stays locked when this process is killed and pip lives on.
    """
    log = folder / ".pip.log"
    log.unlink(missing_ok=True)
    command = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", f"--log={log}", *words]
    pip = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=env,
        pass_fds=[lock.fileno()],
        # What pip has started ends with it.
        start_new_session=True,
    )
    try:
        _, errors = pip.communicate()
    except BaseException:
        os.killpg(pip.pid, signal.SIGKILL)
        pip.wait()
        raise
    if pip.returncode != 0:
        said = why(log.read_text(errors="replace")) if log.exists() else ""
        # What ended pip before or beside its log: no pip, a full disk.
        said = said or why(errors) or (errors.strip().splitlines() or [f"pip ended with {pip.returncode}"])[-1]
        raise SetupError(f"{said} (pip's log: {log})")
    log.unlink(missing_ok=True)


def why(said):
    """The reason, out of pip's log, and the remedy."""
    if found := re.search(MISMATCH, said):
        return f"{found.group(1)} does not have the pinned hash, and was thrown away: it was cut short or exchanged on the way"
    reason = last_error(said)
    if NO_SUCH_WHEEL in reason:
        unfetched = dict(re.findall(r"Could not fetch URL (\S+): (.+) - skipping", said))
        if not unfetched:
            details = re.findall(r"\((from versions: .*)\)|WARNING: ((?:The repository|Skipping page).+)", said)
            return "; ".join(["the package index has no such wheel for this platform", *dict.fromkeys(map("".join, details))])
        reason = "; ".join(f"{url}: {innermost(cause)}" for url, cause in unfetched.items())
    elif found := re.search(r"HTTP error (\d.+?) for url: (\S+)", reason):
        reason = f"{found.group(2)}: {found.group(1)}"
    remedy = next((remedy for sign, remedy in REMEDIES if re.search(sign, reason)), None)
    return f"{reason}; {remedy}" if remedy else reason


def last_error(said):
    """The last line with ERROR, or of a traceback."""
    lines = re.findall(r"(?m)^(?:[\dT:,-]+ +)?(?:ERROR: (?!Exception:$)|(?:\w+\.)*(?=\w+(?:Error|Exception): ))(.+)$", said)
    # pip 25 and newer say nothing else of a download that ends too early.
    return lines[-1].replace("<IncompleteDownloadError: incomplete-download>", "the download ended too early") if lines else ""


def innermost(cause):
    """`Max retries exceeded with url: /simple/torch/ (Caused by X)` says X."""
    found = re.search(r"\(Caused by (.+)\)$", cause)
    return re.sub(r"<\S+ object at 0x[0-9a-f]+>: | for url: \S+$", "", found.group(1) if found else cause)
