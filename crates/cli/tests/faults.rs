//! Every fault at every moment: the table of where each cell lands is the snapshot beside this file.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Place, processes_in, worker};
use protocol::{FailureKind, Measurement};

const KINDS: [&str; 20] = [
    "out_of_memory",
    "cuda_out_of_memory",
    "allocation",
    "error",
    "panic",
    "abort",
    "segfault",
    "kill",
    "exit",
    "exit_zero",
    "hang",
    "hang_deaf",
    "hang_with_children",
    "truncated",
    "wrong_schema",
    "long_line",
    "stray_text",
    "stdout",
    "closed_pipe",
    "orphan",
];
const MOMENTS: [&str; 6] = ["hello", "load", "prompt", "decode", "answer", "goodbye"];

/// Two cells; the fault is in the second alone, except at hello, in load and after an answer, which are of both.
fn sweep(fault: &str) -> String {
    format!(
        "models = [\"llama2-15m\"]\nengines = [\"faulty\"]\nbatch_sizes = [1]\nprompt_lengths = [16, 32]\norder = \"table\"\n\
         generation_length = 2\ntimeout_seconds = 2\n[procedure]\nwarmup_runs = 1\nprompt_runs = 1\n{fault}"
    )
}

/// What became of the cell, in a line; afterwards no process of the run is left.
fn end_of(kind: &str, moment: &str) -> String {
    let place = Place::new();
    let mock = worker("llama2-bench-mock");
    let mock = mock.display();
    // The first start is the harness's greeting: it goes well, so that the sweep begins.
    let command = match moment {
        "hello" => format!(
            "[\"sh\", \"-c\", \"test -e met && exec {mock} --fault-at-hello {kind}; touch met; exec {mock}\"]"
        ),
        _ => format!("[\"{mock}\"]"),
    };
    place.write("engines.toml", &format!("[faulty]\ncommand = {command}\n"));
    let fault = match moment {
        "hello" => String::new(),
        _ => format!(
            "[options.faulty]\nfault = {{ kind = \"{kind}\", phase = \"{moment}\", min_prompt_length = {} }}\n",
            if ["load", "answer"].contains(&moment) { 0 } else { 32 }
        ),
    };
    place.write("sweep.toml", &sweep(&fault));
    let arguments = ["run", "sweep.toml", "--out", "run", "--engines-file", "engines.toml", "--no-verify"];
    let output = place.bench(&arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(processes_in(&place), 0, "{kind} at {moment} left a process");
    let records = place.records();
    assert_eq!(records.len(), 2, "{kind} at {moment}: {stderr}");
    let last = &records[1];
    if !["hello", "load"].contains(&moment) {
        assert_eq!(records[0].failure_kind(), None, "{kind} at {moment}: {stderr}");
    }
    let fine = [None, Some(FailureKind::OutOfMemory)].contains(&last.failure_kind());
    assert_eq!(output.status.code(), Some(if fine { 0 } else { 1 }), "{kind} at {moment}: {stderr}");
    let warnings = stderr.lines().filter(|line| line.starts_with("warning: "));
    let warnings: String = warnings.map(|line| format!("\n{:28}{line}", "")).collect();
    format!("{kind:19}{moment:9}{}{warnings}", describe(last))
}

fn describe(record: &Measurement) -> String {
    let phase = record.failure().and_then(|failure| failure.phase);
    let phase = phase.map(|phase| format!(" in {phase}")).unwrap_or_default();
    let error = record.failure().map(|failure| format!(": {}", failure.error)).unwrap_or_default();
    let temporary = std::env::temp_dir();
    format!("{}{phase}{error}", record.outcome_word()).replace(&temporary.display().to_string(), "TMP")
}

#[test]
fn every_fault_at_every_moment_lands_where_it_should() {
    let cases: Vec<(&str, &str)> =
        KINDS.iter().flat_map(|kind| MOMENTS.map(|moment| (*kind, moment))).collect();
    let next = AtomicUsize::new(0);
    let ends = std::sync::Mutex::new(vec![String::new(); cases.len()]);
    // Most of it is waiting for deadlines.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((kind, moment)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let index = cases.iter().position(|case| case == &(*kind, *moment)).unwrap();
                    let end = end_of(kind, moment);
                    ends.lock().unwrap()[index] = end;
                }
            });
        }
    });
    insta::assert_snapshot!(ends.into_inner().unwrap().join("\n"));
}

#[test]
fn an_engine_without_a_hello_stops_the_run_before_anything_is_written() {
    for (kind, error) in [
        ("error", "with a second line"),
        ("segfault", "ended by SIGSEGV: about to touch address 0"),
        ("stray_text", "not a reply of this protocol (expected value at line 1 column 1): Downloading: 100%"),
        ("hang", "no hello within 2 s (timeout_seconds = 2)"),
    ] {
        let place = Place::new();
        let mock = worker("llama2-bench-mock");
        let command = format!("[\"{}\", \"--fault-at-hello\", \"{kind}\"]", mock.display());
        place.write("engines.toml", &format!("[faulty]\ncommand = {command}\n"));
        place.write("sweep.toml", &sweep(""));
        let assert = place.bench(&["run", "sweep.toml", "--engines-file", "engines.toml"]).assert().code(2);
        let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        // Before it, that nothing was heard for 2 s.
        assert_eq!(stderr.lines().last(), Some(&*format!("error: engine faulty: {error}")), "{stderr}");
        assert!(!place.path("runs").exists());
        assert_eq!(processes_in(&place), 0);
    }
}
