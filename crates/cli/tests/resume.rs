//! Going on with a run: with its missing cells alone, and only as it was begun, or else visibly otherwise.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use common::{MOCK, Place, mock_with_fault, worker};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::{contains, ends_with, starts_with};

/// Keeps the first records of the run.
fn keep(place: &Place, count: usize) {
    let path = place.path("run/measurements.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.split_inclusive('\n').take(count).collect::<String>()).unwrap();
}

fn edit(place: &Place, name: &str, from: &str, to: &str) {
    let path = place.path(name);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

/// A run of [`MOCK`] that hangs in the cell 1×256.
fn hanging(place: &Place) -> Child {
    let fault = "kind = \"hang\", phase = \"prompt\", min_prompt_length = 256";
    place.write("sweep.toml", &mock_with_fault(fault));
    let mut child = place.start(&["run", "sweep.toml", "--out", "run"], Stdio::null());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.starts_with("[2/6]")));
    child
}

#[test]
fn two_runs_into_one_folder_are_one_too_many() {
    let place = Place::new();
    let mut first = hanging(&place);
    let message = "error: run: another run is writing to this folder\n";
    place.bench(&["run", "--resume", "run"]).assert().code(2).stderr(message);
    place.bench(&["run", "sweep.toml", "--out", "run"]).assert().code(2).stderr(message);
    place.bench(&["table", "run"]).assert().success();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(place.records().len(), 2);
}

#[test]
fn the_same_sweep_given_again_is_no_other() {
    let place = Place::new();
    place.run(MOCK, &[]);
    keep(&place, 4);
    place.bench(&["run", "sweep.toml", "--resume", "run", "--prompt-runs", "5"]).assert().success();
    assert_eq!(place.records().len(), 6);
    assert!(!place.path("run/sweep-2.toml").exists());
}

#[test]
fn another_sweep_goes_on_only_where_it_may_and_its_rows_say_so() {
    let place = Place::new();
    place.run(MOCK, &[]);
    keep(&place, 4);
    let other = ["run", "--resume", "run", "--prompt-runs", "7", "--option", "mock.noise=0.02"];
    place.bench(&other).assert().code(2).stderr(
        "error: run: existing cells were measured with different settings: procedure.prompt_runs: 5, here 7; options.mock.noise: none, \
         here 0.02: --allow-mixed measures the missing cells anyway and names them under the table\n",
    );
    assert_eq!(place.records().len(), 4);

    let mixed: Vec<&str> = other.into_iter().chain(["--allow-mixed"]).collect();
    let note = "procedure.prompt_runs: 5, here 7; options.mock.noise: none, here 0.02\n";
    let assert = place.bench(&mixed).assert().success();
    let stdout = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let line = stdout.lines().find(|line| line.contains("part 2")).unwrap();
    assert!(line.starts_with("- 4×64, 4×256: mock: part 2 of the run ("), "{line}");
    assert!(stdout.ends_with(note), "{stdout}");
    let records = place.records();
    let parts: Vec<u32> = records.iter().map(|record| record.part).collect();
    assert_eq!(parts, [1, 1, 1, 1, 2, 2]);
    assert_eq!(records[5].series().unwrap().prompt_seconds.len(), 7);

    // Each part can be gone on with by itself, without being asked again.
    keep(&place, 5);
    place.bench(&["run", "--resume", "run"]).assert().success();
    assert_eq!(place.records()[5].part, 2);
    keep(&place, 5);
    place.bench(&["run", "sweep.toml", "--resume", "run"]).assert().success();
    assert_eq!(place.records()[5].part, 1);
    place.bench(&["table", "run", "--format", "csv"]).assert().success().stdout(contains(",,2,1,7,"));
    assert!(!place.path("run/sweep-3.toml").exists());
}

#[test]
fn other_libraries_another_machine_or_model_are_found() {
    for (from, to, difference) in [
        (
            "\"name\": \"mock\",\n          \"version\": \"0.1.0\"",
            "\"name\": \"mock\",\n          \"version\": \"0.0.9\"",
            "libraries of mock: mock 0.0.9, here mock 0.1.0",
        ),
        ("\"cores\": ", "\"cores\": 1000", "cores: 1000"),
        ("\"fingerprint\": \"", "\"fingerprint\": \"0", "model llama2-15m: 0"),
        ("\"version\": \"0.1.0\",\n    \"git", "\"version\": \"0.0.1\",\n    \"git", "program: 0.0.1 ("),
    ] {
        let place = Place::new();
        place.run(MOCK, &[]);
        keep(&place, 1);
        edit(&place, "run/environment.json", from, to);
        let start = format!("error: run: existing cells were measured with different settings: {difference}");
        place.bench(&["run", "--resume", "run"]).assert().code(2).stderr(starts_with(start));
        place
            .bench(&["run", "--resume", "run", "--allow-mixed"])
            .assert()
            .success()
            .stdout(contains(format!("measured under different conditions: {difference}")));
        let parts: BTreeSet<u32> = place.records().iter().map(|record| record.part).collect();
        assert_eq!(parts, BTreeSet::from([1, 2]));
    }
}

