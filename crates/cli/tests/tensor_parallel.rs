//! Several ranks compute what one does: every engine, from a checkpoint and from a seed. Where mpirun is installed.

mod common;

use std::path::Path;

use common::{Place, mpi};
use llama::{LlamaConfig, Weights, write_checkpoint};
use protocol::{Device, GenerateRequest, Generated, LoadRequest, ModelSource, Options, Precision};

const ONNXRUNTIME: [&str; 1] = ["llama2-bench-onnxruntime"];
const EAGER: [&str; 3] = ["llama2-bench-torch", "--engine", "pytorch-eager"];
const COMPILE: [&str; 3] = ["llama2-bench-torch", "--engine", "pytorch-compile"];
const CUDAGRAPH: [&str; 3] = ["llama2-bench-torch", "--engine", "pytorch-cudagraph"];

/// 8 heads, 4 key-value heads, 3 layers.
fn tiny() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../fixtures/tiny-tp/config.json")).unwrap()
}

fn load(model: ModelSource, precision: Precision, options: &[(&str, &str)]) -> LoadRequest {
    let value = |word: &str| word.parse::<bool>().map_or_else(|_| word.into(), serde_json::Value::from);
    let options: Options = options.iter().map(|(name, word)| ((*name).to_owned(), value(word))).collect();
    let threads = Some(1);
    LoadRequest {
        model,
        device: Device::Cpu,
        precision,
        threads,
        memory_limit_bytes: None,
        device_memory_limit_bytes: None,
        one_rank_of: None,
        options,
    }
}

fn request(vocab_size: u32, batch_size: u32, prompt_length: u32) -> GenerateRequest {
    let prompt_ids = llama::prompt::seeded_prompt(batch_size, prompt_length, vocab_size, 3);
    GenerateRequest { prompt_ids, max_new_tokens: 12, logits: true }
}

/// The largest difference of a logit; the tokens are the same.
fn largest_error(found: &Generated, expected: &Generated) -> f32 {
    assert_eq!(found.tokens, expected.tokens);
    let numbers = |generated: &Generated| -> Vec<f32> {
        generated.logits.iter().flatten().flatten().flatten().copied().collect()
    };
    let (found, expected) = (numbers(found), numbers(expected));
    assert_eq!(found.len(), expected.len());
    assert!(expected.iter().any(|logit| logit.abs() > 0.1), "logits that say nothing");
    found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[expect(clippy::print_stderr, reason = "shown where the test fails")]
fn check(command: &[&str], options: &[(&str, &str)]) {
    if !mpi::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let seeded = ModelSource::Seeded { config: tiny(), seed: 1 };
    write_checkpoint(&Weights::open(&seeded).unwrap(), Precision::Fp32, dir.path()).unwrap();
    let stored = ModelSource::Checkpoint { dir: dir.path().into() };
    let generate = |world_size, source: &ModelSource| {
        let load = load(source.clone(), Precision::Fp32, options);
        mpi::generate(command, world_size, load, request(256, 2, 9)).unwrap()
    };
    let one = generate(1, &stored);
    for world_size in [2, 4] {
        for source in [&stored, &seeded] {
            let error = largest_error(&generate(world_size, source), &one);
            eprintln!("{command:?} {options:?} of {world_size}: largest error {error:e}");
            assert!(error <= 1e-4, "{command:?} {options:?} of {world_size}: {error}");
        }
    }
}

#[test]
fn onnxruntime_computes_the_same_on_1_2_and_4_ranks() {
    check(&ONNXRUNTIME, &[]);
    check(&ONNXRUNTIME, &[("kv_cache", "dynamic"), ("logits", "all")]);
    check(&ONNXRUNTIME, &[("fused", "true")]);
}

#[test]
fn pytorch_eager_computes_the_same_on_1_2_and_4_ranks() {
    check(&EAGER, &[]);
    check(&EAGER, &[("attention", "eager"), ("kv_cache", "static")]);
    check(&CUDAGRAPH, &[]);
}

#[test]
fn pytorch_compile_computes_the_same_on_1_2_and_4_ranks() {
    check(&COMPILE, &[]);
    check(&COMPILE, &[("attention", "eager"), ("kv_cache", "static")]);
}

#[test]
fn half_precision_is_summed_wide_and_rounded_once() {
    if !mpi::is_there() {
        return;
    }
    for (command, precision, tolerance) in
        [(&EAGER[..], Precision::Bf16, 0.1), (&ONNXRUNTIME[..], Precision::Fp16, 0.02)]
    {
        let seeded = ModelSource::Seeded { config: tiny(), seed: 1 };
        let generate = |world_size| {
            let generated =
                mpi::generate(command, world_size, load(seeded.clone(), precision, &[]), request(256, 1, 9));
            generated.unwrap().logits.unwrap().swap_remove(0).swap_remove(0)
        };
        let (two, one) = (generate(2), generate(1));
        let error = two.iter().zip(&one).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        eprintln!("{command:?} {precision}: largest error {error:e}");
        assert!(error <= tolerance, "{command:?} {precision}: {error}");
    }
}

#[test]
fn an_impossible_world_size_is_an_error_of_every_rank_and_nobody_waits() {
    if !mpi::is_there() {
        return;
    }
    for command in [&ONNXRUNTIME[..], &EAGER, &COMPILE] {
        let seeded = ModelSource::Seeded { config: tiny(), seed: 1 };
        let error = mpi::generate(command, 3, load(seeded, Precision::Fp32, &[]), request(256, 1, 4));
        assert_eq!(
            error.unwrap_err(),
            "world_size 3: num_key_value_heads (4) can't be split evenly: this model can have 1, 2, 4"
        );
    }
}

/// `cargo nextest run -p llama2-bench --run-ignored all -E 'test(tinyllama)'`
#[test]
#[ignore = "4.4 GB of weights for each rank count"]
fn the_shape_of_tinyllama_computes_the_same_on_2_ranks() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/models/tinyllama-1.1b.json");
    let config = LlamaConfig::read(&path).unwrap();
    let place = Place::new();
    let dir = place.path("model");
    write_checkpoint(&Weights::seeded(config, 0), Precision::Fp32, &dir).unwrap();
    for command in [&ONNXRUNTIME[..], &EAGER, &COMPILE] {
        let source = ModelSource::Checkpoint { dir: dir.clone() };
        let generate = |world_size| {
            let load = load(source.clone(), Precision::Fp32, &[]);
            mpi::generate(command, world_size, load, request(32000, 1, 16)).unwrap()
        };
        let error = largest_error(&generate(2), &generate(1));
        println!("{command:?}: largest error {error:e}");
        assert!(error <= 1e-4, "{command:?}: {error}");
    }
}
