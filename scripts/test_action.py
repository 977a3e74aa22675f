"""Tests of action.yml without GitHub (rehearse_action.py). Run: python3 scripts/test_action.py"""

import json
import shutil
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from rehearse_action import BENCH, BOT, PULL_REQUEST, PUSH, STEPS, ActionTest, Job


class Flags(ActionTest):
    def flags(self, text):
        self.passes(flags=text)
        arguments = self.calls()[-1]["arguments"]
        return arguments[arguments.index("github") + 1 :]

    def test_those_of_every_line_arrive(self):
        text = "\n--threshold 5%\n\n  # what users see\n  --threshold memory=1% \\\n--inconclusive fail\n"
        self.assertEqual(self.flags(text), ["--threshold", "5%", "--threshold", "memory=1%", "--inconclusive", "fail"])

    def test_quotes_keep_spaces_and_nothing_is_expanded(self):
        text = "--option 'mock.fault={ kind = \"error\" }' --engine a#b $(touch PWNED) `touch PWNED` * ;touch PWNED"
        expected = ["--option", 'mock.fault={ kind = "error" }', "--engine", "a#b", "$(touch", "PWNED)"]
        self.assertEqual(self.flags(text), [*expected, "`touch", "PWNED`", "*", ";touch", "PWNED"])
        self.assert_nothing_was_run()

    def test_none_are_none(self):
        self.assertEqual(self.flags(" \n"), [])

    def test_an_open_quote_is_an_error(self):
        job = Job(self, flags="--engine 'a")
        self.assertTrue(job.failed)
        self.assertIn("::error title=llama2-bench::the input `flags` can't be split: No closing quotation", job.log)
        self.assertEqual(self.calls(), [])


class TwoGates(ActionTest):
    def test_of_one_job_share_nothing(self):
        first, second = (self.passes(name=name, run_id="1") for name in ("a", "a-b"))
        self.assertEqual([call["base"] for call in self.calls()], ["base", "base"])
        for folder in ("steps.start.outputs.out", "steps.start.outputs.temp"):
            self.assertNotEqual(first.output(folder), second.output(folder))
        for step in ("Restore the history", "Keep the report"):
            for key, value in first.uses[step].items():
                self.assertTrue(key == "if-no-files-found" or value != second.uses[step][key], (step, key))
        prefix, saved = first.uses["Restore the history"]["restore-keys"], second.uses["Restore the history"]["key"]
        self.assertFalse(saved.startswith(prefix), (saved, prefix))
        self.assertTrue(first.uses["Restore the history"]["key"].startswith(prefix))
        self.assertEqual(len(self.bodies()), 2)

    def test_each_updates_its_own_comment(self):
        for report in ("old", "new"):
            for name in ("default", "a", "a-b"):
                self.passes(name=name, environment={"REPORT": f"{report} of {name}"})
        bodies = self.bodies()
        self.assertEqual(len(bodies), 3)
        for body, name in zip(bodies, ("default", "a", "a-b"), strict=True):
            self.assertTrue(body.startswith(f"<!-- llama2-bench:gate {name} -->\n"), body)
            self.assertIn(f"## new of {name}\n", body)
            self.assertEqual(f"**Gate {name}**" in body, name != "default")

    def test_of_one_name_are_refused(self):
        self.passes(name="a", run_id="1")
        self.fails("two gates of this job have the name 'a': give each its own `name`", name="a", run_id="1")

    def test_an_earlier_run_s_folder_is_cleared_and_another_s_is_kept(self):
        out, temp = self.workspace / "llama2-bench-out/a", self.temp / "llama2-bench/a"
        self.passes(name="a")
        for folder in (out, temp):
            (folder / "stale").touch()
        self.passes(name="a")
        self.assertEqual([folder for folder in (out, temp) if (folder / "stale").exists()], [])
        (out / ".made-by").unlink()
        self.fails("llama2-bench-out/a is there, and not of an earlier run: remove it", name="a")
        self.assertTrue((out / "comment.md").exists())

    def test_names_that_could_be_mistaken_are_refused(self):
        names = ["", "A", "a b", "a/b", "../a", "a,b", "a-->", "$(touch PWNED)", "a\nfolder=/tmp", "a\n", "a" * 65]
        for name in names:
            with self.subTest(name):
                self.fails("^::error title=llama2-bench::the input `name` is ", name=name)
        self.assertEqual([*self.temp.iterdir(), *self.workspace.glob("llama2-bench-out")], [])
        self.assert_nothing_was_run()


