//! The figures of every cell that is drawn, for the box that a mark shows when it is pointed at.

use maud::{Markup, PreEscaped, html};
use results::escaped_json;
use serde_json::{Value, json};

use crate::plot::{FigureQuantity, in_unit};
use crate::scene::{Group, ListedRow, Scene};

/// The names of a cell's figures.
const FIGURES: [&str; 12] = [
    "Prompt latency (TTFT)",
    "Token latency",
    "p50, p90, p99",
    "TPOT",
    "Wall clock",
    "Decode throughput",
    "Peak memory",
    "Decode bandwidth of peak",
    "Prefill FLOP/s of peak",
    "Prefill energy per prompt token",
    "Decode energy per token",
    "Total energy per token",
];

/// An element of JSON that only the page's script reads.
pub(super) fn data(scene: &Scene<'_>, groups: &[Group<'_>]) -> Markup {
    let cells: Vec<Value> = groups
        .iter()
        .enumerate()
        .flat_map(|(table, group)| group.listed().map(move |cell| value(scene, table, &cell)))
        .collect();
    let json = escaped_json(&json!({ "names": FIGURES, "cells": cells }).to_string());
    // No text in it can end the element.
    html! { script type="application/json" id="cells" { (PreEscaped(json.replace('<', "\\u003c"))) } }
}

/// Engine's slot, batch size, prompt length, run, name, seconds a token or how it ended, the figures as text, and the group of tables.
fn value(scene: &Scene<'_>, table: usize, ListedRow { run, row, .. }: &ListedRow<'_>) -> Value {
    let key = &row.key;
    let time = |seconds| in_unit(FigureQuantity::Time, seconds);
    let name = scene.cell(key, *run);
    let (seconds, texts): (Value, Vec<String>) = match &row.figures {
        None => {
            let why = row.failure().map(|failure| results::one_line(&failure.error)).unwrap_or_default();
            let why: String = why.chars().take(200).collect();
            (json!(row.outcome_text()), vec![why])
        }
        Some(figures) => {
            let share = |share: Option<f64>| {
                share.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0))
            };
            let energy = |joules: Option<f64>| {
                joules.map_or_else(String::new, |joules| in_unit(FigureQuantity::Energy, joules))
            };
            let token = figures.token;
            let texts = vec![
                time(figures.prompt.mean),
                time(token.mean),
                [token.median, token.p90, token.p99].map(time).join(", "),
                time(figures.tpot.mean),
                time(figures.wall.mean),
                in_unit(FigureQuantity::TokenRate, f64::from(key.batch_size) / token.mean),
                row.peak_bytes()
                    .map_or_else(String::new, |bytes| in_unit(FigureQuantity::Memory, bytes as f64)),
                share(row.efficiency.decode_bandwidth),
                share(row.efficiency.prefill_flops),
                energy(row.efficiency.joules_per_prompt_token),
                energy(row.efficiency.joules_per_token),
                energy(row.efficiency.total_joules_per_token),
            ];
            (json!(token.mean), texts)
        }
    };
    json!([scene.slot(&key.engine), key.batch_size, key.prompt_length, run, name, seconds, texts, table])
}
