//! Runs held against each other: verdicts, exit codes, what is refused, and the gate for CI.

mod common;

use std::path::Path;
use std::process::Command;

use common::{MOCK, Place, worker};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, starts_with};
use serde_json::Value;

/// The mock's few MiB are noise.
const ANY_MEMORY: [&str; 2] = ["--threshold", "memory=100%"];

/// Two engines, of which a test may slow one.
const ENGINES: &str =
    "[mock]\ncommand = [\"llama2-bench-mock\"]\n[other]\ncommand = [\"llama2-bench-mock\"]\n";

/// [`MOCK`] of both engines.
fn both() -> String {
    MOCK.replace("engines = [\"mock\"]", "engines = [\"mock\", \"other\"]")
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Engine, metric and verdict of every line, cells and means.
fn verdicts(json: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let array = |value: &Value| value.as_array().unwrap().clone();
    let mut verdicts = Vec::new();
    for section in array(&json["tables"]).iter().flat_map(|table| array(&table["sections"])) {
        for line in array(&section["cells"]).iter().chain(&array(&section["means"])) {
            verdicts.push((text(&line["engine"]), text(&section["metric"]), text(&line["verdict"])));
        }
    }
    verdicts
}

/// A run of [`MOCK`] in a folder of this name.
fn run(place: &Place, name: &str, more: &[&str]) {
    place.write("sweep.toml", MOCK);
    place.bench(&["run", "sweep.toml", "--out", name]).args(more).assert().success();
}

/// The header of a table by metric.
fn header(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(" metric ")).unwrap_or(text);
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn an_engine_slowed_by_a_tenth_regresses_in_every_cell_and_no_other() {
    let place = Place::new();
    place.write("sweep.toml", &both());
    place.write("engines.toml", ENGINES);
    let interleaved = ["run", "sweep.toml", "--engines-file", "engines.toml", "--out", "ab"];
    place
        .bench(&interleaved)
        .args(["--against-option", "mock.slowdown=1.0", "--option", "mock.slowdown=1.1"])
        .args(["--format", "json=ab.json"])
        .args(ANY_MEMORY)
        .assert()
        .code(1);
    let json = read_json(&place.path("ab.json"));
    let verdicts = verdicts(&json);
    // 6 cells and their mean, 5 latencies and the memory, 2 engines.
    assert_eq!(verdicts.len(), 7 * 6 * 2);
    for (engine, metric, verdict) in verdicts {
        let expected = if engine == "mock" && metric != "memory" { "regressed" } else { "unchanged" };
        assert_eq!(verdict, expected, "{engine} {metric}");
    }
    assert!(place.path("ab/comparison.md").exists() && place.path("ab/candidate/table.md").exists());
    let differences = json["differences"].to_string();
    assert!(differences.contains("options.mock.slowdown"), "{differences}");
    // Each side is a run like any other, and the order is there and back again.
    place.bench(&["table", "ab/baseline"]).assert().success();
    place.bench(&["compare", "ab/baseline", "ab/candidate"]).args(ANY_MEMORY).assert().code(1);
    place.bench(&["compare", "ab/candidate", "ab/baseline"]).args(ANY_MEMORY).assert().code(0);
}

#[test]
fn the_same_build_on_both_sides_is_unchanged() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let build = worker("llama2-bench-mock").parent().unwrap().display().to_string();
    let arguments = ["run", "sweep.toml", "--out", "ab", "--against", build.as_str()];
    place.bench(&arguments).args(ANY_MEMORY).assert().success().stdout(contains("42 unchanged (of 42)"));
    // The environment says which program a worker was.
    let environment = read_json(&place.path("ab/baseline/environment.json"));
    assert_eq!(environment["programs"]["mock"]["sha256"][0].as_str().unwrap().len(), 64);
    assert_eq!(environment["pair"]["is_baseline"], true);

    std::fs::create_dir(place.path("empty")).unwrap();
    let message = "error: --against empty: there is no llama2-bench-mock, the worker of mock\n";
    place.bench(&["run", "sweep.toml", "--against", "empty"]).assert().code(2).stderr(message);
    let message = "error: --threshold: needs a comparison: give its baseline with --against\n";
    place.bench(&["run", "--threshold", "1%"]).assert().code(2).stderr(message);
}

