//! Shared by the tests.
#![allow(dead_code, unreachable_pub)]

use collective::World;
use engine_torch::{Torch, TorchEngine};
use protocol::{Device, LoadRequest, ModelSource, Options, Precision};
use serde_json::{Value, json};
use worker::{Engine, Prompt, Reporter};

/// The engines that need nothing else; `aoti.rs` has the other.
pub const ENGINES: [TorchEngine; 3] = [TorchEngine::Eager, TorchEngine::Compile, TorchEngine::CudaGraph];

/// Every combination of the engine's options.
pub fn all_options(engine: TorchEngine) -> Vec<Options> {
    let mut all = Vec::new();
    let kv_caches: &[&str] =
        if engine == TorchEngine::CudaGraph { &["static"] } else { &["dynamic", "static"] };
    for attention in ["sdpa", "eager"] {
        for &kv_cache in kv_caches {
            for logits in ["last", "all"] {
                all.push(options(&[("attention", attention), ("kv_cache", kv_cache), ("logits", logits)]));
            }
        }
    }
    all
}

pub fn options(words: &[(&str, &str)]) -> Options {
    words.iter().map(|&(name, word)| (name.to_owned(), word.into())).collect()
}

pub fn request(model: ModelSource, precision: Precision, options: Options) -> LoadRequest {
    let device = Device::Cpu;
    LoadRequest {
        model,
        device,
        precision,
        threads: Some(1),
        memory_limit_bytes: None,
        device_memory_limit_bytes: None,
        one_rank_of: None,
        options,
    }
}

/// The config of a small model with grouped queries, and 64 positions.
pub fn small_config() -> Value {
    json!({
        "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    })
}

pub fn seeded(config: Value) -> ModelSource {
    ModelSource::Seeded { config, seed: 5 }
}

pub fn loaded(engine: TorchEngine, request: &LoadRequest) -> Torch {
    let mut torch = Torch::new(engine, World::alone());
    torch.load(request, &Reporter::silent()).unwrap();
    torch
}

pub fn prompt(rows: &[Vec<u32>]) -> Prompt {
    let ids = rows.iter().flatten().map(|&id| i64::from(id)).collect();
    Prompt { batch_size: rows.len(), length: rows[0].len(), ids }
}

/// Some prompt for [`small_config`].
pub fn some_prompt(batch_size: u32, length: u32) -> Prompt {
    prompt(&llama::prompt::seeded_prompt(batch_size, length, 96, 1))
}

/// The new tokens of each row, and the logits of each step, row after row.
pub fn generate(torch: &mut Torch, prompt: &Prompt, new_tokens: usize) -> (Vec<Vec<u32>>, Vec<Vec<f32>>) {
    torch.begin(prompt, new_tokens - 1).unwrap();
    torch.reset().unwrap();
    let mut logits = Vec::new();
    for step in 0..new_tokens {
        if step == 0 { torch.prefill() } else { torch.decode() }.unwrap();
        torch.synchronize().unwrap();
        logits.push(torch.logits().unwrap());
        torch.select().unwrap();
    }
    let tokens = torch.tokens().unwrap();
    torch.end().unwrap();
    (tokens, logits)
}

pub fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(l, r)| (l - r).abs()).fold(0.0, f32::max)
}
