//! A comparison for programs: seconds and bytes, and everything that is known of them.

use protocol::CellSize;
use results::Metric;
use serde_json::{Value, json};

use crate::format;
use crate::{ComparedFigure, ComparedTable, Counts, Difference, EndLine, Report, Section, SideFigure};

/// The version of this format: a reader that knows it finds every key that it knew.
pub const SCHEMA: u32 = 1;

/// One object.
pub fn write(report: &Report) -> String {
    let value = json!({
        "schema": SCHEMA,
        "baseline": report.baseline,
        "candidate": report.candidate,
        "counts": counts(&report.counts()),
        "differences": array(&report.differences, difference),
        "notes": report.notes,
        "tables": array(&report.tables, table),
    });
    results::escaped_json(&format!("{value:#}\n"))
}

fn array<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    items.iter().map(value).collect()
}

fn counts(counts: &Counts) -> Value {
    json!({
        "improved": counts.improved,
        "regressed": counts.regressed,
        "unchanged": counts.unchanged,
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
        "only_baseline": array(&table.only_baseline, cell),
        "only_candidate": array(&table.only_candidate, cell),
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
        "verdict": format::verdict(line.verdict),
        "launches_needed": line.launches_needed,
        "drift": line.drift,
    })
}

fn figure(figure: &SideFigure) -> Value {
    json!({"value": figure.value, "half_width": figure.half_width, "launches": figure.launches})
}

fn end(end: &EndLine) -> Value {
    json!({
        "engine": end.engine,
        "batch_size": end.size.batch_size,
        "prompt_length": end.size.prompt_length,
        "baseline": end.baseline,
        "candidate": end.candidate,
        "verdict": format::verdict(end.verdict),
    })
}

fn cell((engine, size): &(String, CellSize)) -> Value {
    json!({"engine": engine, "batch_size": size.batch_size, "prompt_length": size.prompt_length})
}