#[test]
fn an_interleaved_run_goes_on_where_it_was_cut_off() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let slow = ["--option", "mock.slowdown=1.1"];
    let flags = ["--against-option", "mock.slowdown=1", "--replicates", "2", "--inconclusive", "pass"];
    place.bench(&["run", "sweep.toml", "--out", "ab"]).args(flags).args(slow).assert().success();
    let path = place.path("ab/candidate/measurements.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.split_inclusive('\n').take(8).collect::<String>()).unwrap();
    let note = "! ab/candidate is incomplete: 4 records missing; continue with `llama2-bench run --resume ab/candidate`";
    place.bench(&["compare", "ab/baseline", "ab/candidate"]).assert().code(3).stdout(contains(note));
    place.bench(&["run", "--resume", "ab"]).args(flags).assert().success();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 12);
    let environment = read_json(&place.path("ab/candidate/environment.json"));
    assert_eq!(environment["pair"]["is_baseline"], false);
}

#[test]
fn a_single_replicate_is_inconclusive_and_says_how_many_would_do() {
    let place = Place::new();
    run(&place, "a", &[]);
    run(&place, "b", &["--option", "mock.slowdown=2"]);
    let compare = |more: &[&str]| {
        let mut command = place.bench(&["compare", "a", "b"]);
        command.args(more).assert()
    };
    compare(&[]).code(3).stdout(contains("? +100.0%")).stdout(contains("needs 5"));
    compare(&["--inconclusive", "pass"]).code(0);
    compare(&["--inconclusive", "fail"]).code(1);
}

#[test]
fn thresholds_may_be_of_a_metric() {
    let place = Place::new();
    let slower =
        ["--against-option", "mock.slowdown=1", "--option", "mock.slowdown=1.1", "--inconclusive", "pass"];
    place.write("sweep.toml", MOCK);
    place.bench(&["run", "sweep.toml", "--out", "ab"]).args(slower).assert().code(1);
    let compare = |more: &[&str]| {
        let mut command = place.bench(&["compare", "ab/baseline", "ab/candidate", "--threshold", "15%"]);
        command.args(ANY_MEMORY).args(more).assert()
    };
    compare(&[]).code(0);
    compare(&["--threshold", "wall=5%"]).code(1).stdout(contains("7 regressed, 35 unchanged (of 42)"));
    for (threshold, message) in [
        ("5", "expected a share such as 10%"),
        ("decode=5%", "unknown metric \"decode\": expected one of prompt, first-128"),
    ] {
        place
            .bench(&["compare", "ab/baseline", "ab/candidate", "--threshold", threshold])
            .assert()
            .code(2)
            .stderr(contains(message));
    }
}

#[test]
fn another_procedure_another_model_and_a_run_of_two_kinds_are_refused() {
    let place = Place::new();
    run(&place, "a", &[]);
    run(&place, "more", &["--prompt-runs", "7", "--seed", "1"]);
    let message =
        "error: a and more can't be compared: they were measured with different settings: model llama2-15m: ";
    let rest = "; procedure.prompt_runs: 5 and 7; seed: 0 and 1\n";
    let assert = place.bench(&["compare", "a", "more"]).assert().code(2);
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(stderr.starts_with(message) && stderr.ends_with(rest), "{stderr}");

    run(&place, "tiny", &["--model", "tinyllama-1.1b"]);
    let message = "error: a and tiny have no model and precision in common: LLaMA-2 15M FP32";
    place.bench(&["compare", "a", "tiny"]).assert().code(2).stderr(starts_with(message));
    place
        .bench(&["compare", "a", "nothing"])
        .assert()
        .code(2)
        .stderr(starts_with("error: nothing: no such file or folder"));
    run(&place, "large", &["--batch-size", "32"]);
    let message = "error: a and large have no cell in common\n";
    place.bench(&["compare", "a", "large"]).assert().code(2).stderr(message);

    let records = place.path("a/measurements.jsonl");
    let text = std::fs::read_to_string(&records).unwrap();
    std::fs::write(&records, text.split_inclusive('\n').take(4).collect::<String>()).unwrap();
    place.bench(&["run", "--resume", "a", "--threads", "1", "--allow-mixed"]).assert().success();
    let message =
        "error: a: its cells were measured in 2 different ways (--allow-mixed), so it can't be compared\n";
    place.bench(&["compare", "a", "tiny"]).assert().code(2).stderr(message);
}

