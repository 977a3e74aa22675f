//! Compares an engine with HF transformers' results on the committed fixtures.
//!
//! `fixtures/*/expected.json` is what `scripts/make_fixtures.py` had transformers compute. Every engine's tests
//! call [`check`]: greedy tokens must be identical, logits within a tolerance.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use protocol::{Device, LoadRequest, ModelSource, Options, Precision};
use serde::Deserialize;
use worker::{Engine, Prompt, Reporter};

/// The committed models: multi-head FP32; grouped heads, tied, sharded, BF16; grouped heads, FP16; LLaMA 3.1's rope scaling, BF16.
pub const FIXTURES: [&str; 4] = ["tiny-mha", "tiny-gqa", "tiny-f16", "tiny-llama3"];

/// The largest absolute error of a logit in FP32 that is taken for rounding.
pub const FP32_TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt_ids: Vec<Vec<i64>>,
    max_new_tokens: usize,
    tokens: Vec<Vec<u32>>,
    prompt_logits: Vec<Vec<f32>>,
    decode_logits: Vec<Vec<f32>>,
}

/// The folder of a fixture.
pub fn fixture_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// A request for the fixture `name` on the CPU.
pub fn load_request(name: &str, precision: Precision, options: Options) -> LoadRequest {
    LoadRequest {
        model: ModelSource::Checkpoint { dir: fixture_dir(name) },
        device: Device::Cpu,
        precision,
        threads: Some(2),
        memory_limit_bytes: None,
        device_memory_limit_bytes: None,
        one_rank_of: None,
        options,
    }
}

/// Loads the fixture `name` and runs its cases through `engine`: tokens must be HF's, each logit of the prompt's last
/// position and of the last decode forward within `tolerance`. Returns the largest error.
pub fn check(
    engine: &mut dyn Engine,
    name: &str,
    precision: Precision,
    options: Options,
    tolerance: f32,
) -> Result<f32> {
    engine.load(&load_request(name, precision, options), &Reporter::silent())?;
    check_loaded(engine, name, tolerance)
}

/// [`check`] for an engine that has loaded the fixture's weights already.
pub fn check_loaded(engine: &mut dyn Engine, name: &str, tolerance: f32) -> Result<f32> {
    let path = fixture_dir(name).join("expected.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let expected: Expected = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let mut largest = 0.0f32;
    for case in &expected.cases {
        let (batch_size, length) = (case.prompt_ids.len(), case.prompt_ids[0].len());
        let error =
            run(engine, case).with_context(|| format!("{name}, batch {batch_size}, prompt {length}"))?;
        ensure!(
            error <= tolerance,
            "{name}, batch {batch_size}, prompt {length}: a logit is off by {error:e}"
        );
        largest = largest.max(error);
    }
    Ok(largest)
}

fn run(engine: &mut dyn Engine, case: &Case) -> Result<f32> {
    let prompt = Prompt {
        batch_size: case.prompt_ids.len(),
        length: case.prompt_ids[0].len(),
        ids: case.prompt_ids.concat(),
    };
    engine.begin(&prompt, case.max_new_tokens - 1)?;
    engine.reset()?;
    engine.prefill()?;
    engine.synchronize()?;
    let prompt_error = largest_error(&engine.logits()?, &case.prompt_logits)?;
    engine.select()?;
    for _ in 1..case.max_new_tokens {
        engine.decode()?;
        engine.select()?;
    }
    engine.synchronize()?;
    let decode_error = largest_error(&engine.logits()?, &case.decode_logits)?;
    let tokens = engine.tokens()?;
    engine.end()?;
    ensure!(tokens == case.tokens, "tokens {tokens:?}, transformers has {:?}", case.tokens);
    Ok(prompt_error.max(decode_error))
}

fn largest_error(logits: &[f32], expected: &[Vec<f32>]) -> Result<f32> {
    let expected = expected.concat();
    ensure!(logits.len() == expected.len(), "{} logits, transformers has {}", logits.len(), expected.len());
    // A NaN must not pass as "not larger".
    ensure!(logits.iter().all(|logit| logit.is_finite()), "a logit is not finite");
    Ok(logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max))
}