class Comments(ActionTest):
    MARKER = "<!-- llama2-bench:gate default -->"

    def test_a_stranger_s_comment_with_the_marker_is_not_the_gate_s(self):
        stranger, lookalike = ("mallory", f"{self.MARKER}\nmine"), ("github-actions", f"{self.MARKER}\nmine")
        self.comments(stranger, lookalike)
        for _ in range(2):
            job = self.passes()
            self.assertNotIn("::warning", job.log)
            self.assertEqual(self.bodies()[:2], [stranger[1], lookalike[1]])
            self.assertEqual(len(self.bodies()), 3)

    def test_its_own_is_found_behind_others_by_its_whole_first_line(self):
        others = [(BOT, "hello"), (BOT, f"{self.MARKER} more"), (BOT, f"> {self.MARKER}"), (BOT, f"\n{self.MARKER}")]
        self.comments(*others, (BOT, f"{self.MARKER}\r\nold"))
        self.passes()
        self.assertEqual(self.bodies()[:4], [body for _, body in others])
        self.assertEqual(len(self.bodies()), 5)
        self.assertIn("## the report", self.bodies()[4])

    def test_a_comment_whose_author_is_gone_is_passed_over(self):
        state = json.loads(self.state.read_text())
        state["comments"] = [{"id": 1, "user": None, "body": self.MARKER}, {"id": 2, "user": {"login": BOT}, "body": None}]
        self.state.write_text(json.dumps(state))
        self.assertNotIn("::warning", self.passes().log)
        self.assertEqual(len(self.bodies()), 3)

    def test_a_fork_s_token_leaves_the_verdict_to_the_gate(self):
        self.comments(may_only_read=True)
        for verdict in "013":
            job = Job(self, environment={"VERDICT": verdict})
            self.assertEqual(job.failed, verdict != "0", job.log)
            self.assertEqual(job.output("steps.gate.outputs.exit-code"), verdict)
            self.assertRegex(job.log, "::warning title=llama2-bench::no comment .*Resource not accessible by integration")
            self.assertIn("## the report", job.summary.read_text())
            self.assertIn("Keep the report", job.uses)
        self.assertEqual(self.bodies(), [])

    def test_without_the_github_cli_there_is_a_warning(self):
        self.gh.unlink()
        tools = self.top / "tools"
        tools.mkdir()
        for tool in ("bash", "python3", "git", "make", "mkdir", "cp", "find", "sort", "sha256sum", "cut", "sed"):
            (tools / tool).symlink_to(shutil.which(tool))
        job = self.passes(environment={"PATH": str(tools)})
        self.assertRegex(job.log, "::warning title=llama2-bench::no comment on the pull request .*'gh'")

    def test_nonsense_from_the_api_is_a_warning(self):
        for answer in ("[]", "{", '{"data": null}', "[1]"):
            self.program("bin/gh", f"print({answer!r})")
            self.assertIn("::warning title=llama2-bench::no comment", self.passes().log)

    def test_there_is_none_without_a_pull_request_or_where_it_is_not_wanted(self):
        self.passes(event=PUSH)
        self.passes(comment="false")
        self.assertEqual(self.bodies(), [])


class History(ActionTest):
    def test_only_the_default_branch_adds_to_it(self):
        events = [
            (PUSH, True),
            ({"event_name": "schedule", "ref": "refs/heads/main"}, True),
            (PULL_REQUEST, False),
            ({"event_name": "push", "ref": "refs/heads/other"}, False),
            # A tag, and a fork's branch, of the same name; runs for strangers whose ref is the default branch.
            ({"event_name": "push", "ref": "refs/tags/main"}, False),
            ({"event_name": "pull_request", "ref": "refs/pull/7/merge", "head_ref": "main"}, False),
            ({"event_name": "pull_request_target", "ref": "refs/heads/main"}, False),
            ({"event_name": "workflow_run", "ref": "refs/heads/main"}, False),
        ]
        for event, adds in events:
            with self.subTest(event):
                job = self.passes(event=event)
                self.assertEqual("Save the history" in job.uses, adds)

    def test_what_was_not_measured_is_not_added(self):
        job = Job(self, event=PUSH, environment={"VERDICT": "2"})
        self.assertTrue(job.failed)
        self.assertNotIn("Save the history", job.uses)

    def test_the_build_is_saved_before_anything_of_the_checkout_runs(self):
        job = Job(self, build="exit 1")
        self.assertIn("Save the build", job.uses)


