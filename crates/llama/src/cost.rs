//! Parameters, bytes and floating-point operations, exactly, from the config.

use protocol::{Device, Dtype, Precision, Quantization};

use crate::{LlamaConfig, weight_specs};

/// Numbers in the model; a tied head counts once.
pub fn parameters(config: &LlamaConfig) -> u64 {
    weight_specs(config).iter().map(|spec| spec.len() as u64).sum()
}

/// Numbers in the embedding that are looked up and never multiplied: none where the head is tied to it.
fn looked_up(config: &LlamaConfig) -> u64 {
    if config.tie_word_embeddings { 0 } else { (config.vocab_size * config.hidden_size) as u64 }
}

/// Floating-point operations of a prefill of `length` tokens a sequence as PaLM counts them (Chowdhery et al., "PaLM", 2022,
/// appendix B): `2N + 4LHQT` a token, the forward third of its `6N + 12LHQT`, without halving attention for causality and with
/// the head on every position. N is all parameters without an embedding that is only looked up: PaLM's own, which is its head,
/// counts.
pub fn palm_forward_flops(config: &LlamaConfig, batch_size: u64, length: u64) -> f64 {
    let multiplied = (parameters(config) - looked_up(config)) as f64;
    let attention = 4.0 * (config.num_hidden_layers * config.query_size()) as f64 * length as f64;
    batch_size as f64 * length as f64 * (2.0 * multiplied + attention)
}

/// Bytes of all weights in `precision`, with the scales of quantized ones.
pub fn weights_bytes(config: &LlamaConfig, precision: Precision) -> u64 {
    let specs = weight_specs(config);
    let bytes = specs.iter().map(|spec| match precision.quantization().filter(|_| spec.is_projection()) {
        Some(quantization) => {
            let scales = spec.scales(quantization) as u64 * Quantization::SCALE.bytes();
            spec.packed_bytes(quantization) as u64 + scales
        }
        None => spec.len() as u64 * precision.unquantized().bytes(),
    });
    bytes.sum()
}

/// Bytes of the keys and values of `batch_size` sequences of `length` tokens.
pub fn kv_cache_bytes(config: &LlamaConfig, dtype: Dtype, batch_size: u64, length: u64) -> u64 {
    let per_token = 2 * (config.num_hidden_layers * config.key_value_size()) as u64 * dtype.bytes();
    per_token.saturating_mul(batch_size).saturating_mul(length)
}

/// Floating-point operations of one forward of `new` tokens a sequence after `past` ones, the head on `rows`
/// positions a sequence: two for each multiply-add of the linear layers and of causal attention. Norms,
/// softmax, rotary embedding and activation are left out (under 1 % from 100M parameters on).
pub fn forward_flops(config: &LlamaConfig, batch_size: u64, new: u64, past: u64, rows: u64) -> f64 {
    let linear: usize =
        weight_specs(config).iter().filter(|spec| spec.is_projection()).map(crate::WeightSpec::len).sum();
    let head = (config.vocab_size * config.hidden_size) as f64;
    let (new, past) = (new as f64, past as f64);
    // Token i of the new ones attends to past + i positions, in scores and again in their weighted sum.
    let attended = new * past + new * (new + 1.0) / 2.0;
    let attention = 4.0 * (config.num_hidden_layers * config.query_size()) as f64 * attended;
    batch_size as f64 * (2.0 * linear as f64 * new + attention + 2.0 * head * rows as f64)
}

/// Bytes that one decode forward must read at least: every weight once (of the embedding only the batch's
/// rows), and the KV cache of `past` tokens; beside quantized weights in 16 bits, whatever the engine holds it in.
pub fn decode_read_bytes(config: &LlamaConfig, precision: Precision, batch_size: u64, past: u64) -> u64 {
    let width = precision.unquantized().bytes();
    let rows = batch_size.saturating_mul(config.hidden_size as u64).saturating_mul(width);
    let weights = (weights_bytes(config, precision) - looked_up(config) * width).saturating_add(rows);
    weights.saturating_add(kv_cache_bytes(config, precision.unquantized(), batch_size, past))
}

