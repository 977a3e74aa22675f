//! Tables for programs: seconds, bytes, and every summary.

use protocol::CellSize;
use results::published::json::SCHEMA;
use results::{COLUMNS, Column, Exported, Exporter, Json, Row, Table, published};
use serde_json::{Map, Value, json};
use stats::Summary;

use crate::export_input::{ExportInput, tables_of};

impl Exporter<ExportInput<'_>> for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn write(&self, input: &ExportInput<'_>) -> Exported {
        match input {
            ExportInput::Runs(runs) => write(tables_of(runs)).into(),
            ExportInput::Document(document) => published::json::write(document).into(),
        }
    }
}

/// The tables as `results::published::json` reads them: a row has the published columns by their names, and under `measured`
/// what else is known of it.
pub fn write<'a>(tables: impl IntoIterator<Item = &'a Table>) -> String {
    let pieces: Vec<Value> = tables
        .into_iter()
        .map(|table| {
            let rows: Vec<Value> = table.rows.iter().map(row).collect();
            let notes: Vec<&str> = table.notes.iter().map(|note| note.text.as_str()).collect();
            json!({
                "heading": table.heading.to_string(),
                "generation_length": table.key.generation_length,
                "rows": rows,
                "measured": {
                    "model": table.key.model,
                    "one_rank_of": table.key.ranks.one_rank_of(),
                    "notes": notes,
                    "efficiency_of": table.scale,
                },
            })
        })
        .collect();
    let document = json!({ "schema": SCHEMA, "pieces": pieces });
    results::escaped_json(&format!("{document:#}\n"))
}

/// A row: sizes and figures as numbers, in the units of the columns; what happened instead of a figure as a text.
fn row(row: &Row) -> Value {
    let CellSize { batch_size, prompt_length } = row.key.size();
    let figure = |column| match row.figures.as_ref().and_then(|figures| figures.get(column)) {
        Some(figure) if figure.is_finite() => json!(figure),
        Some(_) => json!(""),
        None => json!(row.text(column)),
    };
    let keys = [json!(row.key.engine), json!(batch_size), json!(prompt_length)];
    let columns = keys.into_iter().chain(Column::PUBLISHED.map(figure));
    let mut fields: Map<String, Value> = COLUMNS.map(str::to_owned).into_iter().zip(columns).collect();
    fields.insert("measured".into(), measured(row));
    Value::Object(fields)
}

/// The fields that a published row lacks.
fn measured(row: &Row) -> Value {
    let failure = row.failure();
    json!({
        "outcome": row.outcome_word(),
        "phase": failure.and_then(|failure| failure.phase),
        "error": failure.map(|failure| &failure.error),
        "inferred_from": failure.and_then(|failure| failure.inferred_from),
        "scripted": row.is_scripted,
        "parts": row.parts(),
        "replicates": row.replicates.len(),
        "prompt_seconds": row.figures.as_ref().map(|figures| summary(&figures.prompt)),
        "first_128_token_seconds": row.figures.as_ref().and_then(|figures| figures.first_128.as_ref().map(summary)),
        "first_256_token_seconds": row.figures.as_ref().and_then(|figures| figures.first_256.as_ref().map(summary)),
        "token_seconds": row.figures.as_ref().map(|figures| summary(&figures.token)),
        "tpot_seconds": row.figures.as_ref().map(|figures| summary(&figures.tpot)),
        "wall_seconds": row.figures.as_ref().map(|figures| summary(&figures.wall)),
        "between_share": row.figures.as_ref().map(|figures| figures.between_share),
        "peak_bytes": row.peak_bytes(),
        "tokens_sha256": row.tokens_sha256(),
        "decode_bandwidth_of_measured_peak": row.efficiency.decode_bandwidth,
        "read_bytes_per_second": row.efficiency.read_bytes_per_second,
        "prefill_flops_of_measured_peak": row.efficiency.prefill_flops,
        "prefill_flops_of_sustained_peak": row.efficiency.prefill_sustained_flops,
        "mbu": row.efficiency.mbu,
        "mfu": row.efficiency.mfu,
        "joules_per_token": row.efficiency.joules_per_token,
        "joules_per_prompt_token": row.efficiency.joules_per_prompt_token,
        "total_joules_per_token": row.efficiency.total_joules_per_token,
        "power_watts": row.efficiency.power_watts,
        "lowest_sm_clock_mhz": row.efficiency.lowest_sm_clock_mhz,
    })
}

fn summary(summary: &Summary) -> Value {
    json!({
        "count": summary.count,
        "mean": summary.mean,
        "deviation": summary.deviation,
        "least": summary.least,
        "median": summary.median,
        "p90": summary.p90,
        "p95": summary.p95,
        "p99": summary.p99,
        "largest": summary.largest,
    })
}
