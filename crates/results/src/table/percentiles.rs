//! Time per output token, and the percentiles of every latency.

use super::Table;
use super::grid::{Grid, GridColumn, column};
use crate::format_short;

const COLUMNS: [GridColumn; 19] = [
    column("Engine", None, |row, _| Some(row.key.engine.clone())),
    column("Batch Size", None, |row, _| Some(row.key.batch_size.to_string())),
    column("Prompt Length", None, |row, _| Some(row.key.prompt_length.to_string())),
    column("Prefills", None, |_, figures| Some(figures.prompt.count.to_string())),
    column("Prompt Latency p50 (ms)", None, |_, figures| Some(milliseconds(figures.prompt.median))),
    column("Prompt Latency p90 (ms)", None, |_, figures| Some(milliseconds(figures.prompt.p90))),
    column("Prompt Latency p99 (ms)", None, |_, figures| Some(milliseconds(figures.prompt.p99))),
    column("Tokens", None, |_, figures| Some(figures.token.count.to_string())),
    column("Token Latency p50 (ms)", None, |_, figures| Some(milliseconds(figures.token.median))),
    column("Token Latency p90 (ms)", None, |_, figures| Some(milliseconds(figures.token.p90))),
    column("Token Latency p99 (ms)", None, |_, figures| Some(milliseconds(figures.token.p99))),
    column("Generations", None, |_, figures| Some(figures.wall.count.to_string())),
    column("TPOT (ms)", None, |_, figures| Some(milliseconds(figures.tpot.mean))),
    column("TPOT p50 (ms)", None, |_, figures| Some(milliseconds(figures.tpot.median))),
    column("TPOT p90 (ms)", None, |_, figures| Some(milliseconds(figures.tpot.p90))),
    column("TPOT p99 (ms)", None, |_, figures| Some(milliseconds(figures.tpot.p99))),
    column("Wall-Clock Latency p50 (s)", None, |_, figures| Some(format_short(figures.wall.median))),
    column("Wall-Clock Latency p90 (s)", None, |_, figures| Some(format_short(figures.wall.p90))),
    column("Wall-Clock Latency p99 (s)", None, |_, figures| Some(format_short(figures.wall.p99))),
];

impl Grid {
    /// Time per output token (TPOT) and the percentiles of all latencies, with how many samples each is of; `None` where no cell
    /// was measured.
    pub fn percentiles(table: &Table) -> Option<Self> {
        Self::new(table, "Percentiles and time per output token (TPOT)".into(), &COLUMNS)
    }
}

fn milliseconds(seconds: f64) -> String {
    format_short(seconds * 1e3)
}
