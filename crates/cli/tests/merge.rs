//! A sweep in shares: each measures its cells, and together they are the run.

mod common;

use std::path::Path;

use common::{MOCK, Place, read_records};
use predicates::str::contains;
use protocol::Environment;

const SHARES: [&str; 3] = ["1/3", "2/3", "3/3"];

/// [`MOCK`]'s six cells in three shares.
fn measured(place: &Place) {
    place.write("sweep.toml", MOCK);
    for share in SHARES {
        let out = format!("run-{}", &share[..1]);
        place.bench(&["run", "sweep.toml", "--out", &out, "--shard", share]).assert().success();
    }
}

fn change(run: &Path, of: impl FnOnce(&mut Environment)) {
    let path = run.join("environment.json");
    let mut environment = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    of(&mut environment);
    std::fs::write(path, serde_json::to_string(&environment).unwrap()).unwrap();
}

#[test]
fn shares_have_every_cell_once_and_are_merged_into_the_run_that_one_job_measures() {
    let place = Place::new();
    measured(&place);
    place.bench(&["run", "sweep.toml", "--out", "whole"]).assert().success();
    let sizes = |run: &str| {
        let records = read_records(&place.path(run)).into_iter();
        records.map(|record| (record.key.batch_size, record.key.prompt_length)).collect::<Vec<_>>()
    };
    assert_eq!(sizes("run-1"), [(1, 16), (4, 16)]);
    assert_eq!(sizes("run-2"), [(1, 64), (4, 64)]);
    assert_eq!(sizes("run-3"), [(1, 256), (4, 256)]);

    place.bench(&["merge", "run-3", "run-1", "run-2", "-o", "merged"]).assert().success();
    assert_eq!(sizes("merged"), sizes("whole"));
    let read = |run: &str, file: &str| std::fs::read_to_string(place.path(run).join(file)).unwrap();
    for file in ["sweep.toml", "table.md"] {
        assert_eq!(read("merged", file), read("whole", file), "{file}");
    }
    // It is a run as any other.
    place.bench(&["run", "--resume", "merged"]).assert().success();
    assert_eq!(sizes("merged").len(), 6);
    place
        .bench(&["merge", "run-1", "-o", "merged"])
        .assert()
        .code(2)
        .stderr("error: merged: there is a run already: --out names a new one\n");
    // Nothing is left of the way there, and nothing of a user's is written over.
    std::fs::create_dir(place.path("mine")).unwrap();
    place.write("mine/table.md", "mine");
    place
        .bench(&["merge", "run-1", "-o", "mine"])
        .assert()
        .code(2)
        .stderr("error: mine: not an empty folder: --out names a new one\n");
    let partial = |name: &str| name.ends_with(".partial");
    let names = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| partial(&name.to_string_lossy())));
}

#[test]
fn what_is_missing_is_said_and_can_be_measured() {
    let place = Place::new();
    measured(&place);
    let assert = place.bench(&["merge", "run-1", "run-3", "-o", "merged"]).assert().success();
    assert.stderr(contains(
        "warning: 2 cells missing (part 2/3 is not among the runs): measure here with `llama2-bench run --resume merged`",
    ));
    place.bench(&["run", "--resume", "merged"]).assert().success();
    assert_eq!(read_records(&place.path("merged")).len(), 6);
}

#[test]
fn another_sweep_procedure_or_library_and_a_cell_twice_are_refused() {
    let place = Place::new();
    measured(&place);
    let refused = |runs: &[&str]| {
        let arguments = [&["merge"], runs, &["-o", "merged"]].concat();
        let assert = place.bench(&arguments).assert().code(2);
        assert!(!place.path("merged").exists());
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    };
    let twice = refused(&["run-1", "run-1"]);
    assert_eq!(twice, "error: run-1: llama2-15m fp32 mock 1×16 (replicate 0) was measured in run-1, too\n");
    place
        .bench(&["run", "sweep.toml", "--out", "other", "--shard", "2/3", "--prompt-runs", "6"])
        .assert()
        .success();
    let other = refused(&["run-1", "other"]);
    assert!(
        other.starts_with(
            "error: other: not measured as run-1: procedure.prompt_runs: 6, there 5: only shares"
        ),
        "{other}"
    );
    change(&place.path("run-2"), |environment| {
        environment.engines.get_mut("mock").unwrap().libraries[0].version = "9".into();
    });
    let library = refused(&["run-1", "run-2"]);
    assert!(library.contains("libraries of mock: mock 9, there mock "), "{library}");
    assert!(refused(&["nowhere"]).contains("nowhere"));
}

#[test]
fn rows_of_another_machine_are_named() {
    let place = Place::new();
    measured(&place);
    change(&place.path("run-2"), |environment| environment.machine = Some("another".into()));
    place.bench(&["merge", "run-1", "run-2", "run-3", "-o", "merged"]).assert().success();
    let table = std::fs::read_to_string(place.path("merged/table.md")).unwrap();
    let note = table.lines().find(|line| line.contains("part 2 of the run")).unwrap();
    assert!(note.starts_with("- 1×64, 4×64: mock: part 2 of the run ("), "{note}");
    assert!(note.ends_with(", here another"), "{note}");
    let parts: Vec<u32> = read_records(&place.path("merged")).iter().map(|record| record.part).collect();
    assert_eq!(parts, [1, 2, 1, 1, 2, 1]);
    // Merged runs are not merged again.
    place
        .bench(&["merge", "merged", "-o", "again"])
        .assert()
        .code(2)
        .stderr(contains("or it is merged already"));
}

#[test]
fn a_share_that_is_none_is_refused() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let assert = place.bench(&["run", "sweep.toml", "--shard", "4/3"]).assert().code(2);
    assert.stderr(contains("expected a share such as 2/8, the first being 1/8, found \"4/3\""));
}

#[test]
fn precisions_keep_their_order() {
    let place = Place::new();
    place.write("sweep.toml", &format!("precision = [\"int8\", \"fp32\"]\n{MOCK}"));
    for (share, out) in [("1/2", "first"), ("2/2", "second")] {
        place.bench(&["run", "sweep.toml", "--out", out, "--shard", share]).assert().success();
    }
    place.bench(&["run", "sweep.toml", "--out", "whole"]).assert().success();
    place.bench(&["merge", "second", "first", "-o", "merged"]).assert().success();
    let table = |run: &str| std::fs::read_to_string(place.path(run).join("table.md")).unwrap();
    assert_eq!(table("merged"), table("whole"));
}
