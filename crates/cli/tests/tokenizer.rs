//! Tokenizers that are broken or hostile: each ends with the tokens, or with one error.

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Place, bound_memory, processes_in, worker};
use serde_json::{Value, json};

/// The memory of each process of a test, in bytes.
const MEMORY: u64 = 512 << 20;

/// A place with the model `m`.
fn place() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("m")).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(fixture().join(name), place.path("m").join(name)).unwrap();
    }
    place
}

fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-mha")
}

/// `generate --prompt` with this tokenizer.
fn command(place: &Place, tokenizer: &str, prompt: &str, more: &[&str]) -> Command {
    place.write("m/tokenizer.json", tokenizer);
    let mut command = Command::new(worker("llama2-bench"));
    command.args(["generate", "--engine", "reference", "--model", "m", "--max-new-tokens", "2"]);
    command.args(["--prompt", prompt]).args(more).current_dir(place.path("")).stdin(Stdio::null());
    bound_memory(&mut command, MEMORY);
    command
}

/// The fixture's tokenizer with one key otherwise.
fn with(key: &str, value: Value) -> String {
    let mut tokenizer: Value =
        serde_json::from_str(&fs::read_to_string(fixture().join("tokenizer.json")).unwrap()).unwrap();
    tokenizer[key] = value;
    tokenizer.to_string()
}

/// Replaces one after the other; each makes a text longer.
fn growing(count: usize) -> String {
    let longer = json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "aa"});
    with("normalizer", json!({"type": "Sequence", "normalizers": vec![longer; count]}))
}

/// What a user sees of an output: the tokens' text on stdout, or one line on stderr.
fn words(case: &str, output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    match output.status.code() {
        Some(0) if stderr.is_empty() => stdout.into_owned(),
        Some(2) if stdout.is_empty() && stderr.starts_with("error: ") && stderr.lines().count() == 1 => {
            stderr.into_owned()
        }
        _ => panic!("{case}: {:?} {stdout} {stderr}", output.status),
    }
}