/// Bytes of all that a rank of several gives to all-reduces in one forward of `new` tokens a sequence: two a layer, each of the
/// residual stream's width.
pub fn all_reduce_bytes(config: &LlamaConfig, dtype: Dtype, batch_size: u64, new: u64) -> u64 {
    let numbers = 2 * (config.num_hidden_layers * config.hidden_size) as u64;
    numbers.saturating_mul(dtype.bytes()).saturating_mul(batch_size).saturating_mul(new)
}

/// How an engine holds what it computes with, as far as it changes the memory that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// The attention scores are materialised: `[batch, heads, prompt, prompt]`, with an FP32 softmax beside.
    pub attention_scores: bool,
    /// The cache grows by concatenation: one layer's keys or values exist twice while they grow.
    pub growing_cache: bool,
    /// Logits of every position of the prompt, not only of the last.
    pub all_logits: bool,
    /// Bytes of a logit of the last forward that is kept while the next one computes, as in a loop of `outputs = model(…)`; a growing
    /// cache is kept with it. 0 where nothing is kept.
    pub kept_logit_bytes: u64,
}

/// What a cell needs in memory, part by part. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// All weights.
    pub weights: u64,
    /// The KV cache at the end of the generation.
    pub kv_cache: u64,
    /// The largest set of activations and kept outputs alive at once, by the model in docs/concepts/memory.md.
    pub activations: u64,
}

/// The share by which what an allocator holds on a GPU exceeds what a forward needs by [`memory_need`]. The published
/// pytorch-eager cells that ran out of memory on 80 GB need up to 14 % less by the estimate than was there.
pub const DEVICE_ALLOWANCE: f64 = 0.2;

impl MemoryNeed {
    /// Whether it fits into the given bytes of a GPU's memory, with [`DEVICE_ALLOWANCE`].
    pub fn fits_device(&self, bytes: u64) -> bool {
        self.total() as f64 * (1.0 + DEVICE_ALLOWANCE) <= bytes as f64
    }

    /// The sum.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv_cache).saturating_add(self.activations)
    }
}

