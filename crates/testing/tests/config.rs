//! `config.json`: what is accepted can be written, and counted without overflow.

use llama::NAMED_MODELS;
use llama::cost::{self, Footprint};
use llama::{LlamaConfig, weight_specs};
use proptest::prelude::*;
use protocol::Precision;
use testing::fuzz::{BoundedAllocator, CaseResult, Corpus, check, one_line, sample};

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

const WORDS: &str = r#""hidden_size" "head_dim" "num_key_value_heads" "rope_parameters" "rope_scaling" "default" "llama"
    "tie_word_embeddings" {"rope_type":"default","rope_theta":1e6} {"type":"linear","factor":2} {"type":"dynamic","factor":1.5}
    {"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":64}
    "attention_bias" "quantization_config" true false null {} NaN -Infinity 3 64 4096 65536 1048576"#;

fn costs(config: &LlamaConfig, size: u32) -> CaseResult {
    let size = u64::from(size);
    let specs = weight_specs(config);
    let parameters: u64 = specs.iter().map(|spec| spec.len() as u64).sum();
    prop_assert_eq!(cost::parameters(config), parameters);
    let footprint =
        Footprint { attention_scores: true, growing_cache: true, all_logits: true, kept_logit_bytes: 4 };
    for precision in [Precision::Fp32, Precision::Bf16] {
        let weights = cost::weights_bytes(config, precision);
        prop_assert_eq!(weights, parameters * precision.bytes());
        prop_assert!(cost::memory_need(config, precision, size, size, size, footprint).total() >= weights);
        prop_assert!(cost::kv_cache_bytes(config, precision, size, size) > 0);
        prop_assert!(cost::decode_read_bytes(config, precision, size, size) > 0);
    }
    prop_assert!(cost::forward_flops(config, size, size, size, size).is_finite());
    Ok(())
}

#[test]
fn any_config() {
    let samples = NAMED_MODELS.map(|(_, config)| config.to_owned());
    let fixtures =
        ["tiny-gqa", "tiny-mha", "tiny-llama3"].map(|name| sample(&format!("fixtures/{name}/config.json")));
    let corpus = Corpus::new(samples.into_iter().chain(fixtures).map(|text| one_line(&text)), WORDS);
    let size = prop_oneof![1u32..5000, any::<u32>(), Just(u32::MAX)];
    check(2000, (corpus.inputs(), size), |(input, size)| {
        let Ok(config) = LlamaConfig::parse(&input.text(), "config.json") else { return Ok(()) };
        let again = LlamaConfig::parse(&config.to_json().to_string(), "again");
        prop_assert_eq!(again.ok(), Some(config.clone()));
        if config.num_hidden_layers <= 100 { costs(&config, size.max(1)) } else { Ok(()) }
    });
}