#[test]
fn a_hostile_tokenizer_ends_with_its_tokens_or_one_error() {
    let place = place();
    let split = |pattern: String| {
        let pattern = json!({"Regex": pattern});
        with(
            "pre_tokenizer",
            json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false}),
        )
    };
    let replace = |pattern: &str| {
        let pattern = json!({"Regex": pattern});
        with("normalizer", json!({"type": "Replace", "pattern": pattern, "content": "x"}))
    };
    let words_of =
        |vocab: Value| with("model", json!({"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}));
    let padding = |strategy: Value, multiple: Value| {
        with(
            "padding",
            json!({
                "strategy": strategy, "direction": "Right", "pad_to_multiple_of": multiple, "pad_id": 0, "pad_type_id": 0,
                "pad_token": "x",
            }),
        )
    };
    let truncation = |length: u32, stride: u32| {
        with(
            "truncation",
            json!({"direction": "Right", "max_length": length, "strategy": "LongestFirst", "stride": stride}),
        )
    };
    let template = |token: &str, ids: usize, pieces: usize| {
        let tokens = vec!["s".repeat(1000); ids];
        with(
            "post_processor",
            json!({
                "type": "TemplateProcessing", "pair": [],
                "single": vec![json!({"SpecialToken": {"id": token, "type_id": 0}}); pieces],
                "special_tokens": {"s": {"id": "s", "ids": vec![1; ids], "tokens": tokens}},
            }),
        )
    };
    let nested = |before: &str, count: usize, after: &str| {
        format!(
            "{{\"version\":\"1.0\",\"normalizer\":{}{},\"model\":{{\"type\":\"BPE\",\"vocab\":{{}},\"merges\":[]}}}}",
            before.repeat(count),
            after.repeat(count)
        )
    };
    let backtracking = format!("{}!", "a".repeat(40));
    let (memory, time) =
        ("m/tokenizer.json: tokenizing needs more than 0.5 GiB of memory: --prompt-ids takes", "");
    // The tokenizer, the prompt, and what is said at least.
    let cases: Vec<(String, &str, &str)> = vec![
        (split("(a+)+$".into()), &backtracking, time),
        (split(r"^(a+)+\1b".into()), &backtracking, time),
        (split("(?=(a+)+b)x".into()), &backtracking, time),
        (replace("(a*)*b"), &backtracking, time),
        (split("((a{1,1000}){1,1000}){1,1000}".into()), "a", "m/tokenizer.json: Error compiling regex"),
        (split("(".repeat(50_000) + &")".repeat(50_000)), "a", "m/tokenizer.json: Parsing error"),
        (split("(".into()), "a", "m/tokenizer.json: Parsing error"),
        (growing(12), "a", "a prompt of 4097 tokens and 2 new tokens need 4098 positions"),
        (growing(40), "a", "m/tokenizer.json: tokenizing "),
        (nested("{\"type\":\"Sequence\",\"normalizers\":[", 100, "]}"), "a", "recursion limit exceeded"),
        (nested("[", 500_000, ""), "a", "recursion limit exceeded"),
        (
            words_of(json!({"a": u32::MAX, "<unk>": 0})),
            "a",
            "--prompt: its tokenizer: expected ids below 256",
        ),
        (words_of(json!({"a": -1})), "a", "m/tokenizer.json: invalid value: integer `-1`"),
        (words_of(json!({})), "a", "--prompt: WordLevel error"),
        ("{\"version\": \"1.0\"}".into(), "a", "m/tokenizer.json: Model missing"),
        ("[]".into(), "a", "m/tokenizer.json: not a JSON object"),
        (padding(json!({"Fixed": 300_000_000}), Value::Null), "a", ""),
        (padding(json!("BatchLongest"), json!(0)), "a", ""),
        (truncation(1, 1), "a b c", ""),
        (truncation(0, 5), "a b c", ""),
        (
            template("nope", 1, 1),
            "a",
            "m/tokenizer.json: post_processor: single: \"nope\" is none of its special",
        ),
        (template("s", 1000, 1000), "a", memory),
        (
            with("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
            "a",
            "m/tokenizer.json: the tokenizer crashed: chunk size must be non-zero: --prompt-ids takes",
        ),
        (
            with("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "/////////w=="})),
            "a",
            memory,
        ),
        (
            with("decoder", json!({"type": "Replace", "pattern": {"Regex": "("}, "content": ""})),
            "a",
            "Parsing error",
        ),
    ];
    for (tokenizer, prompt, said) in &cases {
        let case = &tokenizer[..tokenizer.len().min(200)];
        let output = command(&place, tokenizer, prompt, &["--timeout-seconds", "8"]).output().unwrap();
        let words = words(case, &output);
        assert!(words.contains(said) && !words.contains("panicked"), "{case}: {words}");
    }
    assert_eq!(processes_in(&place), 0);
}

/// `make bench` builds no program that tokenizes.
#[test]
fn a_tokenizer_that_is_not_built_is_one_error() {
    let place = place();
    let program = place.path("llama2-bench");
    fs::copy(worker("llama2-bench"), &program).unwrap();
    let mut command = Command::new(&program);
    command
        .args(["generate", "--engine", "reference", "--model", "m", "--max-new-tokens", "2", "--prompt", "a"])
        .current_dir(place.path(""));
    let output = command.env("PATH", "").output().unwrap();
    assert_eq!(
        words("no program", &output),
        "error: llama2-bench-tokenizer: no such program: run `make build`, or --prompt-ids takes the prompt as token ids\n"
    );
}

#[test]
fn tokenizing_ends_in_time_at_ctrl_c_and_with_the_program() {
    let place = place();
    let endless = growing(30);
    let output = command(&place, &endless, "a", &["--timeout-seconds", "0.5"]).output().unwrap();
    let said = words("time", &output);
    assert!(said.contains("m/tokenizer.json: tokenizing took more than 0.5 s: --prompt-ids takes"), "{said}");
    for signal in [libc::SIGINT, libc::SIGKILL] {
        let mut command = command(&place, &endless, "a", &[]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let until = |count: usize| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while processes_in(&place) != count {
                assert!(Instant::now() < deadline, "{} processes", processes_in(&place));
                std::thread::yield_now();
            }
        };
        until(2);
        // SAFETY: the child is not reaped, so its id is its own.
        unsafe { libc::kill(libc::pid_t::try_from(child.id()).unwrap(), signal) };
        let output = child.wait_with_output().unwrap();
        match output.status.signal() {
            Some(signal) => assert_eq!(signal, libc::SIGKILL),
            None => assert!(words("Ctrl-C", &output).ends_with("m/tokenizer.json: interrupted\n")),
        }
        until(0);
    }
}
