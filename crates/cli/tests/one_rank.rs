//! `--one-rank`: rank 0's part of a shared model by itself, which is never taken for the whole.

mod common;

use common::{MOCK, Place, worker};
use predicates::prelude::*;
use predicates::str::contains;

const NOTE: &str = "only rank 0 of 2 was measured, without all-reduces";

/// [`MOCK`] of rank 0 of two.
fn sweep() -> String {
    format!("one_rank = true\nworld_size = 2\n{MOCK}")
}

/// An `engines.toml` in which the mock engine has a GPU, under the name of a published engine.
fn on_gpu(place: &Place) {
    let mock = worker("llama2-bench-mock");
    place.write("engines.toml", &format!("[onnxruntime]\ncommand = [{mock:?}, \"--gpu\"]\n"));
}

/// Rank 0 of the published 70B table, by the mock engine's clock, into `one`.
fn measure_70b(place: &Place) {
    on_gpu(place);
    place.write("70b.toml", include_str!("../../../configs/llama2-70b-fp16-cuda.toml"));
    let arguments = ["run", "70b.toml", "--one-rank", "--engines-file", "engines.toml", "--out", "one"];
    let fewer = [
        "--no-verify",
        "--no-peaks",
        "--batch-size",
        "1",
        "--prompt-length",
        "16,1024",
        "--prompt-runs",
        "2",
    ];
    let noise = ["--option", "onnxruntime.noise=0"];
    place.bench(&[&arguments[..], &fewer, &noise].concat()).assert().success();
}

#[test]
fn one_process_measures_rank_0_and_record_heading_and_note_say_so() {
    let place = Place::new();
    place.write("sweep.toml", &sweep());
    let run = || {
        let mut command = place.bench(&["run", "sweep.toml", "--out", "run"]);
        // Nothing is started that a single process does not need.
        command.env("PATH", place.path(""));
        command.assert()
    };
    let stdout = String::from_utf8(run().success().get_output().stdout.clone()).unwrap();
    assert!(contains(NOTE).count(1).eval(&stdout), "{stdout}");
    let records = place.records();
    assert!(
        records.iter().all(|record| (record.key.ranks.world_size, record.key.ranks.one_rank) == (2, true)),
        "{records:?}"
    );
    let whole =
        llama::LlamaConfig::parse(include_str!("../../../configs/models/llama2-15m.json"), "15m").unwrap();
    let first = llama::TensorParallel::first_of(&whole, Some(2)).unwrap();
    let bytes = |config| llama::cost::weights_bytes(config, protocol::Precision::Fp32);
    assert_eq!(records[0].series().unwrap().memory.weights_bytes, Some(bytes(&first)));
    assert!(bytes(&first) < bytes(&whole));
    for file in ["table.md", "report.html"] {
        let text = std::fs::read_to_string(place.path("run").join(file)).unwrap();
        assert!(text.contains("LLaMA-2 15M FP32 CPU (rank 0 of 2, "), "{file}");
        assert!(contains(NOTE).count(1).eval(&text), "{file}");
    }
    place.bench(&["run", "--resume", "run"]).assert().success().stderr(contains("6 already measured"));
    let table = place.path("run/table.md");
    let table = table.to_str().unwrap();
    place.bench(&["compare", "run", table]).assert().code(predicate::in_iter([0, 3]));
    place.bench(&["audit", "run", table]).assert().success();
}

#[test]
fn it_is_never_mixed_with_a_whole_run() {
    let place = Place::new();
    place.write("one.toml", &sweep());
    place.write("whole.toml", MOCK);
    place.bench(&["run", "one.toml", "--out", "one"]).assert().success();
    place.bench(&["run", "whole.toml", "--out", "whole"]).assert().success();
    let refused = |arguments: &[&str], what: &str| {
        let assert = place.bench(arguments).assert().code(2);
        let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains(what), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    };
    let settings = "one_rank: true and none";
    refused(&["compare", "one", "whole"], settings);
    refused(&["compare", "whole", "one"], "one_rank: none and true");
    refused(&["compare", "one", "whole/table.md"], "one is rank 0 only, the other");
    refused(&["compare", "whole/table.md", "one"], "one is rank 0 only, the other");
    refused(&["run", "one.toml", "--resume", "whole"], "one_rank: none, here true");
    refused(&["merge", "one", "whole", "--out", "both"], "one_rank");
    refused(&["reproduce", "whole/table.md", "--from", "one"], "one rank cannot be compared with all ranks");
    refused(
        &["reproduce", "whole/table.md", "--one-rank"],
        "--one-rank: whole/table.md has tables of all ranks",
    );
    // On one page they stand in different plots.
    place.bench(&["report", "whole", "one", "--out", "page.html"]).assert().success();
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(!page.contains("cores) · LLaMA-2") && page.contains("(rank 0 of 2, "));

    // With --allow-mixed it is a table of its own.
    place.bench(&["run", "one.toml", "--resume", "whole", "--allow-mixed"]).assert().success();
    let tables = place.bench(&["table", "whole", "--format", "markdown"]).assert().success();
    let tables = String::from_utf8(tables.get_output().stdout.clone()).unwrap();
    assert_eq!(tables.matches("\n## ").count() + 1, 2, "{tables}");
}