#[test]
fn a_cell_that_runs_out_of_memory_where_it_did_not_is_a_regression() {
    let place = Place::new();
    run(&place, "a", &["--replicates", "5"]);
    let fault = "mock.fault={ kind = \"out_of_memory\", phase = \"decode\", min_batch_size = 4 }";
    run(&place, "b", &["--replicates", "5", "--option", fault]);
    let compare = |sides: [&str; 2]| place.bench(&["compare"]).args(sides).args(ANY_MEMORY).assert();
    compare(["a", "b"]).code(1).stdout(contains("3 regressed, 24 unchanged (of 27)"));
    compare(["b", "a"]).code(0).stdout(contains("3 improved"));
    compare(["b", "b"]).code(0);
    // The csv has the cells, their means and the failures, each with its table's heading.
    let csv = compare_csv(&place, ["a", "b"]);
    let lists: std::collections::BTreeSet<&str> = csv.iter().map(|row| row["list"].as_str()).collect();
    assert_eq!(lists.into_iter().collect::<Vec<_>>(), ["cells", "ends", "means"]);
    for row in &csv {
        assert_eq!((row["baseline"].as_str(), row["candidate"].as_str()), ("a", "b"));
        assert!(row["tables.baseline"].starts_with("LLaMA-2 15M"), "{row:?}");
    }
    let end = csv.iter().find(|row| row["list"] == "ends").unwrap();
    assert_eq!((end["ends.baseline"].as_str(), end["verdict"].as_str()), ("ok", "regressed"), "{end:?}");
}

/// The rows of a comparison's csv, by column.
fn compare_csv(place: &Place, sides: [&str; 2]) -> Vec<std::collections::BTreeMap<String, String>> {
    let output = place.bench(&["compare", "--format", "csv"]).args(sides).args(ANY_MEMORY).output().unwrap();
    csv::Reader::from_reader(&output.stdout[..]).deserialize().collect::<Result<_, _>>().unwrap()
}

#[test]
fn published_tables_are_held_against_each_other_by_the_threshold_alone() {
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/published/llama2-a100.md");
    let place = Place::new();
    let text = std::fs::read_to_string(published).unwrap();
    let row = text.lines().find(|line| line.starts_with("| onnxruntime")).unwrap();
    let latency = row.split('|').nth(4).unwrap().trim();
    place.write("slower.md", &text.replacen(latency, &format!("1{latency}"), 1));
    place.bench(&["compare", published, published]).assert().code(0).stdout(contains("threshold only"));
    // Without a threshold of the user's, a change is provisional.
    let compare = |more: &[&str]| place.bench(&["compare", published, "slower.md"]).args(more).assert();
    compare(&[]).code(0).stdout(contains("2 provisional"));
    compare(&["--provisional", "fail"]).code(1);
    let assert = compare(&["--threshold", "5%", "--format", "markdown"]).code(1);
    assert.stdout(starts_with("<!-- llama2-bench:compare -->")).stdout(contains("2 regressed"));
    // The second row of a cell is not dropped without a word.
    place.write("twice.md", &text.replacen(row, &format!("{row}\n{row}"), 1));
    let assert = place.bench(&["compare", published, "twice.md"]).assert().code(2);
    assert.stderr(contains("onnxruntime 1×16 appears twice, first in line"));
    let heading = text.lines().find(|line| line.starts_with("## ")).unwrap();
    let table: String = text
        .lines()
        .skip_while(|line| !line.starts_with("| Engine"))
        .take(3)
        .fold(format!("{text}\n{heading}\n\n"), |text, line| text + line + "\n");
    place.write("again.md", &table);
    let assert = place.bench(&["compare", published, "again.md"]).assert().code(2);
    assert.stderr(contains("appears twice, first in line"));
    place.bench(&["ratios", "twice.md", "onnxruntime"]).assert().code(2).stderr(contains("twice.md:"));
}

/// The folders of all committed runs.
fn committed_runs(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let runs = entries.flat_map(|path| {
        if path.join("measurements.jsonl").exists() { vec![path] } else { committed_runs(&path) }
    });
    runs.collect()
}

