//! Records and folders with absurd contents: an error that names the line, in little memory, whatever reads them.

mod common;

use std::process::{Command, Output};

use common::{MOCK, Place, bound_memory, worker};

/// Runs the program with at most 1 GiB of memory.
fn bounded(place: &Place, arguments: &[&str]) -> Output {
    let mut command = Command::new(worker("llama2-bench"));
    command.args(arguments).current_dir(place.path("")).env("LLAMA2_BENCH_CACHE", place.path("cache"));
    bound_memory(&mut command, 1 << 30);
    command.output().unwrap()
}

/// Everything that reads a run.
const READERS: [&[&str]; 8] = [
    &["table", "run"],
    &["report", "run", "-o", "page.html"],
    &["merge", "run", "-o", "merged"],
    &["run", "--resume", "run"],
    &["audit", "run"],
    &["compare", "whole", "run"],
    &["ratios", "run", "mock"],
    &["history", "kept", "--add", "run"],
];

/// Runs [`MOCK`] into `run`, and has everything read it after `change`, with this error.
fn refused(change: impl Fn(&Place), error: &str) {
    let place = Place::new();
    place.run(MOCK, &[]);
    let copied = Command::new("cp").args(["-r", "run", "whole"]).current_dir(place.path("")).status();
    assert!(copied.unwrap().success());
    change(&place);
    for arguments in READERS {
        let output = bounded(&place, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with(&format!("error: {error}")), "{arguments:?}: {stderr}");
    }
}

/// Replaces the start of the value of `key` in the second record, up to its first comma or bracket.
fn with_value(key: &str, value: &str) -> impl Fn(&Place) {
    let (key, value) = (format!("\"{key}\":"), value.to_owned());
    move |place| {
        let path = place.path("run/measurements.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let second = text.find('\n').unwrap() + 1;
        let start = second + text[second..].find(&key).unwrap() + key.len();
        let start = start + text[start..].chars().take_while(|c| *c == '[').count();
        let end = start + text[start..].find([',', ']', '}']).unwrap();
        std::fs::write(path, format!("{}{value}{}", &text[..start], &text[end..])).unwrap();
    }
}

#[test]
fn no_number_of_a_record_takes_all_memory() {
    for key in ["batch_size", "prompt_length", "generation_length", "world_size"] {
        let error = format!("run/measurements.jsonl:2: {key}: expected a whole number from 1, found 0\n");
        refused(with_value(key, "0"), &error);
    }
    for key in ["prompt_seconds", "token_seconds", "wall_seconds"] {
        for seconds in ["2.3e-308", "5e-324", "1e308", "0.0"] {
            let error = format!(
                "run/measurements.jsonl:2: not a record: latency must be from 1e-9 to 1e9 s, found {seconds} "
            );
            refused(with_value(key, seconds), &error);
        }
    }
}

#[test]
fn no_peak_of_an_environment_takes_all_memory() {
    for rate in ["5e-324", "1e308", "0.0"] {
        let with_rate = |place: &Place| {
            let path = place.path("run/environment.json");
            let text = std::fs::read_to_string(&path).unwrap();
            let mut environment: serde_json::Value = serde_json::from_str(&text).unwrap();
            let one = serde_json::json!({"per_second": "RATE", "by": "mock"});
            environment["peaks"] =
                serde_json::json!({"device": "cpu", "read_bytes": one, "flops": {"fp32": one}});
            std::fs::write(path, environment.to_string().replace("\"RATE\"", rate)).unwrap();
        };
        refused(
            with_rate,
            "run/environment.json:1: a rate per second must be from 1 to 1000000000000000000000, found ",
        );
    }
}

#[test]
fn no_line_has_no_end() {
    // Of a file of a terabyte that takes no room on the disk.
    let endless = |place: &Place| {
        let file = std::fs::File::options().write(true).open(place.path("run/measurements.jsonl")).unwrap();
        file.set_len(0).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    refused(endless, "run/measurements.jsonl:1: not a record: a line of 67108864 bytes or more\n");
}

#[test]
fn a_sweep_whose_lists_multiply_takes_no_memory() {
    let place = Place::new();
    place.run(MOCK, &[]);
    // The environment of an early version does not say which sweep it was.
    let path = place.path("run/environment.json");
    let mut environment: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    environment["sweep_sha256"] = "".into();
    std::fs::write(path, environment.to_string()).unwrap();
    let sizes: Vec<String> = (1..=20_000).map(|size| size.to_string()).collect();
    let sizes = sizes.join(",");
    let engines = vec!["\"mock\""; 20_000].join(",");
    place.write(
        "run/sweep.toml",
        &format!("models = [\"llama2-15m\"]\nengines = [{engines}]\nbatch_sizes = [{sizes}]\nprompt_lengths = [{sizes}]\n"),
    );
    let output = bounded(&place, &["table", "run"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
