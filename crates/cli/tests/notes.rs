//! What a worker says of how it built the model is kept with its figures, and stands under every table of them.

mod common;

use common::{MOCK, Place, read_records};
use predicates::prelude::*;
use predicates::str::contains;

const NOTE: &str = "mock: without flash attention; token 0 is never chosen";

/// [`MOCK`], with something to say.
fn sweep() -> String {
    format!("{MOCK}\n[options.mock]\nnotes = [\"without flash attention\", \"token 0 is never chosen\"]\n")
}

/// The note stands under the run's table once, in every format.
fn is_said_once(place: &Place, run: &str) {
    for format in ["markdown", "terminal", "json"] {
        place.bench(&["table", run, "--format", format]).assert().success().stdout(contains(NOTE).count(1));
    }
    for file in ["table.md", "report.html"] {
        let text = std::fs::read_to_string(place.path(run).join(file)).unwrap();
        assert!(contains(NOTE).count(1).eval(&text), "{run}/{file}");
    }
}

#[test]
fn what_a_worker_says_of_its_model_stands_under_every_table() {
    let place = Place::new();
    let (code, stdout) = place.run(&sweep(), &[]);
    assert!(code == 0 && contains(NOTE).count(1).eval(&stdout), "{stdout}");
    is_said_once(&place, "run");

    // A run that goes on has it of both its beginnings.
    let path = place.path("run/measurements.jsonl");
    let records = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, records.split_inclusive('\n').take(2).collect::<String>()).unwrap();
    place.bench(&["run", "--resume", "run"]).assert().success();
    assert!(place.records().iter().all(|record| record.measured().unwrap().notes.len() == 2));
    is_said_once(&place, "run");
}

#[test]
fn shares_bring_it_into_the_run_they_are_merged_into() {
    let place = Place::new();
    place.write("sweep.toml", &sweep());
    for share in ["1/2", "2/2"] {
        place.bench(&["run", "sweep.toml", "--out", &share[..1], "--shard", share]).assert().success();
    }
    place.bench(&["merge", "1", "2", "-o", "merged"]).assert().success();
    is_said_once(&place, "merged");
}

#[test]
fn a_run_of_before_they_were_kept_is_read_without_them() {
    let place = Place::new();
    place.run(&sweep(), &[]);
    let path = place.path("run/measurements.jsonl");
    let mut lines = String::new();
    for record in read_records(&place.path("run")) {
        let mut record = serde_json::to_value(record).unwrap();
        let cell = &mut record["outcome"]["ok"];
        cell.as_object_mut().unwrap().shift_remove("notes").unwrap();
        lines += &format!("{record}\n");
    }
    std::fs::write(path, lines).unwrap();
    place.bench(&["table", "run"]).assert().success().stdout(contains("flash attention").not());
    place.bench(&["compare", "run", "run"]).assert().stdout(contains(" inconclusive (of "));
}
