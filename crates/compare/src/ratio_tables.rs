//! Ratios as tables for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use results::screen::{ScreenTable, wrapped};
use results::{escape_markdown, fidelity_words, one_line};
use serde_json::{Value, json};

use crate::precision_ratios::PrecisionRatios;
use crate::ratio::{Ratio, RowRatios};
use crate::ratios::{EngineRatios, RatioLine, Ratios};

/// A column's header, its rank on a narrow screen, and whether it has names.
type ColumnHead = (String, u8, bool);

/// A table as every format has it.
struct TableText<'a> {
    heading: &'a str,
    headers: Vec<ColumnHead>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Ratios {
    /// A markdown table for each of the subject's, and for each model with several precisions.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        for TableText { heading, headers, rows, notes } in self.texts() {
            let _ = writeln!(text, "## {}\n", escape_markdown(heading));
            let names: Vec<String> = headers.iter().map(|(name, ..)| escape_markdown(name)).collect();
            let _ = writeln!(text, "| {} |", names.join(" | "));
            let marks = headers.iter().map(|(.., is_name)| if *is_name { "---" } else { "---:" });
            let _ = writeln!(text, "| {} |", marks.collect::<Vec<_>>().join(" | "));
            for row in rows {
                let row: Vec<String> = row.iter().map(|text| escape_markdown(text)).collect();
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
            notes.iter().for_each(|note| text.push_str(&format!("\n{}\n", escape_markdown(note))));
            text.push('\n');
        }
        if let Some(scripted) = &self.scripted {
            let _ = writeln!(text, "{}.\n", escape_markdown(scripted));
        }
        text + &escape_markdown(&self.explanation()) + "\n"
    }

    /// The same tables, as wide as the screen.
    pub fn to_terminal(&self, width: Option<u16>) -> String {
        let mut text = String::new();
        for TableText { heading, headers, rows, notes } in self.texts() {
            let headers: Vec<ColumnHead> = headers
                .into_iter()
                .map(|(name, rank, is_name)| {
                    let name = name.replace("Batch Size", "batch").replace("Prompt Length", "prompt");
                    (one_line(&name), rank, is_name)
                })
                .collect();
            let columns: Vec<(&str, u8, bool)> =
                headers.iter().map(|(name, rank, is_name)| (name.as_str(), *rank, *is_name)).collect();
            let rows = rows.iter().map(|row| row.iter().map(|text| one_line(text)).collect());
            text.push_str(&wrapped("", &one_line(heading), width));
            text.push_str(&ScreenTable::new(&columns, rows.collect()).to_screen(width));
            notes.iter().for_each(|note| text.push_str(&wrapped("", &one_line(note), width)));
            text.push('\n');
        }
        if let Some(scripted) = &self.scripted {
            text.push_str(&wrapped("! ", &one_line(scripted), width));
        }
        text + &wrapped("", &one_line(&self.explanation()), width)
    }

    fn texts(&self) -> impl Iterator<Item = TableText<'_>> {
        let engines = self.tables.iter().map(|table| TableText {
            heading: &table.heading,
            headers: self.headers(format!("{} against", self.engine), false),
            rows: table.lines.iter().map(|line| line.texts(false)).collect(),
            notes: table.load_words().into_iter().collect(),
        });
        let precisions = self.precisions.iter().map(|table| TableText {
            heading: &table.heading,
            headers: self.headers(format!("{} in", self.engine), table.has_memory()),
            rows: table.lines.iter().map(|line| line.texts(table.has_memory())).collect(),
            notes: table.fidelity_words(),
        });
        engines.chain(precisions)
    }

    /// The columns. On a narrow screen the number of replicates is left out first, then TPOT.
    fn headers(&self, first: String, has_memory: bool) -> Vec<ColumnHead> {
        let number = |name: &str, rank| (name.to_owned(), rank, false);
        let sizes = [number("Batch Size", 0), number("Prompt Length", 0)];
        let latencies = [number("prefill", 0), number("decode", 0), number("TPOT", 1)];
        let memory = has_memory.then(|| number("memory", 0));
        let replicates = number(&format!("{}s", self.unit), 2);
        [(first, 0, true)]
            .into_iter()
            .chain(sizes)
            .chain(latencies)
            .chain(memory)
            .chain([replicates])
            .collect()
    }

    /// Explains the figures.
    fn explanation(&self) -> String {
        let Self { engine, unit, tables, precisions, .. } = self;
        let mut text = String::new();
        if !tables.is_empty() {
            let _ = write!(
                text,
                "Speedup of {engine}: the other engine's latency over its own, so above 1 {engine} is faster. "
            );
        }
        if let Some(first) = precisions.first() {
            let is_same = precisions.iter().all(|one| one.compared_with == first.compared_with);
            let base =
                if is_same { first.compared_with.to_string() } else { "the other precision".to_owned() };
            let _ = write!(
                text,
                "Speedup of a precision: the latency in {base} over its own, so above 1 it is faster than {base}. "
            );
            if precisions.iter().any(PrecisionRatios::has_memory) {
                let _ = write!(text, "Memory is the share of {base}'s peak memory. ");
            }
            if *unit == "turn" {
                text.push_str("Engines that take turns measure one precision after the other, so these ratios have no intervals. ");
            }
        }
        let _ = write!(
            text,
            "Ratios are taken {unit} by {unit}, from medians; 95 % intervals are in brackets. Published figures have no interval. Decode is \
             the mean of the first 256 tokens, else of the first 128, else of all. TPOT (time per output token) also includes choosing the \
             token."
        );
        text
    }

    /// One object.
    pub fn to_json(&self) -> String {
        let Self { engine, scripted, tables, precisions, .. } = self;
        let tables: Value = tables.iter().map(EngineRatios::to_json).collect();
        let precisions: Value = precisions.iter().map(PrecisionRatios::to_json).collect();
        let value =
            json!({ "engine": engine, "scripted": scripted, "tables": tables, "precisions": precisions });
        results::escaped_json(&format!("{value:#}\n"))
    }
}