#[test]
fn a_sweep_that_was_changed_in_the_folder_is_not_taken_for_the_one_that_was_measured() {
    let place = Place::new();
    place.run(MOCK, &[]);
    edit(&place, "run/sweep.toml", "prompt_runs = 5", "prompt_runs = 50");
    place
        .bench(&["run", "--resume", "run", "--allow-mixed"])
        .assert()
        .code(2)
        .stderr(starts_with("error: run/sweep.toml: changed since its cells were measured: "));
}

#[test]
fn a_run_that_was_killed_before_it_began_can_begin() {
    let place = Place::new();
    place.run(MOCK, &[]);
    std::fs::remove_file(place.path("run/environment.json")).unwrap();
    std::fs::write(place.path("run/measurements.jsonl"), "").unwrap();
    place.bench(&["run", "--resume", "run"]).assert().code(2).stderr(
        "error: run: its run was stopped before it began, with nothing measured: --out run begins it\n",
    );
    let (code, _) = place.run(MOCK, &[]);
    assert_eq!((code, place.records().len()), (0, 6));
}

#[test]
fn other_files_are_not_replaced_and_links_are_not_followed() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    place.bench(&["run", "sweep.toml", "--out", "."]).assert().code(2).stderr(
        "error: .: no run and not empty (it holds sweep.toml): choose a new or empty folder with --out\n",
    );
    place.run(MOCK, &[]);
    let victim = place.write("victim", "mine");
    std::os::unix::fs::symlink(&victim, place.path("run/.table.md.partial")).unwrap();
    keep(&place, 2);
    place.bench(&["run", "--resume", "run"]).assert().success();
    std::fs::remove_file(place.path("run/measurements.jsonl")).unwrap();
    std::os::unix::fs::symlink(&victim, place.path("run/measurements.jsonl")).unwrap();
    place.bench(&["run", "--resume", "run"]).assert().code(2).stderr(contains(": a symbolic link: "));
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
}

#[test]
fn no_file_of_a_run_may_be_a_link() {
    let place = Place::new();
    place.run(MOCK, &[]);
    place.write("run/verification.json", "[]");
    for name in ["sweep.toml", "environment.json", "verification.json", "measurements.jsonl"] {
        let (own, elsewhere) = (place.path("run").join(name), place.path(name).with_extension("elsewhere"));
        std::fs::rename(&own, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &own).unwrap();
        for arguments in
            [&["table", "run"][..], &["run", "--resume", "run"], &["merge", "run", "-o", "merged"]]
        {
            let error =
                format!("error: run/{name}: a symbolic link: the files of a run must be regular files\n");
            place.bench(arguments).assert().code(2).stderr(error);
        }
        std::fs::rename(&elsewhere, &own).unwrap();
    }
    place.bench(&["table", "run"]).assert().success();
}

#[test]
fn files_of_further_parts_are_found_before_anything_is_measured() {
    for name in ["environment-2.json", "sweep-17.toml"] {
        let place = Place::new();
        place.write("sweep.toml", MOCK);
        std::fs::create_dir(place.path("run")).unwrap();
        place.write(&format!("run/{name}"), "{}");
        place.bench(&["run", "sweep.toml", "--out", "run"]).assert().code(2).stderr(format!(
            "error: run: no run and not empty (it holds {name}): choose a new or empty folder with --out\n"
        ));
        assert!(!place.path("run/measurements.jsonl").exists());
    }
}