#[test]
fn a_run_is_unchanged_against_its_own_table_both_ways() {
    let place = Place::new();
    let runs = committed_runs(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../results")));
    assert!(runs.len() >= 10, "{runs:?}");
    for run in runs {
        let run = run.to_str().unwrap();
        let table = place.bench(&["table", run, "--format", "markdown"]).assert().success();
        place.write("t.md", &String::from_utf8_lossy(&table.get_output().stdout));
        for sides in [["t.md", run], [run, "t.md"]] {
            let assert = place.bench(&["compare"]).args(sides).assert().code(0);
            let text = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
            let counts = text.lines().last().unwrap();
            let (count, rest) = counts.split_once(' ').unwrap();
            assert_eq!(rest, format!("unchanged (of {count})"), "{sides:?}: {counts}");
        }
    }
}

#[test]
fn what_one_side_alone_has_is_told_and_is_inconclusive() {
    let place = Place::new();
    place.write("sweep.toml", &both());
    place.write("engines.toml", ENGINES);
    let run = ["run", "sweep.toml", "--engines-file", "engines.toml", "--replicates", "5"];
    place.bench(&run).args(["--out", "both"]).assert().success();
    place.bench(&run).args(["--out", "one", "--engine", "mock"]).assert().success();
    let compare = |sides: [&str; 2], more: &[&str]| {
        place.bench(&["compare"]).args(sides).args(ANY_MEMORY).args(more).assert()
    };
    let told = "only in the baseline: 6 cells (other 1×16, other 1×64, ";
    compare(["both", "one"], &[]).code(3).stdout(contains(told)).stdout(contains("6 inconclusive"));
    compare(["one", "both"], &[]).code(3).stdout(contains("only in the candidate: 6 cells (other 1×16, "));
    compare(["both", "one"], &["--allow-missing"]).code(0).stdout(contains(told));
    // A metric of one side.
    let path = place.path("one/measurements.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let without = text.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record["outcome"]["ok"]["series"]["memory"]["peak_bytes"] = Value::Null;
        format!("{record}\n")
    });
    std::fs::write(&path, without.collect::<String>()).unwrap();
    let told = "only in the baseline: 6 figures of Peak Memory (mock 1×16, ";
    compare(["both", "one"], &[]).code(3).stdout(contains(told));
}

#[test]
fn a_history_says_how_far_runs_differ() {
    let place = Place::new();
    let kept = |name: &str, slowdown: f64, day: u32| {
        let option = format!("mock.slowdown={slowdown}");
        run(&place, name, &["--replicates", "5", "--option", &option]);
        let path = place.path(&format!("{name}/environment.json"));
        let mut environment = read_json(&path);
        environment["started"] = format!("2026-01-{day:02}T00:00:00Z").into();
        std::fs::write(&path, environment.to_string()).unwrap();
        place.bench(&["history", "kept", "--add", name]).assert().success();
    };
    for (day, slowdown) in [1.0, 1.01, 0.99, 1.005, 0.995, 1.0, 1.01, 0.99, 1.0].into_iter().enumerate() {
        kept(&format!("r{day}"), slowdown, day as u32 + 1);
    }
    kept("slower", 1.12, 20);
    let compare =
        |more: &[&str]| place.bench(&["compare", "r0", "slower"]).args(ANY_MEMORY).args(more).assert();
    let told = "how much runs of this machine differ is not known";
    compare(&[]).code(0).stdout(contains(told)).stdout(contains("35 provisional"));
    compare(&["--provisional", "fail"]).code(1);
    let told = "the intervals include how much runs of this machine differ, by 8 earlier runs of --history";
    compare(&["--history", "kept"]).code(1).stdout(contains(told)).stdout(contains("35 regressed"));
    compare(&["--history", "nowhere"]).code(2).stderr(contains("error: nowhere: "));
}

