//! `vllm bench latency --output-json` (earlier `benchmarks/benchmark_latency.py`): the latencies of one batch.
//!
//! A latency is that of `batch_size` prompts from their start to the last of `output_len` tokens each, choosing them included. The file
//! says none of the lengths: the caller does. `output_len` tokens take `output_len - 1` decode forwards.

use protocol::CellSize;
use serde::Deserialize;

use super::{Column, ImportError, Imported, ImportedRow, Importer, Record, RecordKeys};
use crate::format_g10;
use crate::published::ReadOptions;

pub(super) struct VllmLatency;

#[derive(Deserialize)]
struct LatencyRecord {
    avg_latency: f64,
    latencies: Vec<f64>,
}

/// The mean may be rounded or summed in another order.
const SAME_MEAN: f64 = 1e-6;

impl Importer for VllmLatency {
    fn name(&self) -> &'static str {
        "vllm bench latency"
    }

    fn recognises(&self, keys: &RecordKeys) -> bool {
        keys.has(&["avg_latency", "latencies"])
    }

    fn read(
        &self,
        records: &[Record<'_>],
        _beside: Option<&str>,
        options: &ReadOptions,
    ) -> Result<Imported, ImportError> {
        let [place] = records else {
            return Err(ImportError::of_file("several records of different lengths: split them"));
        };
        let record: LatencyRecord = place.read()?;
        let mean = place.positive("avg_latency", record.avg_latency)?;
        for latency in &record.latencies {
            place.positive("latencies", *latency)?;
        }
        let own =
            stats::mean(&record.latencies).ok_or_else(|| place.error("latencies: expected at least one"))?;
        if (own / mean - 1.0).abs() > SAME_MEAN {
            let (mean, own) = (format_g10(mean), format_g10(own));
            return Err(place.error(format!("avg_latency: {mean} is not the mean of latencies, {own}")));
        }
        let lengths = [options.batch_size, options.prompt_length, options.generation_length];
        let [Some(batch_size), Some(prompt_length), Some(tokens)] = lengths else {
            let flags = ["--batch-size", "--prompt-length", "--generation-length"];
            let missing: Vec<&str> = flags
                .iter()
                .zip(&lengths)
                .filter(|(_, length)| length.is_none())
                .map(|(flag, _)| *flag)
                .collect();
            return Err(ImportError::of_file(format!(
                "the file does not say its lengths: give {} as --batch-size, --input-len and --output-len were given to vllm (its \
                 defaults: 8, 32 and 128)",
                missing.join(", ")
            )));
        };
        let row = ImportedRow {
            line: place.line,
            title: String::new(),
            weights: None,
            engine: options.engine.clone().unwrap_or_else(|| "vllm".into()),
            size: CellSize { batch_size, prompt_length },
            generation_length: tokens.checked_sub(1).filter(|steps| *steps > 0),
            figures: vec![(if tokens == 1 { Column::PromptLatency } else { Column::WallLatency }, mean)],
            more: Vec::new(),
        };
        let count = record.latencies.len();
        let what = if tokens == 1 { "prompt latency, choosing the token included," } else { "wall clock" };
        let remark = format!(
            "the {what} is the mean of {count} batches, each from its prompts to its last token; a generation length is the tokens − 1"
        );
        Ok(Imported { rows: vec![row], remarks: vec![remark] })
    }
}
