//! A comparison for programs: seconds and bytes, and everything that is known of them.

use protocol::CellSize;
use results::{Exported, Exporter, Json, Metric, escaped_json};
use serde_json::{Value, json};

use crate::format;
use crate::{
    ComparedFigure, ComparedTable, Counts, Difference, EndLine, Lone, Missing, Report, Section, SideFigure,
};

/// The version of this format: a reader that knows it finds every key that it knew.
const SCHEMA: u32 = 2;

impl Exporter<Report> for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn write(&self, report: &Report) -> Exported {
        let value = json!({
            "schema": SCHEMA,
            "baseline": report.baseline,
            "candidate": report.candidate,
            "counts": counts(&report.counts()),
            "differences": array(&report.differences, difference),
            "notes": report.notes,
            "tables": array(&report.tables, table),
            "missing": array(&report.missing, missing),
        });
        escaped_json(&format!("{value:#}\n")).into()
    }
}

fn array<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    items.iter().map(value).collect()
}

fn counts(counts: &Counts) -> Value {
    json!({
        "improved": counts.improved,
        "regressed": counts.regressed,
        "unchanged": counts.unchanged,
        "provisional": counts.provisional,
        "inconclusive": counts.inconclusive,
        "total": counts.total(),
    })
}

fn difference(difference: &Difference) -> Value {
    json!({
        "what": difference.what,
        "baseline": difference.baseline,
        "candidate": difference.candidate,
    })
}

fn table(table: &ComparedTable) -> Value {
    json!({
        "baseline": table.baseline,
        "candidate": table.candidate,
        "sections": array(&table.sections, section),
        "ends": array(&table.ends, end),
        "missing": array(&table.missing, missing),
    })
}

fn section(section: &Section) -> Value {
    json!({
        "metric": section.metric.name(),
        "unit": if section.metric == Metric::Memory { "bytes" } else { "seconds" },
        "threshold": section.threshold,
        "cells": array(&section.cells, line),
        "means": array(&section.means, line),
    })
}

fn line(line: &ComparedFigure) -> Value {
    json!({
        "engine": line.engine,
        "batch_size": line.size.map(|size| size.batch_size),
        "prompt_length": line.size.map(|size| size.prompt_length),
        "baseline": figure(&line.baseline),
        "candidate": figure(&line.candidate),
        "ratio": line.ratio,
        "interval": line.interval.map(|interval| json!({"low": interval.low, "high": interval.high})),
        "adjusted_p": line.adjusted_p,
        "pairs": line.pairs,
        "verdict": format::verdict(line.verdict),
        "other_median": line.other_median.map(|other| json!({
            "mean": format::verdict(other.mean),
            "median": format::verdict(other.median),
            "median_ratio": other.median_ratio,
            "is_tail": other.is_tail,
        })),
        "replicates_needed": line.replicates_needed,
        "is_by_median": line.is_by_median,
        "is_adjusted": line.is_adjusted,
        "round": line.round,
        "own_threshold": line.own_threshold,
        "drift": line.drift,
        "is_hidden_regression": line.is_hidden_regression,
    })
}

fn figure(figure: &SideFigure) -> Value {
    json!({"value": figure.value, "replicates": figure.replicates})
}

fn end(end: &EndLine) -> Value {
    json!({
        "engine": end.engine,
        "batch_size": end.size.batch_size,
        "prompt_length": end.size.prompt_length,
        "baseline": end.baseline,
        "candidate": end.candidate,
        "adjusted_p": end.adjusted_p,
        "verdict": end.verdict.map(format::verdict),
    })
}

fn missing(missing: &Missing) -> Value {
    let only_in = if missing.is_of_baseline { "baseline" } else { "candidate" };
    let sizes = |engine: &str, size: &CellSize, metric: Option<Metric>| {
        json!({
            "only_in": only_in,
            "engine": engine,
            "batch_size": size.batch_size,
            "prompt_length": size.prompt_length,
            "metric": metric.map(Metric::name),
        })
    };
    match &missing.what {
        Lone::Table(heading) => json!({"only_in": only_in, "table": heading}),
        Lone::Cell(engine, size) => sizes(engine, size, None),
        Lone::Metric(engine, size, metric) => sizes(engine, size, Some(*metric)),
    }
}