#[test]
fn drift_widens_an_interval_and_what_it_hides_does_not_pass() {
    let place = Place::new();
    run(&place, "a", &["--replicates", "10"]);
    let text = std::fs::read_to_string(place.path("a/measurements.jsonl")).unwrap();
    let drifting = |factor: f64| {
        let records = text.lines().map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let factor = factor * (0.96 + 0.08 / 9.0 * record["replicate"].as_f64().unwrap());
            let scale = |seconds: &mut Value| *seconds = (seconds.as_f64().unwrap() * factor).into();
            let series = &mut record["outcome"]["ok"]["series"];
            series["prompt_seconds"].as_array_mut().unwrap().iter_mut().for_each(scale);
            let generation = &mut series["generations"][0];
            generation["token_seconds"].as_array_mut().unwrap().iter_mut().for_each(scale);
            scale(&mut generation["wall_seconds"]);
            scale(&mut generation["prompt_seconds"]);
            format!("{record}\n")
        });
        records.collect::<String>()
    };
    let side = |name: &str, is_baseline: bool, records: &str| {
        std::fs::create_dir(place.path(name)).unwrap();
        std::fs::copy(place.path("a/sweep.toml"), place.path(&format!("{name}/sweep.toml"))).unwrap();
        let mut environment = read_json(&place.path("a/environment.json"));
        environment["pair"] = serde_json::json!({"id": "one", "is_baseline": is_baseline});
        place.write(&format!("{name}/environment.json"), &environment.to_string());
        place.write(&format!("{name}/measurements.jsonl"), records);
    };
    side("base", true, &text);
    side("slower", false, &drifting(1.14));
    side("twice", false, &drifting(2.0));
    let compare = |candidate: &str, more: &[&str]| {
        place.bench(&["compare", "base", candidate]).args(ANY_MEMORY).args(more).assert()
    };
    let pass = ["--inconclusive", "pass"];
    compare("twice", &pass).code(1).stdout(contains("35 regressed"));
    compare("slower", &pass).code(3).stdout(contains("would be regressed without its drift"));
    compare("slower", &["--allow-drift"]).code(1).stdout(contains("35 regressed"));
}

#[test]
fn every_format_goes_where_it_is_sent_and_a_step_of_github_gets_its_summary() {
    let place = Place::new();
    run(&place, "a", &["--replicates", "5"]);
    run(&place, "b", &["--replicates", "5", "--option", "mock.slowdown=1.5"]);
    let formats = ["terminal=t.txt", "markdown=m.md", "json=j.json", "junit=j.xml", "github"];
    let arguments = formats.iter().flat_map(|format| ["--format", *format]);
    let mut command = place.bench(&["compare", "a", "b"]);
    command.args(arguments).args(ANY_MEMORY).env("GITHUB_STEP_SUMMARY", place.path("summary.md"));
    command.assert().code(1).stdout(contains("::error title=")).stdout(contains("35 regressed"));
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    assert!(read("t.txt").ends_with("35 regressed, 7 unchanged (of 42)\n"));
    assert_eq!(read("summary.md"), read("m.md"));
    assert!(read("j.xml").contains("failures=\""), "{}", read("j.xml"));
    assert_eq!(read_json(&place.path("j.json"))["counts"]["regressed"], 35);
    let message = "expected terminal, markdown, csv, json, junit or github";
    place.bench(&["compare", "a", "b", "--format", "html"]).assert().code(2).stderr(contains(message));
}

