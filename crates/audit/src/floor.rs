//! The least time that a forward can take on devices that share a model, from the bytes that it must read and send and the
//! operations that it takes.

use llama::{LlamaConfig, TensorParallel, WorldSizeError, cost};
use protocol::Precision;

use results::hardware::Peaks;

/// What one rank does in one forward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Bytes that it reads from its memory at least: its part of the weights once, and of the cache.
    pub read_bytes: f64,
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes that it gives to all-reduces: two a layer.
    pub all_reduce_bytes: f64,
}

/// A cell's forwards, of one rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Ranks.
    pub world_size: u32,
    /// The prefill.
    pub prompt: Step,
    /// The mean of the decode forwards.
    pub token: Step,
}

/// The least seconds of a cell's forwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Seconds of the prefill.
    pub prompt_seconds: f64,
    /// Mean seconds of a decode forward.
    pub token_seconds: f64,
}

impl Work {
    /// The work of a cell of `batch_size` sequences with `prompt_length` tokens and `generation_length` decode forwards.
    ///
    /// # Errors
    /// Fails where the model can't be split among that many ranks.
    pub fn new(
        config: &LlamaConfig,
        precision: Precision,
        world_size: u32,
        [batch_size, prompt_length, generation_length]: [u64; 3],
    ) -> Result<Self, WorldSizeError> {
        let rank = TensorParallel::new(config, 0, world_size as usize)?.config(config);
        let sent = |new| {
            if world_size == 1 {
                0.0
            } else {
                cost::all_reduce_bytes(&rank, precision.unquantized(), batch_size, new) as f64
            }
        };
        let read = |past| cost::decode_read_bytes(&rank, precision, batch_size, past) as f64;
        let flops = |new, past| cost::forward_flops(&rank, batch_size, new, past, 1);
        // What is read and computed grows steadily with every token.
        let last = prompt_length + generation_length.saturating_sub(1);
        let mean = |of: &dyn Fn(u64) -> f64| (of(prompt_length) + of(last)) / 2.0;
        Ok(Self {
            world_size,
            prompt: Step {
                read_bytes: cost::decode_read_bytes(&rank, precision, 1, 0) as f64,
                flops: flops(prompt_length, 0),
                all_reduce_bytes: sent(prompt_length),
            },
            token: Step {
                read_bytes: mean(&read),
                flops: mean(&|past| flops(1, past)),
                all_reduce_bytes: sent(1),
            },
        })
    }

    /// The floors of a cell of rank 0 alone, of a model that `ranks` share: reading and computing, no sums.
    ///
    /// # Errors
    /// Fails where the model can't be split among that many ranks.
    pub fn of_first_rank(
        config: &LlamaConfig,
        precision: Precision,
        ranks: u32,
        cell: [u64; 3],
    ) -> Result<Self, WorldSizeError> {
        Self::new(&TensorParallel::first_of(config, Some(ranks))?, precision, 1, cell)
    }

    /// The floor on devices of these peaks; `None` where a peak that counts is not known. Reading and computing overlap, all-reduces
    /// wait for both. A ring sends 2 (N − 1) / N of the bytes, and nothing is counted for latency.
    pub fn floor(&self, peaks: &Peaks) -> Option<Floor> {
        let bandwidth = peaks.bandwidth_bytes_per_second.as_ref()?.value;
        let peak = peaks.flops.as_ref()?.value;
        let cached = peaks.cache_bytes as f64;
        let [prompt_sums, token_sums] = self.sums_seconds(peaks).unwrap_or_default();
        let seconds = |step: &Step, sums: f64| {
            let read = (step.read_bytes - cached).max(0.0) / bandwidth;
            read.max(step.flops / peak) + sums
        };
        let (prompt_seconds, token_seconds) =
            (seconds(&self.prompt, prompt_sums), seconds(&self.token, token_sums));
        Some(Floor { prompt_seconds, token_seconds })
    }

    /// What the all-reduces of a prefill and of a decode forward take at least over these devices' links; `None` where those are
    /// not known.
    pub fn sums_seconds(&self, peaks: &Peaks) -> Option<[f64; 2]> {
        let link = peaks.link_bytes_per_second.as_ref()?.value;
        let ranks = f64::from(self.world_size);
        let share = 2.0 * (ranks - 1.0) / ranks;
        Some([self.prompt, self.token].map(|step| share * step.all_reduce_bytes / link))
    }
}
