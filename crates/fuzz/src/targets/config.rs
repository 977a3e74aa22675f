//! `config.json`: what is accepted can be written, and counted without overflow.

use llama::NAMED_MODELS;
use llama::cost::{self, Footprint};
use llama::{LlamaConfig, weight_specs};
use proptest::prelude::*;
use protocol::{Device, Precision};

use crate::{CaseResult, FuzzTarget, one_line, sample};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "config", samples, words: WORDS, run };

const WORDS: &str = r#""hidden_size" "head_dim" "num_key_value_heads" "rope_parameters" "rope_scaling" "default" "llama"
    "tie_word_embeddings" {"rope_type":"default","rope_theta":1e6} {"type":"linear","factor":2} {"type":"dynamic","factor":1.5}
    {"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":64}
    "attention_bias" "quantization_config" "compressed-tensors" "num_bits" "group_size" "channel" true false null {} NaN -Infinity 3 64 4096 65536 1048576"#;

fn samples() -> Vec<Vec<u8>> {
    let fixtures =
        ["tiny-gqa", "tiny-mha", "tiny-llama3"].map(|name| sample(&format!("fixtures/{name}/config.json")));
    let named = NAMED_MODELS.map(|(_, config)| config.to_owned());
    let quantized = Precision::ALL.into_iter().filter(|precision| precision.quantization().is_some());
    let quantized = quantized.map(|precision| {
        let config = LlamaConfig::parse(NAMED_MODELS[0].1, "a named model").unwrap();
        LlamaConfig { quantization: Some(precision), ..config }.to_json().to_string()
    });
    named.into_iter().chain(fixtures).chain(quantized).map(|text| one_line(&text).into_bytes()).collect()
}

fn costs(config: &LlamaConfig, size: u32, parameters: u64) -> CaseResult {
    let size = u64::from(size);
    let footprint =
        Footprint { attention_scores: true, growing_cache: true, all_logits: true, kept_logit_bytes: 4 };
    for precision in [Precision::Fp32, Precision::Bf16, Precision::Int8, Precision::Int4G128] {
        let (weights, dtype) = (cost::weights_bytes(config, precision), precision.unquantized());
        if precision.quantization().is_none() {
            prop_assert_eq!(weights, parameters * dtype.bytes());
        }
        let sizes = [size; 3];
        let need = cost::memory_need(config, precision, Device::Cpu, sizes, footprint);
        prop_assert!(need.total() >= weights);
        prop_assert!(cost::kv_cache_bytes(config, dtype, size, size) > 0);
        prop_assert!(cost::decode_read_bytes(config, precision, size, size) > 0);
    }
    prop_assert!(cost::forward_flops(config, size, size, size, size).is_finite());
    Ok(())
}

fn run(input: &[u8]) -> CaseResult {
    let Ok(config) = LlamaConfig::parse(&String::from_utf8_lossy(input), "config.json") else {
        return Ok(());
    };
    let again = LlamaConfig::parse(&config.to_json().to_string(), "again");
    prop_assert_eq!(again.ok(), Some(config.clone()));
    if config.num_hidden_layers > 100 {
        return Ok(());
    }
    let parameters: u64 = weight_specs(&config).iter().map(|spec| spec.len() as u64).sum();
    prop_assert_eq!(cost::parameters(&config), parameters);
    let any = input.iter().fold(1_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    [1, 4096, u32::MAX, any.max(1)].into_iter().try_for_each(|size| costs(&config, size, parameters))
}