#[test]
fn a_run_without_it_says_nothing_of_it() {
    let place = Place::new();
    place.run(MOCK, &["--batch-size", "1", "--prompt-length", "16"]);
    for file in ["measurements.jsonl", "sweep.toml"] {
        let text = std::fs::read_to_string(place.path("run").join(file)).unwrap();
        assert!(!text.contains("one_rank") && !text.contains("device_memory_limit"), "{file}: {text}");
    }
}

#[test]
fn an_engine_without_one_rank_is_refused_before_anything_is_loaded() {
    let place = Place::new();
    place.write("sweep.toml", &sweep().replace("\"mock\"", "\"reference\""));
    place
        .bench(&["run", "sweep.toml", "--no-verify"])
        .assert()
        .code(2)
        .stderr("error: sweep.toml:1: one_rank: reference can't measure a single one of several ranks\n");
    let generate = ["generate", "--engine", "reference", "--model", "llama2-15m", "--prompt-ids", "1"];
    let one = ["--max-new-tokens", "1", "--one-rank", "--world-size", "2"];
    place
        .bench(&[&generate[..], &one].concat())
        .assert()
        .code(2)
        .stderr("error: reference: failed in load: --one-rank: reference can't measure a single one of several ranks\n");
    assert!(!place.path("runs").exists());
}

#[test]
fn the_list_of_the_70b_sweep_has_floors_of_one_rank_and_no_sums() {
    let place = Place::new();
    place.write("70b.toml", include_str!("../../../configs/llama2-70b-fp16-cuda.toml"));
    let arguments = ["run", "70b.toml", "--one-rank", "--list", "--device-memory-limit", "141GB"];
    let assert = place.bench(&arguments).assert().success();
    insta::assert_snapshot!(String::from_utf8(assert.get_output().stdout.clone()).unwrap());
}

#[test]
fn what_the_published_table_leaves_for_collectives_stands_under_it() {
    let place = Place::new();
    measure_70b(&place);
    let table = std::fs::read_to_string(place.path("one/table.md")).unwrap();
    let (_, left) = table.split_once("**Left for collectives").unwrap();
    insta::assert_snapshot!(format!("**Left for collectives{left}"));
    // The same of a file that is given; a table that is not there is said.
    place.write("a100.md", include_str!("../../../results/published/llama2-a100.md"));
    let given = ["table", "one", "--format", "markdown", "--published", "a100.md"];
    place.bench(&given).assert().success().stdout(contains(left));
    place.bench(&["table", "one", "--published", "one/table.md"]).assert().code(2).stderr(contains(
        "--published: one/table.md has no table of all ranks of \"LLaMA-2 70B FP16 CUDA (rank 0 of 4, 1 GPU)\"",
    ));
    place
        .bench(&["table", "one", "--format", "csv", "--published", "a100.md"])
        .assert()
        .code(2)
        .stderr(contains("--published: only for --format terminal or markdown"));
    // A table of one rank is read as such, and reproduced as such.
    on_gpu(&place);
    place
        .bench(&["reproduce", "one/table.md", "--engines-file", "engines.toml", "--list"])
        .assert()
        .success()
        .stdout(contains("memory of rank 0 of 4 alone"));
}

#[test]
fn real_engines_compute_the_same_part() {
    let place = Place::new();
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-tp/config.json");
    place.bench(&["synth", "--model", config.to_str().unwrap(), "--out", "tiny-tp"]).assert().success();
    let sweep = r#"
models = ["./tiny-tp"]
engines = ["onnxruntime", "pytorch-eager"]
batch_sizes = [1, 2]
prompt_lengths = [8]
generation_length = 8
world_size = 4
one_rank = true
threads = 1

[procedure]
warmup_runs = 1
prompt_runs = 2
"#;
    place.write("sweep.toml", sweep);
    let output = place.bench(&["run", "sweep.toml", "--out", "run", "--no-peaks"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let records = place.records();
    assert_eq!(records.len(), 4);
    for record in &records {
        assert_eq!((record.failure_kind(), record.key.ranks.one_rank_of()), (None, Some(4)), "{record:?}");
        let same = |other: &&protocol::Measurement| other.key.batch_size == record.key.batch_size;
        let tokens = records.iter().filter(same).map(|other| &other.series().unwrap().tokens_sha256);
        assert!(tokens.clone().all(|hash| *hash == record.series().unwrap().tokens_sha256), "{records:?}");
    }
    let verification = std::fs::read_to_string(place.path("run/verification.json")).unwrap();
    let verification: Vec<protocol::Verification> = serde_json::from_str(&verification).unwrap();
    // No reference computes a part: the first engine is what the second is compared with.
    assert_eq!(verification[0].against.as_deref(), Some("onnxruntime"));
    assert!(verification[0].holds() && verification[0].agreements.len() == 1, "{verification:?}");
}
