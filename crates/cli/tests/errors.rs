//! Bad input is one line that says where and what, with exit code 2, before anything is loaded; help, quiet and colours.

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
            "sweep.toml:5: prompt_lengths: prompt length 1900 and generation length 256 need 2156 positions: llama2-15m has 2048 (max_position_embeddings)",
        ),
        (
            MOCK.replace("[\"mock\"]", "[\"llama-cpp\"]"),
            "sweep.toml:3: engines: engine \"llama-cpp\" is in configs/peers.toml: give --engines-file configs/peers.toml",
        ),
        (
            MOCK.replace("[\"mock\"]", "[\"exllama\"]"),
            "sweep.toml:3: engines: unknown engine \"exllama\": expected one of onnxruntime, pytorch-eager, pytorch-compile, pytorch-cudagraph, pytorch-aoti, reference, mock",
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
        "sweep.toml:15: options.mock.latency: unknown option of mock: expected one of batch_slope, bytes_per_position, clock_jumps, device_share, fault, noise, notes, peaks, \
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
    refused(&place, &["run", "none.toml"], "none.toml: no such sweep file");
    refused(&place, &["table", "none"], "none: no such file or folder");
    refused(&place, &["audit", "none.md"], "none.md: no such file or folder");
    refused(&place, &["audit", "/dev/null"], "/dev/null: not a regular file, and no run's folder");
    refused(&place, &["run", "--resume", "none"], "none: no such folder");
    refused(&place, &["run", "--option", "mock"], "--option: expected ENGINE.KEY=VALUE, found \"mock\"");
    refused(
        &place,
        &["run", "--prompt-length", "4000"],
        "--prompt-length: prompt length 4000 and generation length 256 need 4256 positions: llama2-15m has 2048 (max_position_embeddings)",
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

const COMMANDS: [&str; 21] = [
    "run",
    "reproduce",
    "peaks",
    "noise",
    "merge",
    "table",
    "report",
    "history",
    "serve",
    "compare",
    "ratios",
    "audit",
    "verify",
    "check-worker",
    "doctor",
    "generate",
    "synth",
    "quantize",
    "export",
    "completions",
    "man",
];

/// What `arguments` print at so many columns, of which no line is longer.
fn help(arguments: &[&str], columns: usize) -> String {
    let place = Place::new();
    let assert = place.bench(arguments).env("COLUMNS", columns.to_string()).assert().success();
    let help = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    for line in help.lines().filter(|line| !line.starts_with("Usage: ")) {
        assert!(line.chars().count() <= columns, "{} columns: {line}", line.chars().count());
    }
    help
}

#[test]
fn the_short_help_has_a_line_for_each_option() {
    insta::assert_snapshot!("help", help(&["-h"], 80));
    for command in COMMANDS {
        let help = help(&[command, "-h"], 80);
        for line in help.lines().filter(|line| line.trim_start().starts_with('-')) {
            assert!(line.trim_start().contains("  "), "{command}: no help behind the option: {line}");
        }
        insta::assert_snapshot!(format!("help_{command}"), help);
    }
}

#[test]
fn the_long_help_has_details_and_examples() {
    insta::assert_snapshot!("help_long", help(&["--help"], 100));
    insta::assert_snapshot!("help_long_run", help(&["run", "--help"], 100));
    for command in COMMANDS {
        assert!(help(&[command, "--help"], 110).contains("Examples:\n"), "{command}");
        help(&[command, "--help"], 80);
    }
}

#[test]
fn a_mistyped_word_gets_a_suggestion() {
    let place = Place::new();
    for (arguments, message) in [
        (&["rnu"][..], "error: rnu: unknown command: did you mean run?\n"),
        (&["run", "--engin", "mock"], "error: --engin: unknown option: did you mean --engine?\n"),
        (
            &["table", "r", "--format", "terminl"],
            "--format: unknown value \"terminl\": did you mean terminal?",
        ),
        (
            &["run", "--engine", "onnxruntme"],
            "--engine: unknown engine \"onnxruntme\": did you mean onnxruntime?",
        ),
        (&["table", "llama2-a10"], "llama2-a10: no such file or folder: did you mean llama2-a100?"),
        (&["compare", "a", "b", "--threshold", "5"], "expected a share such as 10%: did you mean 5%?"),
        (&["compare", "a", "b", "--threshold", "wall=0.05"], "did you mean 5%?"),
        (&["compare", "a", "b", "--threshold", "0.07"], "did you mean 7%?"),
        (&["compare", "a", "b", "--threshold", "nan"], "expected a share such as 10%, found \"nan\"\n"),
        (&["compare", "a", "b", "--threshold=-0.05"], "expected a share such as 10%, found \"-0.05\"\n"),
        (&["run", "--budget", "nan"], "expected a duration such as 15m or 90s, found \"nan\""),
    ] {
        place.bench(arguments).assert().code(2).stderr(contains(message));
    }
}

#[test]
fn a_folder_that_is_no_run_says_what_to_give_instead() {
    let place = Place::new();
    place.run(MOCK, &["--batch-size", "1", "--prompt-length", "16"]);
    std::fs::create_dir_all(place.path("runs/none")).unwrap();
    std::fs::create_dir(place.path("run/plots")).unwrap();
    let copy = |to: &str| std::fs::copy(place.path("run/measurements.jsonl"), place.path(to)).unwrap();
    std::fs::create_dir(place.path("runs/a")).unwrap();
    copy("runs/a/measurements.jsonl");
    place
        .bench(&["report", "llama2-a100"])
        .assert()
        .code(2)
        .stderr(starts_with("error: llama2-a100: a report needs a run's folder, "));
    let cases = [
        ("runs/none", "runs/none: not a run's folder (no measurements.jsonl)\n"),
        ("runs", "runs: not a run's folder (no measurements.jsonl): did you mean runs/a?"),
        (
            "run/plots",
            "run/plots: not a run's folder (no measurements.jsonl): did you mean the folder above, ",
        ),
        ("sweep.toml", "sweep.toml: a sweep, not a result: `llama2-bench run sweep.toml` measures it"),
    ];
    for (path, message) in cases {
        for command in [&["table", path][..], &["audit", path], &["report", path], &["compare", "run", path]]
        {
            place.bench(command).assert().code(2).stderr(contains(message));
        }
    }
}

#[test]
fn quiet_leaves_out_all_but_the_result_and_errors() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let run = ["run", "sweep.toml", "--batch-size", "1", "--out", "run", "--quiet"];
    place.bench(&run).assert().success().stderr("").stdout(starts_with("## LLaMA-2 15M"));
    place.bench(&["-q", "table", "none"]).assert().code(2).stderr(starts_with("error: none: "));
}

#[test]
fn colours_are_for_those_who_want_them() {
    let place = Place::new();
    let red = "\u{1b}[1m\u{1b}[31merror:";
    let table = |more: &[&str], variable: &str| {
        let arguments = [&["table", "none"], more].concat();
        let output = place.bench(&arguments).env(variable, "1").output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(table(&["--color", "always"], "NO_COLOR").starts_with(red));
    assert!(table(&[], "CLICOLOR_FORCE").starts_with(red));
    assert!(table(&["--color=never"], "CLICOLOR_FORCE").starts_with("error:"));
    assert!(table(&[], "NO_COLOR").starts_with("error:"));
}

#[test]
fn an_error_of_the_command_line_says_what_where_and_what_to_do() {
    let place = Place::new();
    let generate = ["generate", "--engine", "mock", "--model", "llama2-15m", "--max-new-tokens", "1"];
    let with = |more: &[&'static str]| [&generate, more].concat();
    for (arguments, message) in [
        (
            vec!["run", "--batch-size", "-1"],
            "--batch-size: expected whole numbers from 1, each once, found [-1]",
        ),
        (vec!["run", "--seed", "-1"], "--seed: expected a whole number from 0, found -1"),
        (
            vec!["run", "--shard", "9/8"],
            "--shard: expected a share such as 2/8, the first being 1/8, found \"9/8\"",
        ),
        (vec!["run", "--shard"], "--shard: expected a value"),
        (vec!["run", "--color", "x"], "--color: expected auto, always or never, found \"x\""),
        (vec!["run", "--list", "--shard", "1/2"], "--list: not together with --shard"),
        (vec!["run", "--seed", "1", "--seed", "2"], "--seed: give it once"),
        (vec!["run", "a", "b"], "b: unexpected argument: see `llama2-bench run -h`"),
        (vec!["run", "--min-runs", "3"], "--min-runs: needs --until: without it, every run is measured"),
        (vec!["run", "--one-rank"], "--one-rank: needs a --world-size above 1, of which rank 0 is measured"),
        (vec!["run", "--budget", "15m"], "--budget: needs a comparison: give its baseline with --against"),
        (
            vec!["run", "--engine", "onnxruntime", "mock"],
            "mock: no such sweep file: separate engines by commas, as in --engine a,b",
        ),
        (vec!["run", "quick.toml"], "quick.toml: no such sweep file: it is built in: leave it out"),
        (vec!["merge", "a"], "give --out DIR: see `llama2-bench merge -h`"),
        (with(&[]), "give --prompt TEXT or --prompt-ids IDS: see `llama2-bench generate -h`"),
        (with(&["--prompt", "a", "--prompt-ids", "1"]), "--prompt: not together with --prompt-ids"),
        (with(&["--prompt-ids", "1,x"]), "--prompt-ids: expected token ids such as 1,2,3, found \"x\""),
        (
            with(&["--prompt-ids", "1", "--batch-size", "0"]),
            "--batch-size: expected a whole number from 1, found \"0\"",
        ),
        (
            vec!["export", "--model", "llama2-15m", "--out", "o"],
            "--model: llama2-15m is a name: write its checkpoint first, with `llama2-bench synth --model llama2-15m --out DIR`",
        ),
        (vec!["export", "--model", "none", "--out", "o"], "none/config.json: no such file or folder"),
        (
            vec!["run", "--engine", "mock", "--exclusive"],
            "--exclusive: device cpu is no GPU: choose one with --device, or leave this out",
        ),
        (vec!["run", "--no-peaks", "--peaks", "cell"], "--no-peaks: not together with --peaks"),
        (vec!["check-worker"], "give COMMAND or --engine ENGINE: see `llama2-bench check-worker -h`"),
        (vec!["check-worker", "./nothing"], "./nothing: no such program"),
    ] {
        refused(&place, &arguments, message);
    }
}

#[test]
fn a_wrong_folder_is_named_with_what_it_lacks() {
    let place = Place::new();
    place.run(MOCK, &["--batch-size", "1", "--prompt-length", "16"]);
    std::fs::create_dir(place.path("none")).unwrap();
    // A list of what is missing of a whole run has no cell.
    place.bench(&["run", "--resume", "run", "--list"]).assert().success().stdout(contains("\n0 cells; "));
    let replicates = ["run", "--resume", "run", "--list", "--replicates", "3", "--format", "csv"];
    place.bench(&replicates).assert().success().stdout(contains("\n").count(3));
    for (arguments, message) in [
        (vec!["run", "--resume", "none"], "none: not a run's folder (no sweep.toml)"),
        (vec!["noise", "--from", "none"], "none: not a folder of noise or run --against (no baseline/)"),
        (vec!["noise", "--from", "other"], "other: no such folder"),
        (vec!["history", "kept", "--add", "none"], "none: not a run's folder (no measurements.jsonl)"),
        (vec!["merge", "none", "--out", "whole"], "none: not a run's folder (no measurements.jsonl)"),
        (
            vec!["history", "run"],
            "run: a run, not a folder of runs: add it with `llama2-bench history DIR --add run`",
        ),
        (vec!["table", "run", "--out", "other/x.csv"], "other/x.csv: its folder does not exist"),
    ] {
        refused(&place, &arguments, message);
    }
}
