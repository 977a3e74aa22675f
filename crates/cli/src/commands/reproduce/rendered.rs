//! Comparisons with published tables in every format.

use anyhow::Result;
use report::reproduction::{ReproducedRow, Reproduction};
use results::{csv_of_json, plain};
use serde_json::{Value, json};

use crate::format::emphasize;
use crate::rendered::{Rendered, TextTable};

/// The columns of its csv.
const COLUMNS: &str = "\
    there here tolerance holds engine batch_size prompt_length ratios.prompt ratios.first-128 \
    ratios.first-256 ratios.wall verdict";

/// Renders the comparisons of all tables.
pub(super) fn render(reproductions: &[Reproduction]) -> Result<Rendered> {
    let tables: Value = reproductions.iter().map(to_json).collect();
    let json = results::escaped_json(&format!("{tables:#}\n"));
    Ok(Rendered {
        terminal: reproductions.iter().map(to_terminal).collect(),
        markdown: reproductions.iter().map(|one| format!("\n{}", one.to_markdown())).collect(),
        csv: csv_of_json(&json, &[&["rows"]], COLUMNS)?,
        json,
    })
}

fn to_terminal(reproduction: &Reproduction) -> String {
    let mut table =
        TextTable::new(&["engine", "batch", "prompt", "prompt", "first 128", "first 256", "wall", "verdict"]);
    for ReproducedRow { engine, size, ratios, verdict } in &reproduction.rows {
        let ratio = |ratio: &Option<f64>| ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.3}"));
        let sizes = [engine.clone(), size.batch_size.to_string(), size.prompt_length.to_string()];
        let cells = sizes.into_iter().chain(ratios.iter().map(ratio)).chain([verdict.to_string()]);
        table.rows.push(cells.collect());
    }
    let here = reproduction.here.as_ref().map(|here| format!("here: {here}\n")).unwrap_or_default();
    let notes: String = reproduction.notes.iter().map(|note| format!("- {note}\n")).collect();
    let text = format!(
        "\n{}\n{here}latencies here / there; tolerance {} %\n\n{}{notes}{}\n",
        reproduction.there,
        results::format_g10(reproduction.tolerance * 100.0),
        table.to_terminal(),
        reproduction.counts(),
    );
    emphasize(&plain(&text), &["reproduced"], &["slower", "OOM here"])
}

fn to_json(reproduction: &Reproduction) -> Value {
    let row = |ReproducedRow { engine, size, ratios, verdict }: &ReproducedRow| {
        let [prompt, first_128, first_256, wall] = ratios;
        json!({
            "engine": engine,
            "batch_size": size.batch_size,
            "prompt_length": size.prompt_length,
            "ratios": { "prompt": prompt, "first-128": first_128, "first-256": first_256, "wall": wall },
            "verdict": verdict.to_string(),
        })
    };
    json!({
        "there": reproduction.there,
        "here": reproduction.here,
        "tolerance": reproduction.tolerance,
        "holds": reproduction.holds(),
        "rows": reproduction.rows.iter().map(row).collect::<Value>(),
        "notes": reproduction.notes,
    })
}
