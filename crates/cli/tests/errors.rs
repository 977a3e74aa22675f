//! Bad input is one line that says where and what, and exit code 2, before anything is loaded.

mod common;

use common::{MOCK, Place};
use predicates::str::{contains, starts_with};

fn refused(place: &Place, arguments: &[&str], message: &str) {
    let assert = place.bench(arguments).assert().code(2);
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert_eq!(stderr, format!("error: {message}\n"));
    assert!(!place.path("runs").exists());
}

#[test]
fn malformed_sweeps() {
    let place = Place::new();
    let cases = [
        (MOCK.replace("batch_sizes = [1, 4]", "batch_size = [1, 4]"), "sweep.toml: batch_sizes: not set"),
        (
            MOCK.replace("batch_sizes = [1, 4]", "batch_sizes = [0]"),
            "sweep.toml:4: batch_sizes: expected whole numbers from 1, each once, found [0]",
        ),
        (
            MOCK.replace("256]", "1900]"),
            "sweep.toml:5: prompt_lengths: prompt_length 1900 and generation_length 256 need 2156 positions: llama2-15m has 2048 (max_position_embeddings)",
        ),
        (
            MOCK.replace("[\"mock\"]", "[\"vllm\"]"),
            "sweep.toml:3: engines: unknown engine \"vllm\": expected one of onnxruntime, pytorch-eager, pytorch-compile, pytorch-cudagraph, pytorch-aoti, reference, mock",
        ),
        (
            MOCK.replace("warmup_runs = 2", "warmup_runs = \"two\""),
            "sweep.toml:10: procedure.warmup_runs: expected a whole number from 0, found \"two\"",
        ),
        (
            format!("{MOCK}\nretries = 3\n"),
            "sweep.toml:13: procedure.retries: unknown key: expected one of warmup_runs, prompt_runs, generations, until, min_runs, replicates",
        ),
    ];
    for (sweep, message) in &cases[1..] {
        place.write("sweep.toml", sweep);
        refused(&place, &["run", "sweep.toml"], message);
    }
    // A misspelt key is named itself, not only the one that is missing without it.
    place.write("sweep.toml", &cases[0].0);
    place
        .bench(&["run", "sweep.toml"])
        .assert()
        .code(2)
        .stderr(contains("sweep.toml:4: batch_size: unknown key: did you mean batch_sizes?"));
    place.write("sweep.toml", &MOCK.replace("batch_sizes = [1, 4]", ""));
    refused(&place, &["run", "sweep.toml"], "sweep.toml: batch_sizes is not set");
    place.write("sweep.toml", &format!("{MOCK}\n[options.mock]\nnoise = 0.1\nlatency = 3\n"));
    refused(
        &place,
        &["run", "sweep.toml"],
        "sweep.toml:15: options.mock.latency: unknown option: mock has batch_slope, bytes_per_position, clock_jumps, device_share, fault, noise, notes, peaks, \
         prompt_microseconds_per_token, real_time, slowdown, token_microseconds, wrong_tokens",
    );
    place.write("sweep.toml", MOCK);
    refused(&place, &["run", "sweep.toml", "--device", "cuda"], "device cuda:0: mock: it has no such device");
    place.write("sweep.toml", "models = [");
    place.bench(&["run", "sweep.toml"]).assert().code(2).stderr(starts_with("error: sweep.toml:1: "));
}

#[test]
fn missing_files_and_bad_flags() {
    let place = Place::new();
    refused(&place, &["run", "none.toml"], "none.toml: No such file or directory (os error 2)");
    refused(&place, &["table", "none"], "none: No such file or directory (os error 2)");
    refused(&place, &["audit", "none.md"], "none.md: No such file or directory (os error 2)");
    refused(&place, &["audit", "/dev/null"], "/dev/null: not a regular file, and no run's folder");
    refused(&place, &["run", "--resume", "none"], "none/sweep.toml: No such file or directory (os error 2)");
    refused(&place, &["run", "--option", "mock"], "--option: expected ENGINE.KEY=VALUE, found \"mock\"");
    refused(
        &place,
        &["run", "--prompt-length", "4000"],
        "--prompt-length: prompt_length 4000 and generation_length 256 need 4256 positions: llama2-15m has 2048 (max_position_embeddings)",
    );
    refused(
        &place,
        &["run", "--batch-size", "1,", "4,", "1"],
        "--batch-size: expected whole numbers from 1, each once, found [1, 4, 1]",
    );
    refused(
        &place,
        &["run", "--model", "llama2-15m, ./a,b"],
        "--model: no such model \"./a,b\": expected a checkpoint's folder, or one of llama2-7b, llama2-13b, llama2-70b, tinyllama-1.1b, llama2-15m",
    );
    refused(
        &place,
        &["generate", "--engine", "mock", "--model", "none", "--prompt-ids", "1", "--max-new-tokens", "1"],
        "--model: no such model \"none\": expected a checkpoint's folder, or one of llama2-7b, llama2-13b, llama2-70b, tinyllama-1.1b, llama2-15m",
    );
    refused(
        &place,
        &[
            "generate",
            "--engine",
            "mock",
            "--model",
            "llama2-15m",
            "--prompt-ids",
            "1,99999",
            "--max-new-tokens",
            "1",
        ],
        "--prompt-ids: expected ids below 32000 (vocab_size), found 99999",
    );
    place
        .bench(&["run", "--device", "tpu"])
        .assert()
        .code(2)
        .stderr(contains("expected cpu, cuda or cuda:N"));
}

#[test]
fn a_damaged_run_names_its_line() {
    let place = Place::new();
    place.run(MOCK, &[]);
    let path = place.path("run/measurements.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replacen("\"schema\":2", "\"schema\":3", 2).replacen("\"schema\":3", "\"schema\":2", 1),
    )
    .unwrap();
    refused(&place, &["table", "run"], "run/measurements.jsonl:2: schema: expected 1 or 2, found 3");
}

#[test]
fn help_is_enough() {
    let place = Place::new();
    for command in [
        "run",
        "table",
        "audit",
        "compare",
        "history",
        "reproduce",
        "report",
        "generate",
        "verify",
        "synth",
        "export",
        "peaks",
        "doctor",
    ] {
        let assert = place.bench(&[command, "--help"]).env("COLUMNS", "110").assert().success();
        let help = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        insta::assert_snapshot!(format!("help_{command}"), help);
    }
}