/// An estimate of what a cell needs: exact for weights and cache, modelled for activations.
pub fn memory_need(
    config: &LlamaConfig,
    precision: Precision,
    device: Device,
    [batch_size, prompt_length, generation_length]: [u64; 3],
    footprint: Footprint,
) -> MemoryNeed {
    let dtype = precision.activations(device);
    let width = dtype.bytes();
    let tokens = batch_size.saturating_mul(prompt_length);
    let length = prompt_length.saturating_add(generation_length);
    let kv_cache = kv_cache_bytes(config, dtype, batch_size, length);

    let hidden = config.hidden_size as u64;
    // The MLP's widest moment: residual, its norm, gate and up.
    let mlp = tokens.saturating_mul(2 * hidden + 2 * config.intermediate_size as u64).saturating_mul(width);
    // The attention's: residual, its norm, query, key, value, output.
    let projections = 2 * hidden + 2 * (config.query_size() + config.key_value_size()) as u64;
    let mut attention = tokens.saturating_mul(projections).saturating_mul(width);
    if footprint.attention_scores {
        let scores = tokens.saturating_mul(prompt_length).saturating_mul(config.num_attention_heads as u64);
        attention = attention.saturating_add(scores.saturating_mul(width + 4 + width));
    }
    let rows = if footprint.all_logits { tokens } else { batch_size };
    let logits = rows.saturating_mul(config.vocab_size as u64).saturating_mul(width);
    let growth = if footprint.growing_cache { kv_cache / config.num_hidden_layers as u64 / 2 } else { 0 };
    // A static cache is one buffer, whatever is kept.
    let keeps_cache = footprint.kept_logit_bytes > 0 && footprint.growing_cache;
    let kept_cache = |length| if keeps_cache { kv_cache_bytes(config, dtype, batch_size, length) } else { 0 };
    let kept_logits =
        |rows: u64| rows.saturating_mul(config.vocab_size as u64).saturating_mul(footprint.kept_logit_bytes);
    let widest = mlp.max(attention).max(logits).saturating_add(growth);
    let in_prefill = widest.saturating_add(kept_cache(prompt_length)).saturating_add(kept_logits(rows));
    let in_last_decode = growth.saturating_add(kept_cache(length)).saturating_add(kept_logits(batch_size));

    MemoryNeed {
        weights: weights_bytes(config, precision),
        kv_cache,
        activations: in_prefill.max(in_last_decode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: Device = Device::Cuda(0);

    fn config(text: &str) -> LlamaConfig {
        LlamaConfig::parse(text, "config.json").unwrap()
    }

    fn llama2_7b() -> LlamaConfig {
        config(include_str!("../../../configs/models/llama2-7b.json"))
    }

    #[test]
    fn published_sizes_are_met_exactly() {
        assert_eq!(parameters(&llama2_7b()), 6_738_415_616);
        let b13 = config(include_str!("../../../configs/models/llama2-13b.json"));
        assert_eq!(parameters(&b13), 13_015_864_320);
        let b70 = config(include_str!("../../../configs/models/llama2-70b.json"));
        assert_eq!(parameters(&b70), 68_976_648_192);
        let tiny = config(include_str!("../../../configs/models/tinyllama-1.1b.json"));
        assert_eq!(parameters(&tiny), 1_100_048_384);
    }

    #[test]
    fn cache_and_operations_of_7b() {
        // 2 (K and V) · 32 layers · 4096 · 2 bytes = 512 KiB a token.
        assert_eq!(kv_cache_bytes(&llama2_7b(), Dtype::Fp16, 1, 1), 512 << 10);
        // Close to two operations a parameter and token (the embedding is looked up, not multiplied).
        let flops = forward_flops(&llama2_7b(), 1, 1, 0, 1);
        let expected = 2.0 * (6_738_415_616.0 - 32000.0 * 4096.0);
        assert!((flops / expected - 1.0).abs() < 1e-3);
    }

    #[test]
    fn the_palm_count_is_two_per_parameter_and_four_per_head_dimension_and_position() {
        let config = llama2_7b();
        let of_token = palm_forward_flops(&config, 3, 1024) / (3.0 * 1024.0);
        // 32 layers of 32 heads of 128; all but the table of 32000 rows of 4096.
        let expected = 2.0 * (6_738_415_616.0 - 32_000.0 * 4096.0) + 4.0 * 32.0 * 32.0 * 128.0 * 1024.0;
        assert!((of_token / expected - 1.0).abs() < 1e-12);
        // A table that is the head, too, is multiplied.
        let tied = LlamaConfig { tie_word_embeddings: true, ..config.clone() };
        assert!(
            (palm_forward_flops(&tied, 3, 1024) / palm_forward_flops(&config, 3, 1024) - 1.0).abs() < 1e-12
        );
    }

    #[test]
    fn a_decode_forward_reads_all_weights_but_the_embedding_table() {
        // 13.2 GB at 2039 GB/s is 6.5 ms: the floor of the published 7B token latencies.
        let bytes = decode_read_bytes(&llama2_7b(), Precision::Fp16, 1, 0);
        assert_eq!(bytes, 2 * (6_738_415_616 - 32000 * 4096 + 4096));
        let with_past = decode_read_bytes(&llama2_7b(), Precision::Fp16, 4, 100);
        assert_eq!(with_past - bytes, 2 * 3 * 4096 + 4 * 100 * (512 << 10));
        let absurd = decode_read_bytes(&llama2_7b(), Precision::Fp16, u32::MAX.into(), u32::MAX.into());
        assert_eq!(absurd, u64::MAX);
    }

    /// 6,476,005,376 weights in projections; embedding, norms and head have 2 bytes a number.
    #[test]
    fn a_quantized_weight_costs_its_bits_and_its_share_of_a_scale() {
        let config = llama2_7b();
        let rest = 2 * (6_738_415_616 - 6_476_005_376);
        for (precision, bits) in [
            (Precision::Int8, 8.5),
            (Precision::Int8G128, 8.125),
            (Precision::Int4, 4.5),
            (Precision::Int4G128, 4.125),
        ] {
            let projections = (6_476_005_376.0 * bits / 8.0) as u64;
            assert_eq!(weights_bytes(&config, precision), projections + rest, "{precision}");
            let table = 2 * (32000 - 1) * 4096;
            assert_eq!(decode_read_bytes(&config, precision, 1, 0), projections + rest - table);
        }
        // A scale for each of 32 layers' rows: 4 of 4096, 2 of 11008, one of 4096.
        let scales = 2 * 32 * (4 * 4096 + 2 * 11008 + 4096);
        assert_eq!(weights_bytes(&config, Precision::Int8Channel), 6_476_005_376 + scales + rest);
        let read = |past| decode_read_bytes(&config, Precision::Int4, 1, past);
        assert_eq!(read(1) - read(0), 512 << 10);
    }

    #[test]
    fn a_rank_of_70b_sums_160_vectors_a_token() {
        let b70 = config(include_str!("../../../configs/models/llama2-70b.json"));
        assert_eq!(all_reduce_bytes(&b70, Dtype::Fp16, 1, 1), 160 * 8192 * 2);
        assert_eq!(all_reduce_bytes(&b70, Dtype::Fp16, 16, 3840), 16 * 3840 * 160 * 8192 * 2);
    }

    #[test]
    fn what_no_machine_holds_is_as_large_as_can_be_said() {
        let most = u64::from(u32::MAX);
        assert_eq!(decode_read_bytes(&llama2_7b(), Precision::Fp16, most, most), u64::MAX);
        let need =
            memory_need(&llama2_7b(), Precision::Fp16, GPU, [most, most, u64::MAX], Footprint::default());
        assert_eq!(need.total(), u64::MAX);
    }

    #[test]
    fn a_prefill_costs_what_its_tokens_cost_one_by_one() {
        let whole = forward_flops(&llama2_7b(), 2, 8, 0, 8);
        let steps: f64 = (0..8).map(|past| forward_flops(&llama2_7b(), 2, 1, past, 1)).sum();
        assert!((whole / steps - 1.0).abs() < 1e-12);
    }

    #[test]
    fn needs_grow_with_what_is_materialised() {
        let need =
            |footprint| memory_need(&llama2_7b(), Precision::Fp16, GPU, [16, 2048, 256], footprint).total();
        let plain = need(Footprint::default());
        assert!(need(Footprint { attention_scores: true, ..Footprint::default() }) > plain);
        assert!(need(Footprint { growing_cache: true, ..Footprint::default() }) > plain);
        assert!(need(Footprint { all_logits: true, ..Footprint::default() }) >= plain);
    }

    #[test]
    fn a_static_cache_is_not_kept_twice() {
        let config = llama2_7b();
        let need = |growing_cache, kept_logit_bytes| {
            let footprint = Footprint { growing_cache, kept_logit_bytes, ..Footprint::default() };
            memory_need(&config, Precision::Fp16, GPU, [4, 64, 256], footprint).total()
        };
        // One row of logits a sequence is kept in the widest moment.
        assert_eq!(need(false, 4) - need(false, 0), 4 * 32_000 * 4);
        assert_eq!(need(false, 2) - need(false, 0), 4 * 32_000 * 2);
        // The last decode forward has the whole growing cache twice.
        let cache = kv_cache_bytes(&config, Dtype::Fp16, 4, 64 + 256);
        assert!(
            need(true, 4)
                - memory_need(&config, Precision::Fp16, GPU, [4, 64, 256], Footprint::default()).weights
                >= 2 * cache
        );
    }
}
