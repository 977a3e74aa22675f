//! A model's costs in bytes and operations, counted once per table.

use std::cell::RefCell;
use std::collections::HashMap;

use llama::{LlamaConfig, cost};
use protocol::{Dtype, Precision};
use results::HeadingPrecision;

const FP16: Precision = Precision::Fp16;
const BITS: f64 = 16.0;

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
    /// Counts the bytes of a table in `precision`. A table from elsewhere may have all its weights in the heading's bits and its KV
    /// cache in 8; of a run (`of_run`), it is known which weights are quantized, and with how many scales.
    pub(crate) fn new(config: LlamaConfig, precision: HeadingPrecision, of_run: bool) -> Self {
        if let Some(precision) = precision.precision().filter(|_| of_run) {
            let read = [0, 1].map(|batch| cost::decode_read_bytes(&config, precision, batch, 0) as f64);
            return Self {
                weights: cost::weights_bytes(&config, precision) as f64,
                cache_share: (8 * precision.unquantized().bytes()) as f64 / BITS,
                read: [read[0], read[1] - read[0]],
                flops: RefCell::default(),
                config,
            };
        }
        // Counted in FP16.
        let share = |bits: u64| bits as f64 / BITS;
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

    /// The costs of a table from elsewhere of the same model in another precision.
    pub(crate) fn in_precision(&self, precision: HeadingPrecision) -> Self {
        Self::new(self.config.clone(), precision, false)
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
        cost::kv_cache_bytes(&self.config, Dtype::Fp16, batch_size, tokens) as f64 * self.cache_share
    }
}