impl EngineRatios {
    /// How long each engine takes to load, in words; `None` where that is not known.
    fn load_words(&self) -> Option<String> {
        let loads = self.loads.iter().map(|(engine, seconds)| format!("{engine} {seconds:.2} s"));
        let loads: Vec<String> = loads.collect();
        (!loads.is_empty())
            .then(|| format!("Median time from worker start to loaded model: {}.", loads.join(", ")))
    }

    fn to_json(&self) -> Value {
        let loads: BTreeMap<_, _> = self.loads.iter().cloned().collect();
        let lines: Value =
            self.lines.iter().map(|line| line.to_json(json!({ "other": line.name }))).collect();
        json!({ "heading": self.heading, "lines": lines, "load_seconds": loads })
    }
}

impl PrecisionRatios {
    /// Whether the peak memory is known of a cell: published tables have none.
    fn has_memory(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.ratios.memory, Ratio::Of { .. }))
    }

    fn fidelity_words(&self) -> Vec<String> {
        let words = self.fidelities.iter();
        words.map(|(precision, fidelity)| format!("{precision}: {}.", fidelity_words(fidelity))).collect()
    }

    fn to_json(&self) -> Value {
        let line = |line: &RatioLine| {
            let fidelity = match self.fidelities.get(&line.name) {
                Some(fidelity) => json!(fidelity),
                None => json!({ "none": "not compared" }),
            };
            let memory = line.ratios.memory.to_json();
            line.to_json(json!({ "precision": line.name, "memory": memory, "fidelity": fidelity }))
        };
        let lines: Value = self.lines.iter().map(line).collect();
        json!({ "heading": self.heading, "compared_with": self.compared_with.to_string(), "lines": lines })
    }
}

impl RatioLine {
    /// The name, batch size, prompt length, the ratios, and the number of replicates.
    fn texts(&self, has_memory: bool) -> Vec<String> {
        let RowRatios { prefill, decode, tpot, memory, replicates } = &self.ratios;
        let sizes = [self.size.batch_size, self.size.prompt_length].map(|size| size.to_string());
        let ratios = [prefill, decode, tpot].into_iter().chain(has_memory.then_some(memory));
        let replicates = replicates.map_or_else(|| "published".into(), |count| count.to_string());
        [self.name.clone()]
            .into_iter()
            .chain(sizes)
            .chain(ratios.map(Ratio::to_text))
            .chain([replicates])
            .collect()
    }

    /// An object of the fields in `more`, the sizes and the latency ratios.
    fn to_json(&self, mut more: Value) -> Value {
        let RowRatios { prefill, decode, tpot, replicates, .. } = &self.ratios;
        more["batch_size"] = self.size.batch_size.into();
        more["prompt_length"] = self.size.prompt_length.into();
        more["prefill"] = prefill.to_json();
        more["decode"] = decode.to_json();
        more["tpot"] = tpot.to_json();
        more["replicates"] = json!(replicates);
        more
    }
}