#[test]
fn a_damaged_folder_is_found_before_anything_is_measured() {
    let place = Place::new();
    place.run(MOCK, &[]);
    let path = place.path("run/measurements.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    let first = whole.split_inclusive('\n').next().unwrap();
    for (text, error) in [
        (format!("{whole}{first}"), "error: run/measurements.jsonl:7: a second record of the same cell\n"),
        (
            first.replace("\"part\":1", "\"part\":9"),
            "error: run/measurements.jsonl:1: part: expected 1 to 1, found 9\n",
        ),
        (
            first.replacen("\"wall_seconds\":0", "\"wall_seconds\":-0", 1),
            "error: run/measurements.jsonl:1: not a record: latency must be from 1e-9 to 1e9 s, found -0",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        for arguments in [&["table", "run"][..], &["run", "--resume", "run"]] {
            place.bench(arguments).assert().code(2).stderr(starts_with(error));
        }
    }
    std::fs::write(&path, first).unwrap();
    place.write("run/verification.json", "{broken");
    place.bench(&["run", "--resume", "run", "--no-verify"]).assert().code(2);
    std::fs::remove_file(place.path("run/verification.json")).unwrap();
    std::fs::remove_file(place.path("run/environment.json")).unwrap();
    for arguments in
        [&["run", "--resume", "run"][..], &["run", "sweep.toml", "--out", "run"], &["table", "run"]]
    {
        place
            .bench(arguments)
            .assert()
            .code(2)
            .stderr(starts_with("error: run: there are records, and no environment.json"));
    }
    assert_eq!(place.records().len(), 1);
}

#[test]
fn a_row_of_two_parts_has_no_figures() {
    let place = Place::new();
    place.run(MOCK, &["--replicates", "2"]);
    // The second replicates of all cells are missing.
    keep(&place, 6);
    place
        .bench(&["run", "--resume", "run", "--prompt-runs", "9", "--allow-mixed"])
        .assert()
        .success()
        .stdout(
            contains(
                "mock: no figures: its replicates come from parts 1 and 2 of the run, measured under different conditions\n",
            )
            .and(contains("| mock            | 1 | 16   | N/A        |")),
        );
}

#[test]
fn a_longer_deadline_changes_no_figure() {
    let place = Place::new();
    place.run(MOCK, &[]);
    keep(&place, 5);
    place
        .bench(&["run", "--resume", "run", "--timeout-seconds", "77", "--phase-timeout", "load=7"])
        .assert()
        .success();
    assert_eq!(place.records()[5].part, 1);
}

#[test]
fn a_resumed_run_names_the_command_that_goes_on_with_it() {
    let place = Place::new();
    let engines = format!("[mock]\ncommand = [{:?}]\n", worker("llama2-bench-mock"));
    place.write("my engines.toml", &engines);
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -f 8; exec \"$0\" \"$@\""])
        .arg(worker("llama2-bench"))
        .args(["run", "sweep.toml", "--out", "a run's", "--engines-file", "my engines.toml", "--no-verify"])
        .current_dir({
            place.write("sweep.toml", MOCK);
            place.path("")
        })
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<String> =
        BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    child.wait().unwrap();
    let command = lines.iter().find_map(|line| Some(line.split_once('`')?.1.split_once('`')?.0)).unwrap();
    assert_eq!(
        command,
        r"llama2-bench run --resume 'a run'\''s' --engines-file 'my engines.toml' --no-verify"
    );
    // A shell takes it as it is shown.
    let path = worker("llama2-bench").parent().unwrap().display().to_string();
    let script = format!("PATH={path}:$PATH; {command}");
    let status = Command::new("sh").args(["-c", &script]).current_dir(place.path("")).output().unwrap();
    assert!(status.status.success(), "{status:?}");
    assert_eq!(common::read_records(&place.path("a run's")).len(), 6);
}

#[test]
fn what_a_smaller_cell_had_too_little_memory_for_is_not_tried_where_that_is_asked_for() {
    let place = Place::new();
    let fault = "kind = \"out_of_memory\", phase = \"decode\", min_prompt_length = 64";
    let (code, stdout) = place.run(&mock_with_fault(fault), &["--prune-oom"]);
    assert_eq!(code, 0);
    let inferred: Vec<(u32, u32)> = place
        .records()
        .iter()
        .filter(|record| record.failure().and_then(|failure| failure.inferred_from).is_some())
        .map(|record| (record.key.batch_size, record.key.prompt_length))
        .collect();
    assert_eq!(inferred, [(1, 256), (4, 64), (4, 256)]);
    let note = "- 1×256, 4×64, 4×256: mock: OOM inferred, not measured: 1×64 ran out of memory, and these cells need at least as much\n";
    assert!(stdout.contains(note), "{stdout}");
    assert!(stdout.contains("- 1×64: mock: OOM in decode: std::bad_alloc\n"), "{stdout}");
    place.bench(&["table", "run", "--format", "csv"]).assert().stdout(contains(",1×64,1,1,"));
    // Gone on with, it still prunes.
    keep(&place, 3);
    place.bench(&["run", "--resume", "run"]).assert().success().stdout(ends_with(note));

    std::fs::remove_dir_all(place.path("run")).unwrap();
    place.run(&mock_with_fault(fault), &[]);
    assert!(
        place
            .records()
            .iter()
            .all(|record| record.failure().and_then(|failure| failure.inferred_from).is_none())
    );
}

