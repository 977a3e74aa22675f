//! `check-worker`: which checks pass, and which check each fault fails.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Place, processes_in, worker};
use predicates::str::{ends_with, starts_with};
use serde_json::Value;

/// A fault of the mock and when it strikes: each kind once in a forward, then those that differ at another moment.
const FAULTS: [(&str, &str); 32] = [
    ("out_of_memory", "decode"),
    ("cuda_out_of_memory", "decode"),
    ("allocation", "decode"),
    ("error", "decode"),
    ("panic", "decode"),
    ("abort", "decode"),
    ("segfault", "decode"),
    ("kill", "decode"),
    ("exit", "decode"),
    ("exit_zero", "decode"),
    ("hang", "decode"),
    ("hang_deaf", "decode"),
    ("hang_with_children", "decode"),
    ("truncated", "decode"),
    ("wrong_schema", "decode"),
    ("long_line", "decode"),
    ("stray_text", "decode"),
    ("stdout", "decode"),
    ("closed_pipe", "decode"),
    ("orphan", "decode"),
    ("error", "hello"),
    ("hang", "hello"),
    ("stray_text", "hello"),
    ("stdout", "hello"),
    ("error", "load"),
    ("exit", "load"),
    ("hang", "load"),
    ("exit", "answer"),
    ("stray_text", "answer"),
    ("exit", "goodbye"),
    ("hang", "goodbye"),
    ("stray_text", "goodbye"),
];

/// The command, on a machine that can't start ranks: whether it can is no part of what is tested. Faults need `sleep`.
fn check_worker(place: &Place, arguments: &[&str]) -> assert_cmd::Command {
    let programs = place.path("bin");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink("/bin/sleep", programs.join("sleep")).unwrap();
    let mut command = place.bench(&["check-worker"]);
    command.env("PATH", programs).args(arguments);
    command
}

/// The exit code, and the checks that failed; afterwards no process is left.
fn failed_checks(kind: &str, moment: &str) -> String {
    let place = Place::new();
    let mock = worker("llama2-bench-mock");
    let entry = match moment {
        "hello" => format!("command = [{mock:?}, \"--fault-at-hello\", \"{kind}\"]"),
        _ => format!(
            "command = [{mock:?}]\noptions = {{ fault = {{ kind = \"{kind}\", phase = \"{moment}\" }} }}"
        ),
    };
    place.write("engines.toml", &format!("[faulty]\n{entry}\n"));
    let engine = ["--engine", "faulty", "--engines-file", "engines.toml"];
    let mut command = check_worker(&place, &engine);
    let output = command.args(["--timeout-seconds", "1", "--format", "json"]).output().unwrap();
    assert_eq!(processes_in(&place), 0, "{kind} at {moment}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let checks = report["checks"].as_array().cloned().unwrap_or_default();
    let failed = checks.iter().filter(|check| check["outcome"] == "failed");
    let names: Vec<&str> = failed.filter_map(|check| check["name"].as_str()).collect();
    let code = output.status.code().unwrap();
    let names = if names.is_empty() { "none".into() } else { names.join(", ") };
    format!("{kind} at {moment}: exit code {code}, failed: {names}\n")
}

#[test]
fn each_fault_of_a_worker_fails_the_check_that_it_breaks() {
    let next = AtomicUsize::new(0);
    let tables = std::sync::Mutex::new(vec![String::new(); FAULTS.len()]);
    // Most of it is waiting for deadlines.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((kind, moment)) = FAULTS.get(index) else { return };
                    let table = failed_checks(kind, moment);
                    tables.lock().unwrap()[index] = table;
                }
            });
        }
    });
    insta::assert_snapshot!(tables.into_inner().unwrap().concat());
}

#[test]
fn the_workers_that_need_no_runtime_pass_every_check() {
    for name in ["llama2-bench-mock", "llama2-bench-reference"] {
        let place = Place::new();
        let assert = check_worker(&place, &[name]).assert().code(0);
        let table = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        let without_reasons: Vec<&str> = table.lines().filter_map(|line| line.split(':').next()).collect();
        insta::assert_snapshot!(name, without_reasons.join("\n"));
        assert_eq!(processes_in(&place), 0);
    }
}

