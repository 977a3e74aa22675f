//! The program run end to end with the mock engine.

mod common;

use common::{MOCK, Place, read_records, worker};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

#[test]
fn a_sweep_prints_the_published_table_and_fills_its_folder() {
    let place = Place::new();
    let (code, stdout) = place.run(MOCK, &[]);
    assert_eq!(code, 0);

    let published = include_str!("../../../results/published/llama2-a100.md");
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("## LLaMA-2 15M FP32 CPU ("), "{}", lines[0]);
    assert_eq!(lines[2..4], published.lines().collect::<Vec<_>>()[2..4]);
    let row = |line: &str| line.split('|').take(4).map(str::trim).collect::<Vec<_>>().join(",");
    let rows: Vec<String> = lines[4..10].iter().map(|line| row(line)).collect();
    assert_eq!(rows, [",mock,1,16", ",mock,1,64", ",mock,1,256", ",mock,4,16", ",mock,4,64", ",mock,4,256"]);
    let notes = [
        "- latencies of mock are scripted, not measured",
        "- prompt latency: mean of 5 timed forwards (published procedure: 100)",
    ];
    assert_eq!(lines[10..], ["", notes[0], notes[1]]);

    let mut files: Vec<String> = std::fs::read_dir(place.path("run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let made =
        ["environment.json", "measurements.jsonl", "report.html", "summary.csv", "sweep.toml", "table.md"];
    assert_eq!(files, made);
    assert_eq!(std::fs::read_to_string(place.path("run/table.md")).unwrap(), stdout);
}

#[test]
fn every_printed_throughput_equals_its_formula() {
    let place = Place::new();
    let (_, stdout) = place.run(MOCK, &[]);
    let rows = stdout.lines().filter(|line| line.starts_with("| mock"));
    for row in rows {
        let cells: Vec<f64> = row.split('|').skip(2).filter_map(|cell| cell.trim().parse().ok()).collect();
        let [b, p, prompt_ms, prompt_tps, ms_128, tps_128, ms_256, tps_256, wall, wall_tps] = cells[..]
        else {
            panic!("{row}")
        };
        let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 2e-9, "{a} {b} in {row}");
        close(prompt_tps, b * p / (prompt_ms / 1e3));
        close(tps_128, b / (ms_128 / 1e3));
        close(tps_256, b / (ms_256 / 1e3));
        close(wall_tps, b * (p + 256.0) / wall);
    }
}

#[test]
fn the_tables_of_a_run_are_made_again_byte_for_byte() {
    let place = Place::new();
    place.run(MOCK, &[]);
    for (format, file) in [("markdown", "run/table.md"), ("csv", "run/summary.csv")] {
        let expected = std::fs::read_to_string(place.path(file)).unwrap();
        place.bench(&["table", "run", "--format", format]).assert().success().stdout(expected);
    }
    place
        .bench(&["table", "run", "--format", "json"])
        .assert()
        .success()
        .stdout(contains("\"wall_seconds\""));
    place.bench(&["table", "run", "--format", "terminal"]).assert().success().stdout(contains("256: ms/tok"));
}

#[test]
fn flags_override_the_sweep() {
    let place = Place::new();
    let (code, _) = place.run(
        MOCK,
        &[
            "--batch-size",
            "2,8",
            "--prompt-length",
            "32",
            "--generation-length",
            "4",
            "--prompt-runs",
            "3",
            "--generations",
            "2",
            "--replicates",
            "2",
            "--option",
            "mock.slowdown=2.0",
        ],
    );
    assert_eq!(code, 0);
    let records = place.records();
    let cells: Vec<_> =
        records.iter().map(|r| (r.replicate, r.key.batch_size, r.key.prompt_length)).collect();
    assert_eq!(cells, [(0, 2, 32), (0, 8, 32), (1, 2, 32), (1, 8, 32)]);
    for record in &records {
        assert_eq!(
            (record.series().unwrap().prompt_seconds.len(), record.series().unwrap().generations.len()),
            (3, 2)
        );
        assert!(
            record.series().unwrap().generations.iter().all(|generation| generation.token_seconds.len() == 4)
        );
        let scripted = 2.0 * 20e-6 * f64::from(record.key.batch_size * 32);
        assert!(
            record
                .series()
                .unwrap()
                .prompt_seconds
                .iter()
                .all(|seconds| (seconds / scripted - 1.0).abs() < 0.02)
        );
    }
}

#[test]
fn a_list_measures_nothing() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let assert = place.bench(&["run", "sweep.toml", "--list", "--memory-limit", "70MiB"]).assert().success();
    insta::assert_snapshot!(String::from_utf8(assert.get_output().stdout.clone()).unwrap());
    assert!(!place.path("runs").exists());
}