#[test]
fn a_run_that_is_resumed_is_one_run_of_a_history() {
    let place = Place::new();
    place.run(MOCK, &["--batch-size", "1", "--history", "kept"]);
    // Of the same sweep: the second half is measured later, under another name, in another place.
    let path = place.path("run/measurements.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.split_inclusive('\n').take(1).collect::<String>()).unwrap();
    std::fs::rename(place.path("run"), place.path("moved")).unwrap();
    let resume = ["run", "--resume", "moved", "--history", "kept", "--revision", "later"];
    for size in ["64", "256"] {
        place.bench(&resume).args(["--prompt-length", size]).assert().success();
    }
    assert_eq!(std::fs::read_dir(place.path("kept")).unwrap().count(), 1);
    place.bench(&["history", "kept", "--cells"]).assert().success().stdout(contains("1×256"));
    // Where nothing can be kept, nothing is measured.
    place.write("file", "");
    let run = ["run", "sweep.toml", "--out", "other", "--history", "file"];
    place.bench(&run).assert().code(2).stderr(starts_with("error: --history: file: "));
    assert!(!place.path("other").exists());
}

#[test]
fn history_shows_where_a_level_changed() {
    let place = Place::new();
    for revision in 0..16 {
        let slowdown = if revision < 8 { "mock.slowdown=1.0" } else { "mock.slowdown=1.2" };
        let name = format!("r{revision:02}");
        run(&place, &name, &["--option", slowdown]);
        let path = place.path(&format!("{name}/environment.json"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut environment: Value = serde_json::from_str(&text).unwrap();
        environment["started"] = format!("2026-01-{:02}T00:00:00Z", revision + 1).into();
        std::fs::write(&path, environment.to_string()).unwrap();
        place.bench(&["history", "kept", "--add", &name, "--revision", &name]).assert().success();
    }
    let assert = place.bench(&["history", "kept", "--threshold", "10%"]).assert().success();
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let line = text.lines().find(|line| line.starts_with(" wall")).unwrap();
    assert!(line.contains("+20.0%  ▁▁▁▁▁▁▁▁████████  +20.0% at r08 (2026-01-09)"), "{text}");
    assert_eq!(header(&text), "metric engine first run last run change trend level changes");
    let markdown = ["history", "kept", "--format", "markdown"];
    place.bench(&markdown).assert().success().stdout(contains("| metric | engine | first run | last run |"));
    let assert = place.bench(&["history", "kept", "--json"]).assert().success();
    let json: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let wall = json["series"].as_array().unwrap().iter().find(|series| series["metric"] == "wall").unwrap();
    assert_eq!(wall["shifts"][0]["run"], 8);
    // What a power cut left, and what was never a run, is left out and named.
    place.write("kept/0.json", "");
    place.write("kept/bad.json", "{}");
    place.bench(&["history", "kept", "--threshold", "10%"]).assert().success().stdout(text).stderr(
        starts_with("warning: kept/0.json: skipped: EOF while parsing")
            .and(contains("\nwarning: kept/bad.json: skipped: missing field")),
    );
}

#[test]
fn runs_of_the_same_second_keep_their_order_and_one_that_is_added_twice_is_one() {
    let place = Place::new();
    for (name, option) in [("b", "noise=0.01"), ("a", "noise=0.02")] {
        run(&place, name, &["--option", &format!("mock.{option}")]);
        let path = place.path(&format!("{name}/environment.json"));
        let mut environment = read_json(&path);
        environment["started"] = "2026-01-01T00:00:00Z".into();
        std::fs::write(&path, environment.to_string()).unwrap();
        for _ in 0..2 {
            place.bench(&["history", "kept", "--add", name, "--revision", name]).assert().success();
        }
    }
    let files: Vec<_> =
        std::fs::read_dir(place.path("kept")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    std::fs::copy(&files[0], place.path("kept/older-name.json")).unwrap();
    let assert = place.bench(&["history", "kept", "--json"]).assert().success();
    let json: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let revisions =
        json["series"][0]["runs"].as_array().unwrap().iter().map(|run| run["revision"].as_str().unwrap());
    assert_eq!(revisions.collect::<Vec<_>>(), ["b", "a"], "in the order in which they were added");
    place.bench(&["history", "kept"]).assert().success().stdout(contains("· 2 runs\n"));
}

#[test]
fn runs_that_share_no_cell_are_groups_and_what_differs_is_named() {
    let place = Place::new();
    place.bench(&["history", "none"]).assert().code(2);
    std::fs::create_dir(place.path("kept")).unwrap();
    place.bench(&["history", "kept"]).assert().success().stdout(contains("no runs are kept here"));
    place.bench(&["history", "kept", "--format", "csv"]).assert().success().stdout(
        "schema,group,heading,machine,metric,engine,batch_size,prompt_length,started,revision,value\n",
    );
    for (name, size) in [("a", "16"), ("b", "64"), ("c", "16")] {
        run(&place, name, &["--prompt-length", size]);
        place.bench(&["history", "kept", "--add", name]).assert().success();
    }
    run(&place, "d", &["--prompt-length", "16", "--prompt-runs", "6"]);
    let assert = place.bench(&["history", "kept", "--add", "d"]).assert().success();
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let heads: Vec<&str> = text.lines().filter(|line| line.starts_with('(')).collect();
    assert_eq!(heads.len(), 3, "{text}");
    assert!(heads[0].starts_with("(1) LLaMA-2 15M") && heads[0].ends_with("· 2 runs"), "{text}");
    assert!(
        text.ends_with(
            "These runs are not one series. They differ in:\n  \
             procedure.prompt_runs: (1) 5, (2) 5, (3) 6\n  sizes: (1) 1×16, 4×16, (2) 1×64, 4×64, (3) 1×16, 4×16\n"
        ),
        "{text}"
    );
}

#[test]
fn what_is_open_is_measured_again_until_the_budget_is_spent() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let run = |out: &str, more: &[&str]| {
        let mut command =
            place.bench(&["run", "sweep.toml", "--out", out, "--against-option", "mock.slowdown=1"]);
        command.args(ANY_MEMORY).args(["--format", &format!("json={out}.json")]).args(more).assert()
    };
    // One replicate says nothing; a round of five does.
    run("clear", &["--replicates", "1", "--until-clear"]).code(0);
    let json = read_json(&place.path("clear.json"));
    assert_eq!(
        (&json["counts"]["unchanged"], &json["counts"]["inconclusive"]),
        (&42.into(), &0.into()),
        "{json}"
    );
    assert_eq!(json["tables"][0]["sections"][0]["cells"][0]["round"], 1);
    assert!(place.path("clear/round-1/candidate/measurements.jsonl").exists());
    assert!(!place.path("clear/round-2").exists());
    // A regression is confirmed.
    run("slower", &["--option", "mock.slowdown=1.2", "--budget", "10m"]).code(1).stdout(contains(""));
    let json = read_json(&place.path("slower.json"));
    assert_eq!(json["counts"]["regressed"], 35);
    assert_eq!(json["tables"][0]["sections"][0]["cells"][0]["round"], 1);
    assert!(!place.path("slower/round-2").exists(), "a confirmed regression is not open");
    // Resumed, each side keeps its own settings, and the round that is there counts.
    let resumed = ["run", "--resume", "slower", "--against-option", "mock.slowdown=1", "--budget", "10m"];
    place.bench(&resumed).args(ANY_MEMORY).assert().code(1).stdout(contains("35 regressed"));
    // Without time left nothing is measured again, and that is told.
    let told = "6 cells still open, and 0 s of the budget left";
    run("late", &["--replicates", "1", "--budget", "1ms"]).code(3);
    assert!(std::fs::read_to_string(place.path("late/comparison.md")).unwrap().contains(told));
    let message = "expected a duration such as 15m or 90s, found \"soon\"";
    place.bench(&["run", "--budget", "soon"]).assert().code(2).stderr(contains(message));
    let message = "error: --budget: needs a comparison: give its baseline with --against\n";
    place.bench(&["run", "--budget", "1m"]).assert().code(2).stderr(message);
}

#[test]
fn of_a_cell_that_fails_on_either_side_the_comparison_says_what_it_is() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let fault = "mock.fault={ kind = \"error\", phase = \"decode\", min_batch_size = 4 }";
    let run = ["run", "sweep.toml", "--out", "ab", "--against-option", "mock.slowdown=1", "--option", fault];
    // Three cells failed in all of ten replicates: on both sides, so nothing regressed.
    place
        .bench(&run)
        .args(ANY_MEMORY)
        .assert()
        .code(3)
        .stdout(contains("24 unchanged, 3 inconclusive (of 27)"));
}

#[test]
fn noise_says_which_threshold_replicates_hold() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let list = ["noise", "sweep.toml", "--list", "--format", "csv"];
    place.bench(&list).assert().success().stdout(starts_with("model,precision,engine,batch_size,"));
    assert!(!place.path("runs").exists());
    let text = place.bench(&["noise", "sweep.toml", "--out", "aa"]).assert().success();
    let text = String::from_utf8_lossy(&text.get_output().stdout).into_owned();
    assert_eq!(header(&text), "metric lines smallest threshold replicates for 1% 2% 5% 10%");
    assert!(text.ends_with(" intervals exclude \"no change\"; by chance, 1 in 20 does.\n"), "{text}");
    let markdown = ["noise", "--from", "aa", "--format", "markdown"];
    place.bench(&markdown).assert().success().stdout(starts_with("| metric | lines | smallest threshold |"));
    let json = place.bench(&["noise", "--from", "aa", "--json"]).assert().success();
    let json: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    let wall = json["metrics"].as_array().unwrap().iter().find(|metric| metric["metric"] == "wall").unwrap();
    // The mock's clock is without noise.
    assert!(wall["threshold_held"].as_f64().unwrap() < 1e-3, "{wall}");
    assert_eq!(wall["replicates_needed"][0], serde_json::json!({"threshold": 0.01, "replicates": 2}));
    let csv = place.bench(&["noise", "--from", "aa", "--format", "csv"]).assert().success();
    let csv = String::from_utf8_lossy(&csv.get_output().stdout).into_owned();
    let rows: Vec<String> =
        csv.lines().map(|row| row.split(',').skip(7).collect::<Vec<_>>().join(",")).collect();
    let needed = json["metrics"].as_array().unwrap().iter().flat_map(|metric| {
        let needed = metric["replicates_needed"].as_array().unwrap().iter();
        needed.map(|needed| format!("{},{}", needed["threshold"], needed["replicates"]))
    });
    let header = std::iter::once("threshold,replicates_needed.replicates".to_owned());
    assert_eq!(rows, header.chain(needed).collect::<Vec<_>>());
    run(&place, "one", &[]);
    place
        .bench(&["noise", "--from", "one"])
        .assert()
        .code(2)
        .stderr(starts_with("error: one: not a folder of noise"));
}

#[test]
fn the_gate_measures_two_builds_interleaved() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let gate = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/gate.sh");
    let build = worker("llama2-bench-mock").parent().unwrap().display().to_string();
    let run = |base: &str, out: &str, engines: &str| {
        let mut command = Command::new(gate);
        command.args(["sweep.toml", base, out]).args(ANY_MEMORY).current_dir(place.path(""));
        command.env("LLAMA2_BENCH", worker("llama2-bench")).env("HISTORY", "kept").env("REVISION", out);
        let output = command.env("ENGINES", engines).env_remove("GITHUB_ACTIONS").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = run(&build, "same", "");
    assert_eq!(code, 0, "{stderr}");
    assert!(place.path("same/comment.md").exists() && place.path("same/junit.xml").exists());
    let again = "gate: same/runs is there, of an earlier gate: remove same, or name another OUT\n";
    assert_eq!(run(&build, "same", ""), (2, again.to_owned()));
    // The head's engines.toml slows its worker by a fifth.
    let engines = |slowdown: &str| {
        format!("[mock]\ncommand = [\"llama2-bench-mock\"]\noptions = {{ slowdown = {slowdown} }}\n")
    };
    place.write("base.toml", &engines("1.0"));
    place.write("head.toml", &engines("1.2"));
    assert_eq!(run("base.toml", "slower", "head.toml").0, 1);
    assert_eq!(std::fs::read_dir(place.path("kept")).unwrap().count(), 2);
}

#[test]
fn the_gate_keeps_a_baseline_and_fails_on_a_regression() {
    let place = Place::new();
    let sweep = |more: &str| place.write("sweep.toml", &format!("{MOCK}replicates = 5\n{more}"));
    let gate = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/gate.sh");
    let run = |out: &str| {
        let mut command = Command::new(gate);
        command.args(["sweep.toml", "baseline", out]).args(ANY_MEMORY).current_dir(place.path(""));
        command.env("LLAMA2_BENCH", worker("llama2-bench")).env("HISTORY", "kept").env("REVISION", out);
        let output = command.env_remove("GITHUB_ACTIONS").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    sweep("");
    let (code, stderr) = run("first");
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("gate: no baseline in baseline yet: nothing is compared"), "{stderr}");
    std::fs::rename(place.path("first/candidate"), place.path("baseline")).unwrap();
    assert_eq!(run("same").0, 0);
    sweep("[options.mock]\nslowdown = 2.0\n");
    assert_eq!(run("slower").0, 1);
    assert!(place.path("slower/comment.md").exists() && place.path("slower/junit.xml").exists());
    assert_eq!(std::fs::read_dir(place.path("kept")).unwrap().count(), 3);
}

#[test]
fn a_side_that_holds_something_else_is_refused_before_the_other_is_begun() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    std::fs::create_dir_all(place.path("ab/candidate")).unwrap();
    place.write("ab/candidate/notes.txt", "mine");
    let run = ["run", "sweep.toml", "--out", "ab", "--against-option", "mock.slowdown=1.1"];
    place.bench(&run).assert().code(2).stderr(contains("ab/candidate"));
    assert!(!place.path("ab/baseline").exists());
}
