"""What a plan leaves: summary.json, summary.md, and one archive with everything, renewed while steps run."""

import gzip
import io
import json
import tarfile
import threading
import time
from pathlib import Path

# Seconds between two archives: a call that is cut loses at most what was measured meanwhile.
PERIOD = 20
# A log that is longer is archived without its beginning.
LONGEST_LOG = 1 << 20
# What comes back from a lent machine may be limited to this much a file.
LARGEST = 16 << 20


class Archive:
    """One .tar.gz with all files of a folder.

    gzip, not xz: renewing it must not take processor time from what is being measured. Writing a new file and renaming
    it means that a kill at any moment leaves a whole archive.
    """

    def __init__(self, folder, path, period=PERIOD):
        self.folder, self.path, self.period = folder, path, period
        # Held while an archive is written, and where no process may be forked meanwhile.
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.keep_renewing, name="archive", daemon=True)

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.renew()

    def keep_renewing(self):
        while not self.ended.wait(self.period):
            try:
                self.renew()
            except OSError as error:
                print(f"warning: {self.path} could not be renewed: {error}", flush=True)

    def renew(self):
        with self.lock:
            partial = self.path.with_name(self.path.name + ".partial")
            with gzip.open(partial, "wb", compresslevel=6) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
                for path in sorted(self.folder.rglob("*")):
                    if path not in (self.path, partial) and not path.name.endswith(".partial"):
                        add(archive, path, str(Path(self.folder.name) / path.relative_to(self.folder)))
            if partial.stat().st_size > LARGEST:
                print(f"warning: {self.path} is {partial.stat().st_size:,} bytes, more than {LARGEST:,}", flush=True)
            partial.replace(self.path)


def add(archive, path, name):
    """Add a file as it is now: it may be growing, and it may be gone."""
    try:
        if path.is_symlink() or not path.is_file():
            return
        data, modified = path.read_bytes(), path.stat().st_mtime
    except OSError:
        return
    if path.suffix == ".log" and len(data) > LONGEST_LOG:
        data = b"(the beginning is left out)\n" + data[-LONGEST_LOG:]
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), modified, 0o644
    archive.addfile(info, io.BytesIO(data))


def read_records(path):
    """The records of a run's measurements.jsonl (schema 2); none where there is no such file."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            # The last line of a run that was killed.
            continue
    return records


def outcome(record):
    """How a record's cell ended: ok, inferred, or the failure's word."""
    failed = record["outcome"].get("failed")
    if failed is None:
        return "ok"
    return "inferred" if failed.get("inferred_from") is not None else failed["kind"]


class Summary:
    """summary.json and summary.md, written whenever a step begins or ends."""

    def __init__(self, folder, about):
        self.folder, self.about = folder, about
        self.started = time.monotonic()

    def write(self, results):
        seconds = round(time.monotonic() - self.started, 1)
        values = {**self.about, "seconds": seconds, "steps": [vars(result) for result in results]}
        replace(self.folder / "summary.json", json.dumps(values, indent=1) + "\n")
        replace(self.folder / "summary.md", self.markdown(results))

    def markdown(self, results):
        lines = [f"# Plan {self.about.get('plan')} on {self.about.get('gpu_name') or 'a CPU'}", ""]
        lines += [f"- {key}: {value}" for key, value in self.about.items() if isinstance(value, str)]
        lines += ["", "| Step | Expected (s) | Took (s) | Exit code | Verdict | Note |", "|---|---|---|---|---|---|"]
        for result in results:
            code = "" if result.exit_code is None else result.exit_code
            note = " ".join(result.note.replace("|", "\\|").split())
            lines.append(f"| {result.step} | {result.expected:.0f} | {result.seconds:.1f} | {code} | {result.verdict} | {note} |")
        for result in results:
            table = self.folder / result.step / "table.md"
            if table.is_file():
                lines += ["", f"**{result.step}** ({result.step}/table.md)", "", table.read_text().strip()]
            if result.verdict == "failed" and result.log:
                tail = (self.folder / result.log).read_text(errors="replace").splitlines()[-20:]
                lines += ["", f"The end of {result.log}:", "", *(f"    {line}" for line in tail)]
        return "\n".join(lines) + "\n"


def replace(path, text):
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)
