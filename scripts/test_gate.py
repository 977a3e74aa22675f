"""Tests of gate.sh, base.sh and examples/ci/gitlab.yml with a stand-in for llama2-bench. Run: python3 scripts/test_gate.py

crates/cli/tests/compare.rs runs gate.sh with the real one.
"""

import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from rehearse_action import CLEAN, ROOT, SCRIPTS, ActionTest, Temporary


class GateScript(Temporary):
    def gate(self, *arguments, **environment):
        environment = {**os.environ, **CLEAN, **self.environment, "LLAMA2_BENCH": str(self.bench), **environment}
        environment.pop("GITHUB_ACTIONS", None)
        gate = [SCRIPTS / "gate.sh", *arguments]
        run = subprocess.run(gate, cwd=self.top, env=environment, capture_output=True, text=True)
        return run.returncode, run.stderr

    def test_an_out_of_an_earlier_gate_is_refused_before_anything_is_measured(self):
        (self.top / "build/workers").mkdir(parents=True)
        (self.top / "build/revision").touch()
        for base, made in (("build/workers", "runs"), ("not-there-yet", "candidate")):
            self.assertEqual(self.gate("s.toml", base, made)[0], 0)
            before = len(self.calls())
            for again in ("build/workers", "not-there-yet"):
                expected = f"gate: {made}/{made} is there, of an earlier gate: remove {made}, or name another OUT\n"
                self.assertEqual(self.gate("s.toml", again, made), (2, expected))
            self.assertEqual(len(self.calls()), before)

    def test_an_engines_file_that_is_not_there_is_no_earlier_run_to_come(self):
        code, stderr = self.gate("s.toml", "base/engines.toml", "out")
        self.assertEqual((code, self.calls()), (2, []))
        self.assertTrue(stderr.startswith("gate: no base/engines.toml: "), stderr)

    def test_names_are_never_run(self):
        code, _ = self.gate("$(touch PWNED);.toml", "$(touch PWNED)", "o`touch PWNED`", "--threshold", "$(touch PWNED)")
        self.assertEqual(code, 0)
        out = self.top / "o`touch PWNED`"
        self.assertTrue(out.exists())
        shutil.rmtree(out)
        self.assert_nothing_was_run()


class BaseScript(ActionTest):
    def test_an_old_worktree_is_replaced(self):
        folder = self.temp / "old"
        base = [SCRIPTS / "base.sh", self.commits[0], folder]
        run = {"cwd": self.workspace, "env": {**os.environ, **CLEAN}, "capture_output": True, "text": True}
        subprocess.run(base, check=True, **run)
        base[1] = self.base
        self.assertEqual(subprocess.run(base, check=True, **run).stdout.strip(), self.base)
        self.assertEqual((folder / "revision").read_text(), "base")
        # One whose folder is gone, and a folder of someone else.
        shutil.rmtree(folder)
        subprocess.run(base, check=True, **run)
        other = self.temp / "other"
        other.mkdir()
        (other / "thesis").touch()
        refused = subprocess.run([*base[:2], other], **run)
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (2, 1), refused.stderr)
        self.assertIn("is there, and no worktree of this repository: remove it", refused.stderr)
        self.assertTrue((other / "thesis").exists())


class GitLab(unittest.TestCase):
    TEXT = (ROOT / "examples/ci/gitlab.yml").read_text()
    LINES = [line.split(" #")[0].strip() for line in TEXT.splitlines()]

    def test_a_merge_request_writes_no_cache_that_the_default_branch_reads(self):
        self.assertFalse([line for line in self.LINES if line.startswith("unprotect")])
        keys = [line for line in self.LINES if line.startswith("- key:")]
        policies = [line for line in self.LINES if line.startswith("policy:")]
        self.assertEqual(policies, ["policy: $CACHE_POLICY"] * len(keys))
        self.assertEqual([line for line in self.LINES if line.startswith("CACHE_POLICY:")], ["CACHE_POLICY: pull"])
        rule = self.TEXT.split("- if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH\n")[1].lstrip()
        self.assertTrue(rule.startswith("variables: {CACHE_POLICY: pull-push}"), rule)

    def test_a_line_of_the_script_is_one_command(self):
        # A failure on the left of && does not end a job.
        script = self.TEXT.split("  script:\n")[1].split("  artifacts:\n")[0]
        self.assertNotIn("&&", script)


if __name__ == "__main__":
    unittest.main()
