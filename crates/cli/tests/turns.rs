//! `isolation = "turn"`: engines that are all loaded take turns, and each turn is a record.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::Place;
use predicates::prelude::*;
use predicates::str::contains;
use protocol::Measurement;

const ENGINES: &str = r#"
one = { command = ["llama2-bench-mock"] }
two = { command = ["llama2-bench-mock"], options = { slowdown = 2.0 } }
three = { command = ["llama2-bench-mock"], options = { slowdown = 3.0 } }
"#;

const SWEEP: &str = r#"
models = ["llama2-15m"]
engines = ["one", "two", "three"]
batch_sizes = 1
prompt_lengths = [8, 16]
generation_length = 4
isolation = "turn"
order = "table"
[procedure]
warmup_runs = 2
prompt_runs = 2
replicates = 3
"#;

const ORDER: [&str; 18] = [
    "one 8 0",
    "two 8 0",
    "three 8 0",
    "three 8 1",
    "two 8 1",
    "one 8 1",
    "one 8 2",
    "two 8 2",
    "three 8 2",
    "one 16 0",
    "two 16 0",
    "three 16 0",
    "three 16 1",
    "two 16 1",
    "one 16 1",
    "one 16 2",
    "two 16 2",
    "three 16 2",
];

fn place() -> Place {
    let place = Place::new();
    place.write("engines.toml", ENGINES);
    place.write("sweep.toml", SWEEP);
    place
}

fn name(record: &Measurement) -> String {
    format!("{} {} {}", record.key.engine, record.key.prompt_length, record.replicate)
}

fn loads(records: &[Measurement]) -> usize {
    records.iter().filter(|record| record.measured().is_some_and(|cell| cell.load_seconds.is_some())).count()
}

#[test]
fn engines_take_turns_there_and_back_and_are_loaded_once() {
    let place = place();
    let (code, _) = place.run(SWEEP, &["--engines-file", "engines.toml"]);
    assert_eq!(code, 0);
    let records = place.records();
    assert_eq!(records.iter().map(name).collect::<Vec<_>>(), ORDER);
    assert_eq!(loads(&records), 3, "each engine is loaded once");
    let note = contains("- engines took turns with one worker each");
    place.bench(&["table", "run"]).assert().success().stdout(note);
    let ratios = place.bench(&["ratios", "run", "one"]).output().unwrap();
    let ratios = String::from_utf8(ratios.stdout).unwrap();
    assert!(
        ratios.contains("| two | 1 | 8 | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) | 3 |"),
        "{ratios}"
    );
    assert!(ratios.contains("| prefill | decode | TPOT | turns |"), "{ratios}");
}

#[test]
fn an_engine_is_not_resumed_without_those_that_it_takes_turns_with() {
    let place = place();
    place.run(SWEEP, &["--engines-file", "engines.toml"]);
    let resume = |more: &[&str]| place.bench(&[&["run", "--resume", "run"], more].concat()).assert();
    let message = "error: --engine: the engines of this run take turns: one alone would be measured otherwise; leave --engine out\n";
    resume(&["--engine", "one"]).code(2).stderr(message);
    resume(&["--engine", "one,two,three"]).success();
}

#[test]
fn a_baseline_and_its_candidate_take_turns_too() {
    let place = place();
    let arguments =
        ["run", "sweep.toml", "--engines-file", "engines.toml", "--against-option", "two.slowdown=1.5"];
    // Both sides of `one` and `three` are the same, also where the candidate's answers were those of the baseline.
    let unchanged =
        contains("one worker per side took turns").and(contains("12 regressed, 33 unchanged (of 45)"));
    // The engines are the mock, under other names.
    let unchanged =
        unchanged.and(contains("/candidate: latencies of one, two, three are scripted, not measured"));
    place.bench(&arguments).args(["--replicates", "5"]).assert().code(1).stdout(unchanged);
}

#[test]
fn a_run_in_turns_that_was_killed_goes_on_where_it_was() {
    let place = place();
    let arguments = ["run", "sweep.toml", "--out", "run", "--engines-file", "engines.toml"];
    for lines in 2..6 {
        let resume = ["run", "--resume", "run", "--engines-file", "engines.toml"];
        let arguments = if lines == 2 { &arguments[..] } else { &resume[..] };
        let mut child = place.start(arguments, Stdio::null());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        assert!(stderr.lines().map_while(Result::ok).take(if lines == 2 { 3 } else { lines }).count() > 0);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    place.bench(&["run", "--resume", "run", "--engines-file", "engines.toml"]).assert().success();
    let records = place.records();
    assert_eq!(records.iter().map(name).collect::<Vec<_>>(), ORDER, "in the same order, none twice");
    place.bench(&["audit", "run"]).assert().success();
}

#[test]
fn what_runs_out_of_memory_beside_others_is_measured_alone() {
    let place = place();
    let fault =
        "[options.two]\nfault = { kind = \"out_of_memory\", phase = \"prompt\", min_prompt_length = 16 }\n";
    place.write("sweep.toml", &format!("{SWEEP}{fault}"));
    let arguments = ["run", "sweep.toml", "--out", "run", "--engines-file", "engines.toml"];
    let output = place.bench(&arguments).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains(
            "llama2-15m two: did not take turns with one, three: two failed while the others were loaded: "
        ),
        "{told}"
    );
    let records = place.records();
    let last: Vec<String> = records[records.len() - 3..].iter().map(name).collect();
    assert_eq!(last, ["two 16 0", "two 16 1", "two 16 2"], "after the others");
    let word = |record: &Measurement| record.outcome_word().to_owned();
    assert!(records[records.len() - 3..].iter().all(|record| word(record) == "out_of_memory"));
    assert_eq!(records.iter().filter(|record| record.measured().is_some()).count(), 15);
}

#[test]
fn engines_that_take_turns_are_not_shared_out_over_machines() {
    let place = place();
    let arguments = ["run", "sweep.toml", "--out", "run", "--engines-file", "engines.toml", "--shard", "1/2"];
    let output = place.bench(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("error: --shard: engines that take turns must run on one machine"), "{told}");
    assert!(!place.path("run").exists());
}
