//! `sglang.bench_one_batch --result-filename`: a line of JSON for each batch size, input and output length.
//!
//! Each record is of one prefill and one generation (`latency_test_run_once` in `python/sglang/bench_one_batch.py`). `prefill_latency`
//! has choosing the first token in it; a decode step has choosing the next one in it, and there are `output_len - 1`. `total_latency` is
//! their sum, so that the mean time per output token follows from it; the file's own figure is the median of the steps.

use protocol::CellSize;
use serde::Deserialize;

use super::{Column, ImportError, Imported, ImportedRow, Importer, Record, RecordKeys};
use crate::format_g10;
use crate::published::ReadOptions;

pub(super) struct Sglang;

#[derive(Deserialize)]
struct BatchRecord {
    #[serde(default)]
    run_name: Option<String>,
    batch_size: u32,
    input_len: u32,
    output_len: u32,
    prefill_latency: f64,
    prefill_throughput: Option<f64>,
    median_decode_latency: Option<f64>,
    total_latency: f64,
    overall_throughput: Option<f64>,
}

impl Importer for Sglang {
    fn name(&self) -> &'static str {
        "sglang bench_one_batch"
    }

    fn recognises(&self, keys: &RecordKeys) -> bool {
        keys.has(&["batch_size", "input_len", "output_len", "prefill_latency"])
    }

    fn read(
        &self,
        records: &[Record<'_>],
        _beside: Option<&str>,
        options: &ReadOptions,
    ) -> Result<Imported, ImportError> {
        let read: Vec<BatchRecord> = records.iter().map(Record::read).collect::<Result<_, _>>()?;
        let engine = options.engine.as_deref().unwrap_or("sglang");
        let has_names = read.iter().any(|record| record.run_name != read[0].run_name);
        let rows = records.iter().zip(read).map(|(place, record)| {
            let engine = match &record.run_name {
                Some(name) if has_names => format!("{engine} ({name})"),
                _ => engine.to_owned(),
            };
            row(place, &record, engine)
        });
        let remark = "each figure is of one prefill or one generation, choosing the tokens included; a generation length is output_len − 1; \
                      medians are not compared, and overall_throughput is not read";
        Ok(Imported { rows: rows.collect::<Result<_, _>>()?, remarks: vec![remark.to_owned()] })
    }
}

fn row(place: &Record<'_>, record: &BatchRecord, engine: String) -> Result<ImportedRow, ImportError> {
    if record.overall_throughput.is_none() {
        let what = "overall_throughput: missing, as before sglang 0.3.6, of whose versions some decode output_len times and others \
                    output_len − 1: measure again with a later one";
        return Err(place.error(what));
    }
    let prefill = place.positive("prefill_latency", record.prefill_latency)?;
    let total = place.positive("total_latency", record.total_latency)?;
    let mut figures = vec![(Column::PromptLatency, prefill)];
    if let Some(throughput) = record.prefill_throughput {
        figures.push((Column::PromptThroughput, place.positive("prefill_throughput", throughput)?));
    }
    let steps = record.output_len.saturating_sub(1);
    let mut more = Vec::new();
    if steps > 0 {
        figures.push((Column::WallLatency, total));
        let token = (total - prefill) / f64::from(steps);
        figures.push((Column::Tpot, place.positive("total_latency − prefill_latency", token)?));
    }
    if let Some(median) = record.median_decode_latency {
        let median = place.positive("median_decode_latency", median)?;
        more.push(("TPOT Median (ms)", format_g10(median * 1e3)));
    }
    Ok(ImportedRow {
        line: place.line,
        title: String::new(),
        weights: None,
        engine,
        size: CellSize { batch_size: record.batch_size, prompt_length: record.input_len },
        generation_length: (steps > 0).then_some(steps),
        figures,
        more,
    })
}