class Base(ActionTest):
    def test_of_a_push_that_creates_a_branch_there_is_none(self):
        job = self.fails("the input `base`: base: no base to compare with: this push creates the branch", base="0" * 40)
        self.assertNotIn("fatal", job.log)

    def test_of_an_event_without_one_there_is_none(self):
        self.fails("the input `base`: base: no base to compare with: this event has none", base="")

    def test_a_commit_that_origin_lacks_is_named(self):
        self.fails("the input `base`: base: 1{40} can't be fetched from origin; a full commit hash, .*not our ref", base="1" * 40)

    def test_no_name_is_an_option_or_a_command(self):
        for name in ("--upload-pack=touch PWNED;", "$(touch PWNED)", "-x", "main:refs/heads/x", "a b"):
            with self.subTest(name):
                self.fails("the input `base`: ", base=name)
        self.assertEqual(self.git("for-each-ref", "refs/heads", "--format", "%(refname)"), "refs/heads/main")
        self.assert_nothing_was_run()

    def test_a_branch_is_origin_s_not_a_stale_one_of_the_clone(self):
        self.git("fetch", "--quiet", "origin", "main")
        self.git("branch", "other", "HEAD")
        self.git("branch", "other", self.base, cwd=self.origin)
        self.passes(base="other")
        self.assertEqual(self.calls()[-1]["base"], "base")

    def test_a_full_clone_keeps_its_history(self):
        self.git("fetch", "--quiet", "--unshallow")
        self.git("branch", "other", self.base, cwd=self.origin)
        self.passes(base="other")
        self.assertEqual(self.git("rev-parse", "--is-shallow-repository"), "false")
        self.assertEqual(self.git("rev-list", "--count", "HEAD"), "3")

    def test_the_head_itself_is_remarked(self):
        job = self.passes(base=self.commits[2])
        self.assertIn("::warning title=llama2-bench::base and head are the same commit", job.log)


class Build(ActionTest):
    def test_a_failure_says_which_side_s(self):
        self.fails(r"the base was not built: the input `build` \(exit 7\) ended with exit code 7", build="exit 7")
        self.fails("the head was not built", build=f"{self.build}\ngrep base revision")

    def test_the_first_line_that_fails_ends_it(self):
        self.fails("the base was not built", build=f"false\n{self.build}")

    def test_a_side_without_workers_is_not_a_pass(self):
        self.fails("the base has no workers: .*/base/made, the input `workers`, is no file", build="true")

    def test_workers_may_be_a_file(self):
        self.program("action/target/release/llama2-bench", BENCH)
        self.passes(build="touch engines.toml", workers="engines.toml")
        arguments = self.calls()[0]["arguments"]
        self.assertEqual(arguments[arguments.index("--engines-file") + 1], "engines.toml")
        self.assertTrue(arguments[arguments.index("--against") + 1].endswith("/base/engines.toml"))


class Hostile(ActionTest):
    def test_names_from_elsewhere_are_never_run(self):
        evil = "$(touch PWNED)`touch PWNED`;touch PWNED;'\"${PATH}"
        self.passes(sweep=f"{evil}.toml", event={**PULL_REQUEST, "head_ref": evil, "event.pull_request.head.sha": evil})
        self.assertIn(f"{evil}.toml", self.calls()[-1]["arguments"])
        self.fails("has no workers", workers=evil)
        self.assert_nothing_was_run()

    def test_nothing_is_written_or_deleted_through_a_link_of_the_checkout(self):
        victim = self.top / "victim"
        (victim / "default").mkdir(parents=True)
        (victim / "default/.made-by").touch()
        out = self.workspace / "llama2-bench-out"
        for link, target in ((out, victim), (out, self.top / "nowhere"), (out / "default", victim / "default")):
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(target)
            self.fails("is a link or a file of the checkout: remove it")
            link.unlink()
        self.assertEqual([*(self.top / "victim").rglob("*")], [victim / "default", victim / "default/.made-by"])

    def test_no_step_has_an_expression_in_its_script(self):
        self.assertEqual([step["name"] for step in STEPS if "${{" in step.get("run", "")], [])
        self.assertGreaterEqual(len([step for step in STEPS if "run" in step]), 6)

    def test_an_error_is_one_workflow_command(self):
        self.fails(r"^::error title=llama2-bench::.*%0A::set-env", build="exit 1 # 100%\n::set-env name=x::y")


if __name__ == "__main__":
    unittest.main()
