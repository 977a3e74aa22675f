//! A model's costs in bytes and operations, counted once per table.

use std::cell::RefCell;
use std::collections::HashMap;

use llama::{LlamaConfig, cost};
use protocol::Precision;
use results::HeadingPrecision;

const FP16: Precision = Precision::Fp16;

/// What the model costs, exactly (`llama::cost`), without counting its weights anew for every row.
pub(crate) struct Costs {
    config: LlamaConfig,
    /// Bytes of a number in the KV cache, as a share of those in FP16.
    cache_share: f64,
    /// Bytes of all weights.
    weights: f64,
    /// Bytes that a forward reads whatever the batch, and more for each sequence.
    read: [f64; 2],
    /// Operations of one sequence by its new and past tokens.
    flops: RefCell<HashMap<[u64; 2], f64>>,
}

impl Costs {
    pub(crate) fn new(config: LlamaConfig, precision: HeadingPrecision) -> Self {
        // Counted in FP16; all weights are taken to have the heading's bits.
        let share = |bits: u64| bits as f64 / (8 * FP16.bytes()) as f64;
        let weight_share = share(precision.weight_bits());
        let read = [0, 1].map(|batch| cost::decode_read_bytes(&config, FP16, batch, 0) as f64 * weight_share);
        Self {
            weights: cost::weights_bytes(&config, FP16) as f64 * weight_share,
            cache_share: share(precision.cache_bits()),
            read: [read[0], read[1] - read[0]],
            flops: RefCell::default(),
            config,
        }
    }

    /// Bytes that a decode forward reads after `past` tokens.
    pub(crate) fn decode_read_bytes(&self, batch_size: u64, past: u64) -> f64 {
        self.read[0] + self.read[1] * batch_size as f64 + self.cache(batch_size, past)
    }

    /// Floating-point operations of a forward, the head on one position a sequence.
    pub(crate) fn forward_flops(&self, batch_size: u64, new: u64, past: u64) -> f64 {
        let mut flops = self.flops.borrow_mut();
        let one =
            flops.entry([new, past]).or_insert_with(|| cost::forward_flops(&self.config, 1, new, past, 1));
        *one * batch_size as f64
    }

    /// Bytes of weights and of a KV cache of `tokens` a sequence.
    pub(crate) fn memory_bytes(&self, batch_size: u64, tokens: u64) -> f64 {
        self.weights + self.cache(batch_size, tokens)
    }

    pub(crate) fn layers(&self) -> f64 {
        self.config.num_hidden_layers as f64
    }

    pub(crate) fn vocabulary(&self) -> f64 {
        self.config.vocab_size as f64
    }

    fn cache(&self, batch_size: u64, tokens: u64) -> f64 {
        cost::kv_cache_bytes(&self.config, FP16, batch_size, tokens) as f64 * self.cache_share
    }
}
