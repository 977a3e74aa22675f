//! `table --format`: what other tools are given of a run and of a file.

mod common;

use common::{MOCK, Place};
use predicates::prelude::*;
use predicates::str::contains;

#[test]
fn a_run_is_printed_for_other_tools_and_what_is_left_out_is_said() {
    let place = Place::new();
    assert_eq!(place.run(MOCK, &["--no-verify", "--replicates", "2"]).0, 0);
    for (format, start, part, left_out) in [
        ("llama-bench", "[\n", "\"n_depth\": 16,", "no batches: 3 of 6 cells left out"),
        (
            "llama-bench-jsonl",
            "{\"engine\":\"mock\",",
            "\"n_depth\":16,",
            "no batches: 3 of 6 cells left out",
        ),
        ("bencher", "{\n", "/ mock / 4x256 / prompt\": {", ""),
        ("github-action-smaller", "[\n", "\"unit\": \"ms\"", ""),
        ("github-action-bigger", "[\n", "\"unit\": \"tokens/s\"", ""),
        ("go", "Unit ns/op better=lower\n", "\nBenchmarkPrefill/engine=mock/batch=4/prompt=256 5 ", ""),
    ] {
        let printed = place.bench(&["table", "run", "--format", format]).assert().code(0);
        let text = String::from_utf8(printed.get_output().stdout.clone()).unwrap();
        assert!(text.starts_with(start) && text.contains(part), "{format}: {text}");
        let scripted = format!("note: {format}: latencies of mock are scripted, not measured\n");
        printed.stderr(contains(scripted)).stderr(contains(left_out));
        // Runs beside files have no replicates, and a built-in file no memory.
        let both = place.bench(&["table", "llama2-a100", "run", "--format", format]).assert().code(0);
        both.stdout(contains("LLaMA-2 70B").or(contains("model: llama2-70b")))
            .stderr(contains("printed figures: replicates are left out"))
            .stderr(contains("pytorch-eager 16×2048: OOM"));
        place
            .bench(&["table", "run", "--format", format, "--published", "llama2-a100"])
            .assert()
            .code(2)
            .stderr(contains("only for --format terminal or markdown"));
    }
}
