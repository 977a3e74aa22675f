#!/usr/bin/env python3
"""Tests of check_docs.py: what a document gets wrong is found. Needs a built program."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().with_name("check_docs.py")
REPOSITORY = CHECK.parents[1]


def check(text, *flags):
    """Exit code, what is printed, and the document after."""
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder, "guide.md")
        document.write_text(text)
        done = subprocess.run([sys.executable, CHECK, *flags, document], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr, document.read_text()


def fenced(language, *lines):
    return "\n".join([f"```{language}", *lines, "```", ""])


class CheckDocs(unittest.TestCase):
    def refused(self, text, why):
        code, printed, _ = check(text)
        self.assertEqual(code, 1, printed)
        self.assertIn(why, printed)

    def test_commands_that_run_are_fine(self):
        lines = ["llama2-bench audit llama2-a100 >audit.txt   # exits with 1", "llama2-bench table \\", "    runs/before"]
        code, printed, _ = check(fenced("sh", *lines))
        self.assertEqual(code, 0, printed)
        self.assertIn("2 commands run, 0 parsed", printed)

    def test_a_command_that_is_not_run_is_named_and_parsed(self):
        code, printed, _ = check(fenced("sh", "llama2-bench run configs/llama2-7b-fp16-cuda.toml"))
        self.assertEqual(code, 0, printed)
        self.assertIn("not run, needs a GPU: llama2-bench run configs/llama2-7b-fp16-cuda.toml", printed)
        self.refused(fenced("sh", "llama2-bench run --replicate 2"), "--replicate")
        self.refused(fenced("sh", "llama2-bench run configs/no.toml"), "configs/no.toml is not there")
        self.refused(fenced("sh", "make no-such-target"), "no-such-target")
        in_a_container = "docker run --rm --user 0 llama2-bench:cuda run /opt/llama2-bench/configs/"
        self.assertEqual(check(fenced("sh", f"{in_a_container}quick.toml", "docker build --tag llama2-bench ."))[0], 0)
        self.refused(fenced("sh", f"{in_a_container}quick.toml --replicate 2"), "--replicate")
        self.refused(fenced("sh", f"{in_a_container}no.toml"), "configs/no.toml is not there")

    def test_a_command_that_fails_is_found(self):
        self.refused(fenced("sh", "llama2-bench table runs/none"), "exit code 2")
        self.refused("Run `llama2-bench audits llama2-a100`.\n", "audits")
        self.refused(fenced("sh", "no-such-program"), "exit code 127")

    def test_what_is_shown_must_be_printed(self):
        shown = ["$ printf 'a\\nb\\nc\\n'", "a", "…", "c"]
        self.assertEqual(check(fenced("console", *shown))[0], 0)
        self.refused(fenced("console", *shown[:2]), "not printed as shown: b")
        self.refused(fenced("console", *shown[:3], "d"), "not printed as shown: d")
        code, _, text = check(fenced("console", *shown[:2]), "--write")
        self.assertEqual((code, text), (0, fenced("console", shown[0], "a", "b", "c")))

    def test_long_documents_and_broken_links_are_found(self):
        self.refused("line\n" * 81, "81 lines are too many")
        self.refused("[a page](nowhere.md)\n", "nowhere.md is not there")

    def test_the_guide_shows_the_example_worker(self):
        guide = (REPOSITORY / "docs/guide/add-an-engine.md").read_text()
        shown = guide.split("```python\n")[1].split("```")[0]
        self.assertIn(shown, (REPOSITORY / "examples/worker/counter.py").read_text())


if __name__ == "__main__":
    unittest.main()
