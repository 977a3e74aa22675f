//! The figures of a cell, from its raw series.

use protocol::{CellKey, Generation, Measured, Measurement};
use stats::Summary;

use crate::Column;

/// The figures of one cell. Seconds; docs/concepts/columns.md defines each.
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
    /// Time per output token (TPOT) of each generation: its wall clock without the prefill, over its tokens.
    pub tpot: Summary,
    /// The generations' wall clock.
    pub wall: Summary,
    /// The largest share of a generation's wall clock that is neither in its prefill nor in a decode forward.
    pub between_share: f64,
}

impl Figures {
    /// Computes the figures of a cell's replicates; `None` where one was not measured or a series is empty.
    pub fn new(replicates: &[Measurement]) -> Option<Self> {
        let series: Vec<&Measured> = replicates.iter().map(Measurement::series).collect::<Option<_>>()?;
        let CellKey { batch_size, prompt_length, generation_length, .. } = replicates.first()?.key;
        let prompt: Vec<f64> = series.iter().flat_map(|one| &one.prompt_seconds).copied().collect();
        let generations: Vec<_> = series.iter().flat_map(|one| &one.generations).collect();
        let leading = |count: usize| {
            let long_enough = generations.iter().all(|one| one.token_seconds.len() >= count);
            let tokens = generations.iter().flat_map(|one| one.token_seconds.iter().take(count)).copied();
            if long_enough { Summary::from_series(&tokens.collect::<Vec<_>>()) } else { None }
        };
        let tpots: Vec<f64> =
            generations.iter().filter_map(|one| Generation::seconds_per_token(one)).collect();
        let walls: Vec<f64> = generations.iter().map(|one| one.wall_seconds).collect();
        let between = generations.iter().map(|one| {
            let forwards = one.prompt_seconds + one.token_seconds.iter().sum::<f64>();
            (one.wall_seconds - forwards) / one.wall_seconds
        });
        let (first_128, first_256) = (leading(128), leading(256));
        // Summaries sort their series: most generations are of a length that has one already.
        let token = match generation_length {
            128 => first_128,
            256 => first_256,
            other => leading(other as usize),
        };
        Some(Self {
            batch_size: batch_size.into(),
            prompt_length: prompt_length.into(),
            generation_length: generation_length.into(),
            prompt: Summary::from_series(&prompt)?,
            first_128,
            first_256,
            token: token?,
            tpot: Summary::from_series(&tpots)?,
            wall: Summary::from_series(&walls)?,
            between_share: between.fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// The figure of a published column, in its unit; `None` where the column does not apply.
    pub fn get(&self, column: Column) -> Option<f64> {
        let Self { batch_size, prompt_length, generation_length, .. } = *self;
        let summary = match column {
            Column::PromptLatency | Column::PromptThroughput => Some(&self.prompt),
            Column::First128Latency | Column::First128Throughput => self.first_128.as_ref(),
            Column::First256Latency | Column::First256Throughput => self.first_256.as_ref(),
            Column::WallLatency | Column::WallThroughput => Some(&self.wall),
            // Longer generations have the columns of their first tokens.
            Column::TokenLatency | Column::TokenThroughput => {
                Some(&self.token).filter(|_| self.first_128.is_none())
            }
            // Tables of the published generations have no such column.
            Column::Tpot | Column::DecodeThroughput => Some(&self.tpot).filter(|_| self.first_256.is_none()),
        };
        let mean = summary?.mean;
        Some(match column {
            _ if column.is_latency() => mean / column.seconds(),
            Column::PromptThroughput => batch_size * prompt_length / mean,
            Column::WallThroughput => batch_size * (prompt_length + generation_length) / mean,
            _ => batch_size / mean,
        })
    }

    /// The figures of all published columns, in their order and units.
    pub fn columns(&self) -> [Option<f64>; 8] {
        Column::PUBLISHED.map(|column| self.get(column))
    }
}
