//! Sweeps (TOML under flags) and `engines.toml`.

use std::sync::LazyLock;

use harness::{DEFAULT_ENGINES, Engines, QUICK_SWEEP, Sweep, SweepKeys, plan};
use proptest::prelude::*;
use serde_json::json;

use crate::{CaseResult, FuzzTarget, Sections, repository, sample};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "sweep", samples, words: WORDS, run };

static ENGINES: LazyLock<Engines> = LazyLock::new(Engines::built_in);

/// Every key that there is.
const FULL_SWEEP: &str = r#"
models = ["llama2-15m", "fixtures/tiny-mha"]
engines = ["mock", "reference"]
batch_sizes = [1, 4]
prompt_lengths = 16
generation_length = 32
device = "cuda:1"
precision = "bf16"
world_size = 2
threads = 2
seed = 7
memory_limit = "1.5GiB"
device_memory_limit = "80GB"
one_rank = true
timeout_seconds = 60
isolation = "cell"
prune_oom = true
phase_timeout_seconds.load = 1.5
phase_timeout_seconds.prompt = 20

[procedure]
warmup_runs = 0
prompt_runs = 1
generations = 2
replicates = 3

[options.mock]
noise = 0.25
fault = "crash"
script = { a = [1, [2.5, "x"], { b = true }], c.d = -1 }

[options.reference]
threads = 1
"#;

/// Keys that a mutated file may have, then values.
const WORDS: &str = r#"models engines batch_sizes prompt_lengths generation_length device precision world_size threads seed
    memory_limit device_memory_limit one_rank timeout_seconds phase_timeout_seconds.decode isolation prune_oom procedure.warmup_runs
    procedure.prompt_runs procedure.generations procedure.until procedure.min_runs procedure.replicates options options.mock options.mock.a
    options.mock.a.b.c options. unknown
    procedure prompt_runs replicates until min_runs "0.5%" [options.mock] options."mock"."" "llama2-15m" "fixtures/tiny-gqa"
    "./fixtures/../fixtures/tiny-mha" "mock" "reference" "4096" "2GB" "cell" "cuda" "fp16" [1,2] [[1],{}] {a=1} 1.5 1e9
    0xff 0b1 1979-05-27T07:32:00Z 07:32:00 '''
    "llama2-7b" "cpu" "cuda:1" "8GiB" "engine" "a\nb" "1,4" "mock.a=1" "mock.a.b=[1,nan]" "decode=1e3" "=" "," "-2" "16777216"
    command [a] [a.b] command=["./x"] a.command "a.command""#;

fn resolve(settings: &SweepKeys) -> Option<Sweep> {
    match Sweep::resolve(settings, &ENGINES) {
        Ok(sweep) => Some(sweep),
        Err(error) => {
            assert!(!error.origin.is_empty() && !error.what.is_empty(), "{error}");
            None
        }
    }
}

fn read(text: &str) -> Option<SweepKeys> {
    Sweep::settings(text, "a.toml", &repository("")).ok()
}

/// A resolved sweep's own file is the same sweep, and its cells can be counted and costed.
fn holds(sweep: &Sweep) -> CaseResult {
    let text = sweep.to_toml();
    let again = read(&text).and_then(|keys| resolve(&keys));
    prop_assert_eq!(again.as_ref(), Some(sweep), "{}", text);
    for cell in plan(sweep).iter().take(2) {
        prop_assert!(cell.memory_need(sweep).total() > 0);
        prop_assert!(cell.flops(sweep) > 0.0 && cell.flops(sweep).is_finite());
    }
    Ok(())
}

const FILES: [&str; 3] = ["sweep.toml", "flags", "engines.toml"];

/// The paths of the keys that flags set.
static KEYS: LazyLock<Vec<String>> =
    LazyLock::new(|| SweepKeys::keys().into_iter().map(|key| key.path).collect());

/// Flags: each line is a key and the words given for it, as JSON. These make a sweep of any.
fn flags() -> String {
    let lines = json!([
        ["engines", "mock", "reference"],
        ["batch_sizes", "1, 4"],
        ["device", "cuda:0"],
        ["memory_limit", "8GiB"],
        ["procedure.warmup_runs", "1"],
        ["phase_timeout_seconds", "decode=1e3"],
    ]);
    lines.as_array().into_iter().flatten().map(|line| format!("{line}\n")).collect()
}

/// A flag for every key, most with a value that it does not take.
fn all_flags() -> String {
    let numbers = KEYS.iter().map(|key| json!([key, "1"]));
    let texts = [
        json!(["device", "cuda:1"]),
        json!(["procedure.until", "0.5%"]),
        json!(["options", "mock.a=1", "mock.a.b=[1, nan]"]),
    ];
    numbers.chain(texts).map(|line| format!("{line}\n")).collect()
}

fn with_flags(sweep: &str, flags: &str) -> Vec<u8> {
    Sections::write(&[(FILES[0], sweep.as_bytes()), (FILES[1], flags.as_bytes())])
}

fn samples() -> Vec<Vec<u8>> {
    let files =
        ["results/llama2-15m-fp32-cpu/sweep.toml", "configs/tinyllama-1.1b-fp32-cpu.toml"].map(sample);
    let sweeps = [FULL_SWEEP, QUICK_SWEEP].map(str::to_owned).into_iter().chain(files);
    let under_flags = [FULL_SWEEP, QUICK_SWEEP, ""];
    sweeps
        .map(|sweep| Sections::write(&[(FILES[0], sweep.as_bytes())]))
        .chain(under_flags.map(|sweep| with_flags(sweep, &flags())))
        .chain(under_flags.map(|sweep| with_flags(sweep, &all_flags())))
        .chain([Sections::write(&[(FILES[2], DEFAULT_ENGINES.as_bytes())])])
        .collect()
}

fn engines_have_programs(text: &str) -> CaseResult {
    if let Ok(engines) = Engines::parse(text, "engines.toml", &repository("")) {
        for name in engines.names() {
            prop_assert!(!engines.find(name).unwrap().program.as_os_str().is_empty());
        }
    }
    Ok(())
}

/// A sweep, the same under flags, and engines.
fn run(input: &[u8]) -> CaseResult {
    let sections = Sections::parse(input);
    let [sweep, flags, engines] = FILES.map(|name| sections.text(name));
    if let Some(engines) = engines {
        engines_have_programs(&engines)?;
    }
    let Some(keys) = read(&sweep.unwrap_or_default()) else { return Ok(()) };
    resolve(&keys).as_ref().map_or(Ok(()), holds)?;
    let Some(flags) = flags else { return Ok(()) };
    resolve(&given(&flags).over(keys)).as_ref().map_or(Ok(()), holds)
}

/// The keys that flags set.
fn given(flags: &str) -> SweepKeys {
    let mut given = SweepKeys::default();
    for line in flags.lines() {
        let words: Vec<String> = serde_json::from_str(line).unwrap_or_default();
        if let Some((key, words)) = words.split_first().filter(|(key, _)| KEYS.contains(key)) {
            // A flag that is no value of its key leaves nothing.
            let _ = given.set_flag(key, "--flag", words);
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_sweeps() {
        for text in [FULL_SWEEP, QUICK_SWEEP] {
            let keys = read(text).unwrap();
            holds(&resolve(&given(&flags()).over(keys.clone())).unwrap()).unwrap();
            holds(&resolve(&keys).unwrap()).unwrap();
        }
    }
}