#[test]
fn a_list_has_four_formats_and_says_what_loading_takes() {
    let place = Place::new();
    place.write("sweep.toml", &MOCK.replace("[\"mock\"]", "[\"mock\", \"onnxruntime\"]"));
    let list = |format: &str| {
        let assert = place.bench(&["run", "sweep.toml", "--list", "--format", format]).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let unknown = "12 cells; no estimate of the time: this device's peaks are not known yet";
    assert!(list("terminal").contains(unknown), "{}", list("terminal"));
    let json: serde_json::Value = serde_json::from_str(&list("json")).unwrap();
    let (mock, onnxruntime) = (&json["cells"][0], &json["cells"][6]);
    assert!(mock["loading_bytes"].is_null());
    // 58 MiB of weights took 193 MiB.
    assert!(onnxruntime["loading_bytes"].as_u64().unwrap() >= 193 << 20);
    assert!(onnxruntime["total_bytes"].as_u64() >= onnxruntime["loading_bytes"].as_u64());
    let csv = list("csv");
    assert!(
        csv.starts_with("model,precision,engine,batch_size,prompt_length,replicate,weights_bytes,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 13);
    assert!(list("markdown").starts_with("llama2-15m\n\n| engine | batch | prompt | weights |"));
    place
        .bench(&["run", "sweep.toml", "--list", "--format", "junit"])
        .assert()
        .code(2)
        .stderr("error: --format: a list is terminal, markdown, csv or json\n");
    place.run(MOCK, &["--batch-size", "1", "--prompt-length", "16", "--option", "mock.peaks=true"]);
    // The peaks of the mock are not this machine's.
    assert!(list("terminal").contains("; no estimate of the time: "), "{}", list("terminal"));
}

#[test]
fn peaks_of_an_earlier_run_are_reused_and_said() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let cell = ["--batch-size", "1", "--prompt-length", "16", "--option", "mock.peaks=true", "--no-verify"];
    let run = |out: &str, more: &[&str]| {
        let assert =
            place.bench(&["run", "sweep.toml", "--out", out]).args(cell).args(more).assert().success();
        let [stdout, stderr] = [&assert.get_output().stdout, &assert.get_output().stderr]
            .map(|text| String::from_utf8(text.clone()).unwrap());
        let environment = std::fs::read_to_string(place.path(out).join("environment.json")).unwrap();
        let environment: protocol::Environment = serde_json::from_str(&environment).unwrap();
        (stdout, stderr, environment.peaks.unwrap().measured_at)
    };
    let note = "- peaks measured by an earlier run on this machine (20";
    let measuring = "measuring peak memory bandwidth and FLOP/s, about 4 s\n";
    let (stdout, stderr, measured_at) = run("first", &[]);
    assert!(stderr.contains(measuring) && !stdout.contains(note), "{stderr}{stdout}");
    assert_eq!(measured_at, None);

    let (stdout, stderr, measured_at) = run("second", &[]);
    assert!(
        !stderr.contains(measuring) && stderr.contains("; --peaks again measures them anew)\n"),
        "{stderr}"
    );
    assert!(stdout.contains(note) && stdout.contains(&measured_at.unwrap()), "{stdout}");

    for (out, more) in
        [("again", ["--peaks", "again"]), ("threads", ["--threads", "1"]), ("cell", ["--peaks", "cell"])]
    {
        let (_, stderr, measured_at) = run(out, &more);
        assert!(stderr.contains(measuring) && measured_at.is_none(), "{out}: {stderr}");
    }
    // A damaged cache is measured anew, and a comparison never takes one.
    for file in std::fs::read_dir(place.path("cache/peaks")).unwrap() {
        std::fs::write(file.unwrap().path(), "damaged").unwrap();
    }
    let (_, stderr, _) = run("damaged", &[]);
    assert!(stderr.contains("warning: kept peaks: ") && stderr.contains(measuring), "{stderr}");
    let against = ["--against-option", "mock.slowdown=1.0", "--replicates", "2"];
    let assert = place.bench(&["run", "sweep.toml", "--out", "pair"]).args(cell).args(against).assert();
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains(measuring));
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    std::fs::create_dir(place.path("mine")).unwrap();
    place.write("mine/notes.txt", "");
    place.write("mine/plot.png", "");
    let error = "error: mine: no run and not empty (it holds notes.txt and 1 more): choose a new or empty folder with --out\n";
    for command in [
        &["run", "sweep.toml"][..],
        &["run", "sweep.toml", "--against-option", "mock.slowdown=1.0"],
        &["noise", "sweep.toml"],
    ] {
        place.bench(&[command, &["--out", "mine"]].concat()).assert().code(2).stderr(error);
    }
    std::fs::create_dir(place.path("empty")).unwrap();
    place.bench(&["run", "sweep.toml", "--out", "empty"]).assert().success();
}

#[test]
fn a_memory_limit_needs_a_unit_and_room_for_the_model() {
    let place = Place::new();
    place.write("sweep.toml", &format!("memory_limit = 10\n{MOCK}"));
    let bare = "memory_limit: expected a size with a unit, found 10: did you mean 10GiB?\n";
    place.bench(&["run", "sweep.toml"]).assert().code(2).stderr(format!("error: sweep.toml:1: {bare}"));
    place.write("sweep.toml", MOCK);
    for flag in ["--memory-limit", "--device-memory-limit"] {
        place
            .bench(&["run", "sweep.toml", flag, "10"])
            .assert()
            .code(2)
            .stderr(format!("error: {flag}: expected a size with a unit, found 10: did you mean 10GiB?\n"));
    }
    place
        .bench(&["run", "sweep.toml", "--engine", "onnxruntime", "--memory-limit", "10MiB"])
        .assert()
        .code(2)
        .stderr(contains("--memory-limit: 10.0 MiB is too little for every cell: loading llama2-15m with onnxruntime takes about "));
    place.bench(&["run", "sweep.toml", "--memory-limit", "2G"]).assert().success();
}

#[test]
fn a_list_of_several_ranks_says_what_each_holds_reads_computes_and_sends_and_the_floors() {
    let place = Place::new();
    place.write("70b.toml", include_str!("../../../configs/llama2-70b-fp16-cuda.toml"));
    let assert = place.bench(&["run", "70b.toml", "--list"]).assert().success();
    insta::assert_snapshot!(String::from_utf8(assert.get_output().stdout.clone()).unwrap());
}

#[test]
fn resume_measures_exactly_what_is_missing() {
    let place = Place::new();
    place.run(MOCK, &[]);
    let path = place.path("run/measurements.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    let table = std::fs::read_to_string(place.path("run/table.md")).unwrap();

    // Two whole records, and a third one torn.
    let lines: Vec<&str> = whole.lines().collect();
    std::fs::write(&path, format!("{}\n{}\n{}", lines[0], lines[1], &lines[2][..100])).unwrap();
    place.bench(&["run", "--resume", "run"]).assert().success().stderr(
        contains("the last record was incomplete (100 bytes) and is dropped")
            .and(contains("6 cells, 2 already measured")),
    );
    let again = read_records(&place.path("run"));
    assert_eq!(again.len(), 6);
    assert_eq!(std::fs::read_to_string(place.path("run/table.md")).unwrap(), table);

    place.bench(&["run", "--resume", "run"]).assert().success().stderr(contains("6 already measured"));
    assert_eq!(read_records(&place.path("run")).len(), 6);
    // A batch size that the run does not have makes another sweep of it.
    place
        .bench(&["run", "--resume", "run", "--batch-size", "1,8"])
        .assert()
        .code(2)
        .stderr(contains("batch_sizes: [1, 4], here [1, 8]"));
}

#[test]
fn resume_can_measure_some_of_the_missing_cells() {
    let place = Place::new();
    let mock = worker("llama2-bench-mock");
    place.write("engines.toml", &format!("[a]\ncommand = [{mock:?}]\n[b]\ncommand = [{mock:?}]\n"));
    let sweep = MOCK.replace("[\"mock\"]", "[\"a\", \"b\"]");
    place.run(&sweep, &["--engines-file", "engines.toml", "--no-verify"]);
    let path = place.path("run/measurements.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.lines().take(1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();

    // The engines file that the run was begun with is found again.
    let resume = |more: &[&str]| place.bench(&[&["run", "--resume", "run", "--no-verify"], more].concat());
    resume(&["--engine", "b", "--batch-size", "4"]).assert().success().stderr(contains("run: 3 cells\n"));
    let cells = || {
        let records = read_records(&place.path("run"));
        records
            .iter()
            .map(|record| (record.key.engine.clone(), record.key.batch_size, record.part))
            .collect::<Vec<_>>()
    };
    let b = || ("b".to_owned(), 4, 1);
    assert_eq!(cells(), [("a".to_owned(), 1, 1), b(), b(), b()]);
    assert!(!place.path("run/sweep-2.toml").exists(), "it is the same sweep");
    resume(&["--engine", "c"]).assert().code(2).stderr(contains("unknown engine \"c\""));

    place
        .write("engines.toml", &format!("[a]\ncommand = [{mock:?}]\n[b]\ncommand = [{mock:?}]\n# changed\n"));
    resume(&[])
        .assert()
        .success()
        .stderr(contains("warning: engines.toml: changed since the run in run began\n"));
    assert_eq!(cells().len(), 12);
    // From another folder, too.
    std::fs::create_dir(place.path("below")).unwrap();
    place.bench(&["run", "--resume", "../run"]).current_dir(place.path("below")).assert().success();
    std::fs::remove_file(place.path("engines.toml")).unwrap();
    resume(&[]).assert().code(2).stderr(
        "error: run: the run was begun with --engines-file engines.toml, which is not there: give the file with --engines-file\n",
    );
}

#[test]
fn a_mistyped_option_fails_in_a_list_too() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let message = "error: --option mock.nois: unknown option of mock: did you mean noise?\n";
    for more in [&["--list"][..], &[]] {
        place
            .bench(&["run", "sweep.toml", "--option", "mock.nois=1"])
            .args(more)
            .assert()
            .code(2)
            .stderr(message);
    }
}

#[test]
fn a_folder_with_a_run_is_not_written_over() {
    let place = Place::new();
    place.run(MOCK, &[]);
    let (code, stdout) = place.run(MOCK, &[]);
    assert_eq!((code, stdout.as_str()), (2, ""));
}

#[test]
fn other_tokens_than_the_other_engines_are_not_hidden() {
    let place = Place::new();
    let engines = place.write(
        "engines.toml",
        &format!(
            "[a]\ncommand = [{mock:?}]\n[b]\ncommand = [{mock:?}]\n",
            mock = worker("llama2-bench-mock")
        ),
    );
    let sweep = MOCK.replace("[\"mock\"]", "[\"a\", \"b\"]");
    let more =
        ["--engines-file", engines.to_str().unwrap(), "--no-verify", "--option", "b.wrong_tokens=true"];
    let (code, stdout) = place.run(&sweep, &more);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("- 1×16, 1×64, 1×256, 4×16, 4×64, 4×256: greedy tokens differ: a ≠ b\n"),
        "{stdout}"
    );

    // Held against each other before they are timed, they are found out: one line, and exit code 1.
    std::fs::remove_dir_all(place.path("run")).unwrap();
    let more = ["--engines-file", engines.to_str().unwrap(), "--option", "b.wrong_tokens=true"];
    let (code, stdout) = place.run(&sweep, &more);
    assert_eq!(code, 1);
    assert!(stdout.contains("- b does not match a: largest logit difference 1.00e0"), "{stdout}");
}

#[test]
fn a_single_engine_without_a_reference_is_said_to_be_unverified() {
    let place = Place::new();
    place.write("engines.toml", &format!("[a]\ncommand = [{:?}]\n", worker("llama2-bench-mock")));
    place.write("sweep.toml", &MOCK.replace("\"mock\"", "\"a\""));
    place
        .bench(&["run", "sweep.toml", "--engines-file", "engines.toml"])
        .assert()
        .success()
        .stderr(contains("not verified: a has no other engine to compare with"));
}

#[test]
fn a_closed_stdout_and_an_isolated_cell_are_fine() {
    let place = Place::new();
    let (code, _) = place.run(MOCK, &["--isolation", "cell"]);
    assert_eq!(code, 0);
    let records = place.records();
    assert!(
        records.iter().all(
            |record| record.failure_kind().is_none() && record.measured().unwrap().load_seconds.is_some()
        )
    );

    let script = format!("{} table run | head -n 1", worker("llama2-bench").display());
    let output = std::process::Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {script}")])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn memory_is_read_beside_every_cell_where_that_is_asked_for() {
    let place = Place::new();
    let all_read = || place.records().iter().all(|record| record.read_bytes_per_second > Some(0.0));
    let (code, _) = place.run(MOCK, &["--peaks", "cell", "--batch-size", "1", "--prompt-length", "16"]);
    assert_eq!(code, 0);
    assert!(all_read());
    place
        .bench(&["run", "sweep.toml", "--out", "other", "--peaks", "cells"])
        .assert()
        .code(2)
        .stderr(contains("--peaks: expected \"run\", \"cell\" or \"again\", found \"cells\""));
}

#[test]
fn a_run_says_where_its_time_went() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let cell = ["--peaks", "cell", "--batch-size", "1", "--prompt-length", "16"];
    let assert = place.bench(&["run", "sweep.toml", "--out", "run"]).args(cell).assert().success();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    let line = stderr.lines().find(|line| line.starts_with("Finished in ")).unwrap();
    let (_, parts) = line.split_once(": ").unwrap();
    let shares = parts.split(", ").map(|part| part.split_once(" % ").unwrap());
    let whole: f64 = shares.clone().map(|(share, _)| share.parse::<f64>().unwrap()).sum();
    assert!((whole - 100.0).abs() < 0.5, "{line}");
    let names: Vec<_> = shares.map(|(_, what)| what).collect();
    assert!(names.ends_with(&["memory reads beside cells", "other"]), "{line}");
}
