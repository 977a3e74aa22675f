//! Sweeps (TOML under flags) and `engines.toml`.

use std::sync::LazyLock;

use harness::{DEFAULT_ENGINES, Engines, QUICK_SWEEP, Sweep, SweepKeys, plan};
use proptest::prelude::*;
use proptest::sample::select;
use testing::fuzz::{BoundedAllocator, CaseResult, Corpus, check, repository, sample};

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

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

/// What a mutated file may have for a key.
const KEYS: &str =
    "models engines batch_sizes prompt_lengths generation_length device precision world_size threads seed
    memory_limit device_memory_limit one_rank timeout_seconds phase_timeout_seconds.decode isolation prune_oom procedure.warmup_runs
    procedure.prompt_runs procedure.generations procedure.until procedure.min_runs procedure.replicates options options.mock options.mock.a
    options.mock.a.b.c options. unknown";

const WORDS: &str = r#"procedure prompt_runs replicates until min_runs "0.5%" [options.mock] options."mock"."" "llama2-15m" "fixtures/tiny-gqa"
    "./fixtures/../fixtures/tiny-mha" "mock" "reference" "4096" "2GB" "cell" "cuda" "fp16" [1,2] [[1],{}] {a=1} 1.5 1e9
    0xff 0b1 1979-05-27T07:32:00Z 07:32:00 '''"#;

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

fn corpus() -> Corpus {
    let files =
        ["results/llama2-15m-fp32-cpu/sweep.toml", "configs/tinyllama-1.1b-fp32-cpu.toml"].map(sample);
    let samples = [FULL_SWEEP, QUICK_SWEEP].map(str::to_owned).into_iter().chain(files);
    Corpus::new(samples, &format!("{KEYS} {WORDS}"))
}

#[test]
fn the_samples_are_sweeps() {
    for text in [FULL_SWEEP, QUICK_SWEEP] {
        holds(&read(text).and_then(|keys| resolve(&keys)).unwrap()).unwrap();
    }
}

#[test]
fn any_file() {
    check(1000, corpus().inputs(), |input| {
        read(&input.text()).and_then(|keys| resolve(&keys)).as_ref().map_or(Ok(()), holds)
    });
}

#[test]
fn any_flags_over_a_file() {
    let keys: Vec<String> = SweepKeys::keys().into_iter().map(|key| key.path).collect();
    let number = prop_oneof![any::<i64>(), -2i64..100, select(vec![i64::from(u32::MAX), 1 << 32, 1 << 24])];
    let text = select(vec![
        "",
        "mock",
        "reference",
        "llama2-7b",
        "cpu",
        "cuda:1",
        "fp16",
        "8GiB",
        "engine",
        "a\nb",
        "0.5%",
        "1, 4",
        "mock.a=1",
        "mock.a.b=[1, nan]",
        "decode=1e3",
        "=",
        ",",
    ]);
    let word = prop_oneof![
        number.prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        text.prop_map(str::to_owned),
    ];
    let words = prop::collection::vec(word, 0..4);
    let flags = prop::collection::vec((select(keys), words), 0..4);
    let file = prop_oneof![Just(FULL_SWEEP), Just(QUICK_SWEEP), Just("")];
    check(1000, (file, flags), |(file, flags)| {
        let mut given = SweepKeys::default();
        for (key, words) in flags {
            // A flag that is no value of its key leaves nothing.
            let _ = given.set_flag(&key, "--flag", &words);
        }
        resolve(&given.over(read(file).expect("a sample"))).as_ref().map_or(Ok(()), holds)
    });
}

#[test]
fn any_engines_file() {
    let corpus = Corpus::new([DEFAULT_ENGINES], r#"command [a] [a.b] command=["./x"] a.command "a.command""#);
    check(1000, corpus.inputs(), |input| {
        if let Ok(engines) = Engines::parse(&input.text(), "engines.toml", &repository("")) {
            for name in engines.names() {
                prop_assert!(!engines.find(name).unwrap().program.as_os_str().is_empty());
            }
        }
        Ok(())
    });
}
