//! Whatever happens to a cell is a row, and the rest goes on.

mod common;

use common::{MOCK, Place, mock_with_fault};
use protocol::{CellSize, FailureKind, Phase};

type End = (Option<FailureKind>, Option<Phase>, String);

/// Runs [`MOCK`] with a fault in the cells of batch size 4 and prompt length 64 and more.
fn run_with(fault: &str, more: &[&str]) -> (i32, String, Vec<End>) {
    let place = Place::new();
    let fault = format!("{fault}, min_batch_size = 4, min_prompt_length = 64");
    let (code, stdout) = place.run(&mock_with_fault(&fault), more);
    let records = place.records();
    assert_eq!(records.len(), 6);
    assert!(records[..4].iter().all(|record| record.failure_kind().is_none()));
    let ends = records[4..].iter().map(|r| {
        (
            r.failure_kind(),
            r.failure().and_then(|failure| failure.phase),
            r.failure().map(|failure| failure.error.clone()).unwrap_or_default(),
        )
    });
    (code, stdout, ends.collect())
}

#[test]
fn out_of_memory_is_a_result() {
    let (code, stdout, ends) = run_with("kind = \"out_of_memory\", phase = \"decode\"", &[]);
    assert_eq!(code, 0);
    let end = (Some(FailureKind::OutOfMemory), Some(Phase::Decode), "std::bad_alloc".to_owned());
    assert_eq!(ends, [end.clone(), end]);
    assert!(stdout.contains("| mock            | 4 | 64   | OOM        | OOM            |"), "{stdout}");
    assert!(stdout.contains("- 4×64, 4×256: mock: OOM in decode: std::bad_alloc"), "{stdout}");
}

#[test]
fn a_load_that_failed_twice_is_not_tried_again_and_the_rows_say_so() {
    let place = Place::new();
    let (code, stdout) = place.run(&mock_with_fault("kind = \"error\", phase = \"load\""), &[]);
    assert_eq!(code, 1);
    let records = place.records();
    assert_eq!(records.len(), 6);
    assert!(records.iter().all(|r| r.failure_kind() == Some(FailureKind::Failed)
        && r.failure().and_then(|failure| failure.phase) == Some(Phase::Load)));
    let second = Some(CellSize { batch_size: 1, prompt_length: 64 });
    let from: Vec<_> =
        records.iter().map(|record| record.failure().and_then(|failure| failure.inferred_from)).collect();
    assert_eq!(from, [None, None, second, second, second, second]);
    let note = "- 1×256, 4×16, 4×64, 4×256: mock: FAILED inferred, not measured: load failed in 1×64 and is the same for every cell";
    assert!(stdout.contains(note), "{stdout}");
    // Nothing is missing, and what failed has still failed.
    place.bench(&["run", "--resume", "run"]).assert().code(1);
}

#[test]
fn a_memory_limit_makes_a_cell_out_of_memory_and_the_next_ones_run() {
    let place = Place::new();
    // 512 positions a sequence at most: 4 sequences of them hold 256 MiB.
    let sweep =
        format!("{}\n[options.mock]\nbytes_per_position = 131072\n", MOCK.replace("[1, 4]", "[4, 1]"));
    let (code, stdout) = place.run(&sweep, &["--memory-limit", "200MiB"]);
    assert_eq!(code, 0);
    let outcomes: Vec<_> =
        place.records().iter().map(|r| (r.key.batch_size, r.key.prompt_length, r.failure_kind())).collect();
    assert_eq!(outcomes[2], (4, 256, Some(FailureKind::OutOfMemory)));
    assert!(outcomes[3..].iter().all(|&(_, _, outcome)| outcome.is_none()), "{outcomes:?}");
    assert!(stdout.contains("memory allocation of 268435456 bytes failed"), "{stdout}");
}

#[test]
fn a_worker_that_is_not_there_names_the_command_to_run() {
    let place = Place::new();
    place.write("engines.toml", "[gone]\ncommand = [\"llama2-bench-gone\"]\n");
    place.write("sweep.toml", &MOCK.replace("\"mock\"", "\"gone\""));
    place
        .bench(&["run", "sweep.toml", "--engines-file", "engines.toml"])
        .assert()
        .code(2)
        .stderr("error: engine gone: llama2-bench-gone: no such program: run `make build`\n");
    assert!(!place.path("runs").exists());
}

/// A worker that is a shell script: it says hello, then does what it is told.
fn scripted(script: &str) -> String {
    let hello = r#"{"reply":"hello","protocol":1,"engine":"s","libraries":[],"devices":[]}"#;
    format!("[scripted]\ncommand = [\"sh\", \"-c\", {:?}]\n", format!("echo '{hello}'; {script}"))
}

