//! Engines are verified before they are timed, and not again while nothing has changed.

mod common;

use common::{Place, worker};
use predicates::prelude::*;
use predicates::str::contains;

const SWEEP: &str = r#"
models = ["llama2-15m"]
engines = ["a", "b"]
batch_sizes = 1
prompt_lengths = [8, 16]
generation_length = 2
[procedure]
warmup_runs = 1
prompt_runs = 1
replicates = 2
"#;

/// Two engines that are copies of the mock's program, and no reference.
fn place() -> Place {
    let place = Place::new();
    for engine in ["a", "b"] {
        std::fs::copy(worker("llama2-bench-mock"), place.path(engine)).unwrap();
    }
    place.write("engines.toml", "a = { command = [\"./a\"] }\nb = { command = [\"./b\"] }\n");
    place.write("sweep.toml", SWEEP);
    place
}

/// The exit code and stderr of a run with these further arguments.
#[expect(clippy::print_stderr, reason = "shown where the test fails")]
fn run(place: &Place, more: &[&str]) -> (i32, String) {
    let _ = std::fs::remove_dir_all(place.path("run"));
    let arguments = ["run", "sweep.toml", "--engines-file", "engines.toml", "--out", "run", "--no-peaks"];
    let output = place.bench(&[&arguments, more].concat()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    eprintln!("{more:?}\n{stderr}");
    (output.status.code().unwrap(), stderr)
}

/// The engines whose answers `verification.json` says were computed earlier.
fn reused(place: &Place) -> Vec<String> {
    let text = std::fs::read(place.path("run/verification.json")).unwrap();
    let all: Vec<protocol::Verification> = serde_json::from_slice(&text).unwrap();
    all.into_iter().flat_map(|one| one.reused.into_keys()).collect()
}

#[test]
fn unchanged_engines_are_not_asked_again() {
    let place = place();
    assert_eq!((run(&place, &[]).0, reused(&place)), (0, vec![]));
    let (code, stderr) = run(&place, &[]);
    assert_eq!((code, reused(&place)), (0, vec!["a".into(), "b".into()]));
    let said = contains("b: same tokens")
        .and(contains("reused from an earlier verification: a (20"))
        .and(contains("--verify again"));
    assert!(said.eval(&stderr), "{stderr}");

    assert_eq!((run(&place, &["--verify", "again"]).0, reused(&place)), (0, vec![]));
    assert_eq!((run(&place, &[]).0, reused(&place)), (0, vec!["a".into(), "b".into()]));

    // What an answer depends on: the model, limits, options; the program, of which `a` stays.
    for more in [["--seed", "7"], ["--memory-limit", "4GiB"], ["--precision", "bf16"]] {
        assert_eq!((run(&place, &more).0, reused(&place)), (0, vec![]), "{more:?}");
    }
    assert_eq!((run(&place, &["--option", "b.slowdown=2"]).0, reused(&place)), (0, vec!["a".into()]));
    let program = std::fs::OpenOptions::new().append(true).open(place.path("b")).unwrap();
    std::io::Write::write_all(&mut &program, b" ").unwrap();
    drop(program);
    assert_eq!((run(&place, &[]).0, reused(&place)), (0, vec!["a".into()]));

    // A damaged file is as none.
    for file in std::fs::read_dir(place.path("cache/answers")).unwrap() {
        std::fs::write(file.unwrap().path(), "{").unwrap();
    }
    assert_eq!((run(&place, &[]).0, reused(&place)), (0, vec![]));
}

#[test]
fn an_engine_that_differs_is_asked_every_time() {
    let place = place();
    let wrong = ["--option", "b.wrong_tokens=true"];
    for _ in 0..2 {
        let (code, stderr) = run(&place, &wrong);
        assert_eq!((code, reused(&place)), (1, vec![]));
        assert!(stderr.contains("b: different tokens") && stderr.contains("DIFFERS"), "{stderr}");
    }
    // Without a reference nobody knows which of two is wrong: none of their answers is kept.
    assert_eq!((run(&place, &[]).0, reused(&place)), (0, vec![]));
    assert_eq!((run(&place, &wrong).0, reused(&place)), (1, vec![]));
    // What `b` answered with other options was not in doubt.
    assert_eq!((run(&place, &[]).0, reused(&place)), (0, vec!["b".into()]));
}

#[test]
fn the_worker_that_was_verified_measures() {
    let place = place();
    place.write("a.sh", "echo >> starts-of-a; exec ./a\n");
    let by_script = "a = { command = [\"sh\", \"./a.sh\"] }\nb = { command = [\"./b\"] }\n";
    place.write("engines.toml", by_script);
    // One to hear who it is, one that measures: its answers are kept, or it is asked.
    for (isolation, starts) in [("turn", 2), ("turn", 2), ("engine", 3)] {
        let _ = std::fs::remove_file(place.path("starts-of-a"));
        assert_eq!(run(&place, &["--isolation", isolation]).0, 0);
        let text = std::fs::read_to_string(place.path("starts-of-a")).unwrap();
        assert_eq!(text.lines().count(), starts, "{isolation}");
    }
}

#[test]
fn an_engine_that_cannot_answer_is_measured_all_the_same() {
    for isolation in ["turn", "engine", "cell"] {
        let place = place();
        // Only the batch of the question is that large.
        let fault = "b.fault={ kind = \"exit\", phase = \"prompt\", min_batch_size = 2 }";
        let (code, stderr) = run(&place, &["--isolation", isolation, "--option", fault]);
        assert!(stderr.contains("b did not answer: "), "{stderr}");
        assert_eq!((code, place.records().len(), reused(&place).len()), (0, 8, 0), "{isolation}");
        assert!(place.records().iter().all(|record| record.failure().is_none()));

        // Nor does it take others' time: it is asked once.
        assert_eq!(stderr.matches("did not answer").count(), 1, "{stderr}");
    }
    let place = place();
    let (code, stderr) = run(&place, &["--option", "b.fault={ kind = \"error\", phase = \"load\" }"]);
    assert_eq!((code, stderr.matches("b did not answer: ").count()), (1, 1), "{stderr}");
}

#[test]
fn a_resumed_run_knows_of_all_its_engines() {
    let place = place();
    assert_eq!(run(&place, &["--order", "table"]).0, 0);
    let path = place.path("run/measurements.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    let of_a: String =
        whole.lines().filter(|line| line.contains("\"a\"")).map(|line| format!("{line}\n")).collect();
    for cache in ["kept", "lost"] {
        std::fs::write(&path, &of_a).unwrap();
        std::fs::remove_file(place.path("run/verification.json")).unwrap();
        if cache == "lost" {
            std::fs::remove_dir_all(place.path("cache")).unwrap();
        }
        let again = ["run", "--resume", "run", "--engines-file", "engines.toml"];
        place
            .bench(&again)
            .assert()
            .success()
            .stderr(contains("llama2-15m fp32: 1 of 1 engine agrees with a "));
        assert_eq!(reused(&place).len(), if cache == "kept" { 2 } else { 0 });
    }
}

#[test]
fn verify_asks_anew_and_keeps_what_it_hears_for_runs() {
    let place = place();
    let verify = ["verify", "--engines-file", "engines.toml", "--engine", "a,b", "--model", "llama2-15m"];
    for _ in 0..2 {
        let asked = contains("verifying a on").and(contains("an earlier run").not());
        place.bench(&verify).assert().success().stderr(asked);
    }
    assert_eq!((run(&place, &["--seed", "0"]).0, reused(&place).len()), (0, 2));
}

#[test]
fn an_engine_without_logits_is_not_left_out_silently() {
    let message = "error: --engine: mock computes no logits: choose other engines\n";
    let place = Place::new();
    place.bench(&["verify", "--engine", "mock,reference"]).assert().code(2).stderr(message);
}