#[test]
fn a_worker_whose_package_changed_is_another_one() {
    let place = Place::new();
    std::fs::create_dir(place.path("package")).unwrap();
    place.write("package/timing.py", "1");
    place.write("engines.toml", "[mock]\ncommand = [\"llama2-bench-mock\"]\nalso = [\"package\"]\n");
    place.run(MOCK, &["--engines-file", "engines.toml"]);
    keep(&place, 4);
    place.write("package/timing.py", "2");
    let resume = ["run", "--resume", "run", "--engines-file", "engines.toml"];
    place.bench(&resume).assert().code(2).stderr(contains("worker of mock: llama2-bench-mock ("));
    place.write("package/timing.py", "1");
    place.bench(&resume).assert().success();
    std::fs::remove_dir_all(place.path("package")).unwrap();
    let message = "error: engine mock: also: package: no such file or folder";
    place
        .bench(&["run", "sweep.toml", "--engines-file", "engines.toml"])
        .assert()
        .code(2)
        .stderr(starts_with(message));
}

#[test]
fn a_part_of_one_engine_does_not_let_another_in_that_changed() {
    let place = Place::new();
    for name in ["package-a", "package-b"] {
        place.write(name, "1");
    }
    let mock = "command = [\"llama2-bench-mock\"]";
    place.write(
        "engines.toml",
        &format!("[a]\n{mock}\nalso = [\"package-a\"]\n[b]\n{mock}\nalso = [\"package-b\"]\n"),
    );
    let sweep = MOCK.replace("[\"mock\"]", "[\"a\", \"b\"]");
    place.run(&sweep, &["--engines-file", "engines.toml", "--no-verify"]);
    keep(&place, 1);
    let resume = |more: &[&str]| place.bench(&[&["run", "--resume", "run", "--no-verify"], more].concat());
    place.write("package-a", "2");
    let one = ["--engine", "a", "--batch-size", "1", "--allow-mixed"];
    resume(&one).assert().success();
    place.write("package-b", "2");
    resume(&[]).assert().code(2).stderr(contains("worker of b: "));
    assert_eq!(place.records().len(), 3);
}

/// A record as schema 1 had it.
fn in_schema_1(line: &str) -> String {
    let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
    let mut old = serde_json::json!({"schema": 1, "phase": null, "error": null});
    for (name, value) in record["key"].as_object().unwrap() {
        match name.as_str() {
            "ranks" => old["world_size"] = value["world_size"].clone(),
            _ => old[name] = value.clone(),
        }
    }
    let cell = record["outcome"]["ok"].as_object_mut().unwrap();
    for (name, value) in cell.remove("series").unwrap().as_object().unwrap() {
        old[name] = value.clone();
    }
    (old["outcome"], old["load_seconds"]) = ("ok".into(), cell["load_seconds"].clone());
    (old["replicate"], old["part"]) = (record["replicate"].clone(), record["part"].clone());
    format!("{old}\n")
}

#[test]
fn a_run_of_an_earlier_version_continues_and_names_what_was_not_checked() {
    let place = Place::new();
    place.run(MOCK, &[]);
    let table = std::fs::read_to_string(place.path("run/table.md")).unwrap();
    let path = place.path("run/measurements.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.lines().take(4).map(in_schema_1).collect::<String>()).unwrap();
    let environment = place.path("run/environment.json");
    let mut facts: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&environment).unwrap()).unwrap();
    for unrecorded in ["programs", "models"] {
        facts.as_object_mut().unwrap().remove(unrecorded).unwrap();
    }
    std::fs::write(&environment, facts.to_string()).unwrap();
    place.bench(&["table", "run"]).assert().success();
    place.bench(&["run", "--resume", "run"]).assert().success().stderr(
        contains("6 cells, 4 already measured").and(contains(
            "warning: run: an earlier version did not record model llama2-15m, worker of mock: can't check whether they are \
             the same now\n",
        )),
    );
    let cells = |table: &str| table.lines().filter(|line| line.starts_with("| mock")).count();
    let now = std::fs::read_to_string(place.path("run/table.md")).unwrap();
    assert_eq!((cells(&now), place.records().len()), (cells(&table), 6));
    let schemas: Vec<bool> =
        std::fs::read_to_string(&path).unwrap().lines().map(|line| line.contains("\"schema\":1")).collect();
    assert_eq!(schemas, [true, true, true, true, false, false], "what was measured stays as it was written");
}