#[test]
fn strange_workers_are_rows_too() {
    let load = "read load; echo '{\"reply\":\"loaded\",\"weights_bytes\":1}'";
    let cases = [
        // A child that holds the pipe open does not hide that the worker is dead.
        (
            "read load; sleep 1000 & exit 7".to_owned(),
            Some(FailureKind::Failed),
            "the worker exited with code 7 without an answer",
        ),
        ("read load; sleep 1000 & kill -SEGV $$".to_owned(), Some(FailureKind::Crashed), "ended by SIGSEGV"),
        // Its requests are larger than a pipe holds, and it reads none of them.
        (
            format!("{load}; exec sleep 1000"),
            Some(FailureKind::TimedOut),
            "no answer within 3 s (--timeout-seconds 3)",
        ),
        (
            format!("{load}; read measure; echo '{{\"reply\":\"loaded\",\"weights_bytes\":1}}'"),
            Some(FailureKind::Failed),
            "expected measured, found loaded",
        ),
        (
            format!(
                "{load}; read measure; echo '{{\"reply\":\"measured\",\"prompt_seconds\":[],\"generations\":[],\"memory\":{{}},\"tokens_sha256\":\"\"}}'"
            ),
            Some(FailureKind::Failed),
            "wrong number of samples",
        ),
        (
            format!(
                "{load}; echo '{{\"reply\":\"progress\",\"phase\":\"decode\",\"done\":9,\"of\":2,\"last_seconds\":1}}'; exit 3"
            ),
            Some(FailureKind::Failed),
            "the worker exited with code 3 without an answer",
        ),
    ];
    for (script, outcome, error) in cases {
        let place = Place::new();
        place.write("engines.toml", &scripted(&script));
        let sweep = MOCK
            .replace("\"mock\"", "\"scripted\"")
            .replace("[1, 4]", "[64]")
            .replace("[16, 64, 256]", "[1024]");
        let more = ["--engines-file", "engines.toml", "--no-verify", "--timeout-seconds", "3"];
        let (code, _) = place.run(&sweep, &more);
        assert_eq!(code, 1);
        let record = &place.records()[0];
        assert_eq!(
            (record.failure_kind(), record.failure().map(|failure| failure.error.as_str())),
            (outcome, Some(error)),
            "{script}"
        );
    }
}

#[test]
fn worker_output_does_not_control_the_terminal() {
    let place = Place::new();
    let failed = r#"{"reply":"failed","phase":"load","message":"red \u001b[31m text"}"#;
    place.write("engines.toml", &scripted(&format!("read load; echo '{failed}'; read end")));
    place.write("sweep.toml", &MOCK.replace("\"mock\"", "\"scripted\""));
    let arguments = ["run", "sweep.toml", "--engines-file", "engines.toml", "--no-verify", "--out", "run"];
    let output = place.bench(&arguments).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed in load: red  [31m text"));
    assert!(!output.stderr.contains(&0x1b) && !output.stdout.contains(&0x1b));
}

#[test]
fn a_load_that_worked_once_is_tried_again_and_memory_is_not_inferred() {
    let place = Place::new();
    let fault = "kind = \"out_of_memory\", phase = \"load\"";
    assert_eq!(place.run(&mock_with_fault(fault), &[]).0, 0);
    assert!(
        place
            .records()
            .iter()
            .all(|record| record.failure().and_then(|failure| failure.inferred_from).is_none())
    );

    // The second worker can't load; the third can.
    let place = Place::new();
    let mock = common::worker("llama2-bench-mock");
    let script = format!(
        "n=$(cat starts 2>/dev/null || echo 0); echo $((n+1)) > starts; test $n = 2 && exec {0} --fault-at-hello exit; exec {0}",
        mock.display()
    );
    place.write("engines.toml", &format!("[flaky]\ncommand = [\"sh\", \"-c\", {script:?}]\n"));
    let crash = "\n[options.flaky]\nfault = { kind = \"segfault\", phase = \"prompt\", min_batch_size = 1, min_prompt_length = 64 }\n";
    let sweep = MOCK.replace("\"mock\"", "\"flaky\"").replace("[16, 64, 256]", "[16, 64]") + crash;
    place.run(&sweep, &["--engines-file", "engines.toml", "--no-verify", "--no-peaks"]);
    let ends: Vec<_> = place
        .records()
        .iter()
        .map(|record| (record.failure_kind(), record.failure().and_then(|failure| failure.inferred_from)))
        .collect();
    let outcomes: Vec<Option<FailureKind>> = ends.iter().map(|end| end.0).collect();
    assert_eq!(
        outcomes,
        [None, Some(FailureKind::Crashed), Some(FailureKind::Failed), Some(FailureKind::Crashed)]
    );
    assert!(ends.iter().all(|end| end.1.is_none()), "{ends:?}");
}

#[test]
fn a_program_that_was_started_deaf_to_its_children_measures_all_the_same() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let script = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(common::worker("llama2-bench"))
        .args(["run", "sweep.toml", "--out", "run"])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains("warning"), "{stderr}");
    assert_eq!(place.records().len(), 6);
}