/// The checks that fail where `script` of sh runs the mock, as `"$@"`.
fn failed_behind(script: &str, timeout_seconds: &str) -> Vec<String> {
    let place = Place::new();
    place.write("worker.sh", script);
    let arguments = ["--format", "json", "--timeout-seconds", timeout_seconds, "/bin/sh", "worker.sh"];
    let mut command = check_worker(&place, &arguments);
    let output = command.arg(worker("llama2-bench-mock")).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["outcome"] == "failed")
        .map(|check| check["name"].as_str().unwrap().into())
        .collect()
}

#[test]
fn a_line_that_nobody_asked_for_fails_no_other_check() {
    for more in ["$line", "oops"] {
        let script = format!(
            r#""$@" | while read -r line; do
    echo "$line"
    case $line in *'"reply":"loaded"'*) echo "{more}";; esac
done
"#
        );
        assert_eq!(failed_behind(&script, "60"), ["says nothing between requests"], "{more}");
    }
}

#[test]
fn a_worker_may_take_longer_to_end_than_a_request() {
    assert_eq!(failed_behind("\"$@\"\nsleep 4\n", "3"), Vec::<String>::new());
}

#[test]
fn a_device_that_the_worker_does_not_have_is_refused() {
    let place = Place::new();
    let message = "cuda:0 can't be used: it has no such device\n";
    check_worker(&place, &["--device", "cuda", "llama2-bench-mock"])
        .assert()
        .code(2)
        .stderr(ends_with(message));
}

#[test]
fn a_model_that_cannot_be_written_is_not_blamed_on_the_worker() {
    let place = Place::new();
    let mut command = check_worker(&place, &["llama2-bench-mock"]);
    command
        .env("TMPDIR", place.path("none"))
        .assert()
        .code(2)
        .stderr(starts_with("error: the temporary folder: "));
}

/// Programs that are no workers: each ends the command soon, whatever it writes.
#[test]
fn a_program_that_is_no_worker_neither_hangs_nor_kills_the_command() {
    let hello = r#"{"reply":"hello","protocol":1,"engine":"x","libraries":[],"devices":[]}"#;
    for (script, code, said) in [
        ("sleep 3600", 1, "no hello within 1 s"),
        ("yes", 1, "not a reply of this protocol"),
        ("cat /dev/zero", 1, "a line of more than 1048576 bytes"),
        ("exit 3", 2, "exited with code 3"),
        ("echo oops >&2; kill -SEGV $$", 2, "ended by SIGSEGV: oops"),
        (&format!("echo '{}'", hello.replace(":1,", ":7,")), 1, "the worker speaks protocol 7, expected 1"),
        (&format!("echo '{hello}'; sleep 3600"), 1, "2 earlier answers did not come in time"),
        (&format!("echo '{hello}'; yes"), 1, "not a reply of this protocol"),
    ] {
        let place = Place::new();
        let arguments = ["check-worker", "--timeout-seconds", "1", "sh", "-c", script];
        let assert = place.bench(&arguments).assert().code(code);
        let output = assert.get_output();
        let text = [&output.stdout[..], &output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains(said), "{script}: {text}");
        assert_eq!(processes_in(&place), 0, "{script}");
    }
}

#[test]
fn a_failed_check_says_what_was_expected_what_came_and_where_that_is_written() {
    let place = Place::new();
    let mock = worker("llama2-bench-mock");
    let options = "{ fault = { kind = \"exit\", phase = \"answer\" } }";
    place.write("engines.toml", &format!("[faulty]\ncommand = [{mock:?}]\noptions = {options}\n"));
    let arguments = ["check-worker", "--engine", "faulty", "--engines-file", "engines.toml"];
    let assert = place.bench(&arguments).assert().code(1);
    let table = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let failed: Vec<&str> = table.lines().filter(|line| line.starts_with("FAILED")).collect();
    assert_eq!(
        failed,
        ["FAILED   says nothing between requests: expected nothing between an answer and the next request; \
          found the worker exited with code 3 without an answer (before \"answers measure\") \
          (docs/reference/protocol.md, \"Rules for every line\")"]
    );
}

#[test]
fn the_csv_has_the_same_columns_whatever_was_found() {
    let place = Place::new();
    place.bench(&["check-worker", "--format", "csv", "sh", "-c", "echo oops"]).assert().code(1).stdout(
        starts_with(
            "program,arguments,protocol,name,outcome,section,expected,found,reason\n\
             sh,'-c echo oops,1,says hello,failed,Hello,",
        ),
    );
}
