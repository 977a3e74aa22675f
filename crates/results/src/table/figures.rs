//! The documents' eight figures of a cell, from its raw series.

use protocol::Measurement;
use stats::Summary;

/// The documents' column names, in order.
pub const COLUMNS: [&str; 11] = [
    "Engine",
    "Batch Size",
    "Prompt Length",
    "Prompt Latency (ms)",
    "Prompt Throughput (tps)",
    "First 128 Tokens Generated Avg Latency (ms)",
    "First 128 Tokens Generated Avg Throughput (tps)",
    "First 256 Tokens Generated Avg Latency (ms)",
    "First 256 Tokens Generated Avg Throughput (tps)",
    "Wall-Clock Latency (s)",
    "Wall-Clock Throughput (tps)",
];

/// The figures of one cell. Seconds; METHODOLOGY.md defines each.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    batch_size: f64,
    prompt_length: f64,
    generation_length: f64,
    /// The timed prefills.
    pub prompt: Summary,
    /// Decode forwards 1…128 of every generation; `None` where generations are shorter.
    pub first_128: Option<Summary>,
    /// Decode forwards 1…256 of every generation; `None` where generations are shorter.
    pub first_256: Option<Summary>,
    /// All decode forwards of every generation.
    pub token: Summary,
    /// The generations' wall clock.
    pub wall: Summary,
    /// The largest share of a generation's wall clock that is neither in its prefill nor in a decode forward.
    pub between_share: f64,
}

impl Figures {
    /// Computes the figures of a cell's replicates, all measured; `None` where a series is empty.
    pub fn of(replicates: &[&Measurement]) -> Option<Self> {
        let first = replicates.first()?;
        let prompt: Vec<f64> = replicates.iter().flat_map(|record| &record.prompt_seconds).copied().collect();
        let generations: Vec<_> = replicates.iter().flat_map(|record| &record.generations).collect();
        let leading = |count: usize| {
            let long_enough = generations.iter().all(|one| one.token_seconds.len() >= count);
            let tokens = generations.iter().flat_map(|one| one.token_seconds.iter().take(count)).copied();
            if long_enough { Summary::of(&tokens.collect::<Vec<_>>()) } else { None }
        };
        let walls: Vec<f64> = generations.iter().map(|one| one.wall_seconds).collect();
        let between = generations.iter().map(|one| {
            let parts = one.prompt_seconds + one.token_seconds.iter().sum::<f64>();
            (one.wall_seconds - parts) / one.wall_seconds
        });
        Some(Self {
            batch_size: first.batch_size.into(),
            prompt_length: first.prompt_length.into(),
            generation_length: first.generation_length.into(),
            prompt: Summary::of(&prompt)?,
            first_128: leading(128),
            first_256: leading(256),
            token: leading(first.generation_length as usize)?,
            wall: Summary::of(&walls)?,
            between_share: between.fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// The eight figures in the documents' order and units; `None` where a column does not apply.
    pub fn columns(&self) -> [Option<f64>; 8] {
        let Self { batch_size, prompt_length, generation_length, .. } = *self;
        let milliseconds = |summary: &Summary| summary.mean * 1e3;
        let per_token = |summary: &Summary| batch_size / summary.mean;
        [
            Some(milliseconds(&self.prompt)),
            Some(batch_size * prompt_length / self.prompt.mean),
            self.first_128.as_ref().map(milliseconds),
            self.first_128.as_ref().map(per_token),
            self.first_256.as_ref().map(milliseconds),
            self.first_256.as_ref().map(per_token),
            Some(self.wall.mean),
            Some(batch_size * (prompt_length + generation_length) / self.wall.mean),
        ]
    }
}
