//! The program run end to end with the mock engine.

mod common;

use common::{MOCK, Place, read_records, worker};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

#[test]
fn a_sweep_prints_the_documents_table_and_fills_its_folder() {
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
fn a_run_s_tables_are_made_again_byte_for_byte() {
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
        contains("the last record was cut off (100 bytes): dropped")
            .and(contains("6 cells, 2 of them measured already")),
    );
    let again = read_records(&place.path("run"));
    assert_eq!(again.len(), 6);
    assert_eq!(std::fs::read_to_string(place.path("run/table.md")).unwrap(), table);

    place
        .bench(&["run", "--resume", "run"])
        .assert()
        .success()
        .stderr(contains("6 of them measured already"));
    assert_eq!(read_records(&place.path("run")).len(), 6);
    place
        .bench(&["run", "--resume", "run", "--batch-size", "1"])
        .assert()
        .code(2)
        .stderr("error: run: its cells were measured otherwise: batch_sizes: [1, 4], here [1]: --allow-mixed measures the missing ones all the same, and says under the table which they are\n");
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
        .stderr(contains("--peaks: expected \"run\" or \"cell\", found \"cells\""));
}

#[test]
fn a_run_says_where_its_time_went() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let cell = ["--peaks", "cell", "--batch-size", "1", "--prompt-length", "16"];
    let assert = place.bench(&["run", "sweep.toml", "--out", "run"]).args(cell).assert().success();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    let line = stderr.lines().find(|line| line.starts_with("took 0:")).unwrap();
    let (_, parts) = line.split_once(": ").unwrap();
    let shares = parts.split(", ").map(|part| part.split_once(" % ").unwrap());
    let whole: f64 = shares.clone().map(|(share, _)| share.parse::<f64>().unwrap()).sum();
    assert!((whole - 100.0).abs() < 0.5, "{line}");
    let names: Vec<_> = shares.map(|(_, what)| what).collect();
    assert!(names.ends_with(&["memory read beside cells", "the rest"]), "{line}");
}
