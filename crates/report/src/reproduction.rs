//! A published table compared with the same rows measured here: the ratio of each latency, and a verdict.

use std::fmt;
use std::fmt::Write as _;

use indexmap::IndexMap;
use protocol::{CellSize, FailureKind};
use results::{Column, ResultRow, ResultTable, escape_markdown, format_g10};

/// The verdict on a row measured here, compared with the published one.
#[derive(Debug, Clone, PartialEq)]
pub enum ReproductionVerdict {
    /// Every latency is within the tolerance, or both ran out of memory.
    Reproduced,
    /// Outside the tolerance, and only to the better.
    Faster,
    /// Outside the tolerance, and only to the worse.
    Slower,
    /// Some latencies are better, some worse.
    Mixed,
    /// Out of memory here alone.
    OomHere,
    /// Out of memory there alone.
    OomThere,
    /// The published row can't be true.
    ImpossibleThere,
    /// It ended otherwise here.
    Ended(&'static str),
    /// Measured, but not comparable, and why.
    NotComparable(String),
    /// Not measured, and why.
    NotRun(String),
}

impl fmt::Display for ReproductionVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reproduced => f.write_str("reproduced"),
            Self::Faster => f.write_str("faster"),
            Self::Slower => f.write_str("slower"),
            Self::Mixed => f.write_str("faster and slower"),
            Self::OomHere => f.write_str("OOM here"),
            Self::OomThere => f.write_str("OOM there"),
            Self::ImpossibleThere => f.write_str("impossible there"),
            Self::Ended(how) => write!(f, "{how} here"),
            Self::NotComparable(why) => write!(f, "not comparable: {why}"),
            Self::NotRun(why) => write!(f, "not run: {why}"),
        }
    }
}

/// Facts about a published row that are known before it is compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Known {
    /// Why it can't run here.
    pub not_run: Option<String>,
    /// Its figures can't be true.
    pub impossible: bool,
}

/// A row of the comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct ReproducedRow {
    /// The engine.
    pub engine: String,
    /// Batch size and prompt length.
    pub size: CellSize,
    /// Latency here over latency there: prompt, first 128, first 256, wall clock.
    pub ratios: [Option<f64>; 4],
    /// The verdict.
    pub verdict: ReproductionVerdict,
}

/// A published table, row by row beside what was measured here.
#[derive(Debug, Clone, PartialEq)]
pub struct Reproduction {
    /// The published heading.
    pub there: String,
    /// The heading of the run here, where there is one.
    pub here: Option<String>,
    /// The relative difference that counts as none.
    pub tolerance: f64,
    /// The rows, in the published order.
    pub rows: Vec<ReproducedRow>,
    /// The notes, one line each.
    pub notes: Vec<String>,
}

impl Reproduction {
    /// Compares `here` with the rows of `there` that `known` knows; the others are left out. `other_kind` says why ratios
    /// between the two give no verdict: another device, precision or model.
    pub fn new(
        there: &ResultTable<'_>,
        here: Option<&ResultTable<'_>>,
        tolerance: f64,
        other_kind: Option<&str>,
        known: impl Fn(&ResultRow<'_>) -> Option<Known>,
    ) -> Self {
        let cells = here.map(ResultTable::cells).unwrap_or_default();
        let rows = there.rows.iter().filter_map(|row| {
            let known = known(row)?;
            let mine = cells.get(&(row.engine, row.size)).copied();
            let ratios = mine.map_or([None; 4], |mine| ratios(row, mine));
            Some(ReproducedRow {
                engine: row.engine.to_owned(),
                size: row.size,
                ratios,
                verdict: verdict(row, mine, &ratios, tolerance, other_kind, known),
            })
        });
        Self {
            there: there.title.to_string(),
            here: here.map(|table| table.title.to_string()),
            tolerance,
            rows: rows.collect(),
            notes: Vec::new(),
        }
    }

    /// Whether every row that was compared is reproduced; `None` where none could be compared.
    pub fn holds(&self) -> Option<bool> {
        let compared = self.rows.iter().filter(|row| {
            !matches!(row.verdict, ReproductionVerdict::NotComparable(_) | ReproductionVerdict::NotRun(_))
        });
        let verdicts: Vec<bool> =
            compared.map(|row| row.verdict == ReproductionVerdict::Reproduced).collect();
        (!verdicts.is_empty()).then(|| verdicts.iter().all(|&holds| holds))
    }

    /// Writes markdown: ratios and verdicts, then the count of each verdict.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("## {}: here / there\n\n", escape_markdown(&self.there));
        if let Some(here) = &self.here {
            let _ = writeln!(text, "Here: {}\n", escape_markdown(here));
        }
        text.push_str(
            "| Engine | Batch Size | Prompt Length | Prompt Latency | First 128 Tokens | First 256 Tokens | Wall-Clock Latency | Verdict |\n\
             |---|--:|--:|--:|--:|--:|--:|---|\n",
        );
        for row in &self.rows {
            let ratio =
                |ratio: &Option<f64>| ratio.map_or_else(|| "N/A".into(), |ratio| format!("{ratio:.3}"));
            let ratios: Vec<String> = row.ratios.iter().map(ratio).collect();
            let (engine, verdict) = (escape_markdown(&row.engine), escape_markdown(&row.verdict.to_string()));
            let CellSize { batch_size, prompt_length } = row.size;
            let _ = writeln!(
                text,
                "| {engine} | {batch_size} | {prompt_length} | {} | {verdict} |",
                ratios.join(" | ")
            );
        }
        let _ = writeln!(text, "\n- tolerance {} %: {}", format_g10(self.tolerance * 100.0), self.counts());
        for note in &self.notes {
            let _ = writeln!(text, "- {}", escape_markdown(note));
        }
        text
    }

    /// `3 reproduced, 1 slower`.
    pub fn counts(&self) -> String {
        let mut counts: IndexMap<String, usize> = IndexMap::new();
        for row in &self.rows {
            let verdict = row.verdict.to_string();
            let word = verdict.split_once(':').map_or(verdict.as_str(), |(word, _)| word);
            *counts.entry(word.to_owned()).or_default() += 1;
        }
        let words: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        words.join(", ")
    }
}

/// Latency here over latency there, where both have one.
fn ratios(there: &ResultRow<'_>, here: &ResultRow<'_>) -> [Option<f64>; 4] {
    Column::LATENCIES.map(|column| {
        let ratio = here.figure(column)?.value / there.figure(column)?.value;
        Some(ratio).filter(|ratio| ratio.is_finite())
    })
}

fn verdict(
    there: &ResultRow<'_>,
    here: Option<&ResultRow<'_>>,
    ratios: &[Option<f64>; 4],
    tolerance: f64,
    other_kind: Option<&str>,
    known: Known,
) -> ReproductionVerdict {
    let Some(here) = here else {
        return ReproductionVerdict::NotRun(known.not_run.unwrap_or_else(|| "no record of it".into()));
    };
    let oom_there = there.ended() == Some(FailureKind::OutOfMemory);
    let is_oom_here = here.ended() == Some(FailureKind::OutOfMemory);
    match here.ended() {
        None if known.impossible => return ReproductionVerdict::ImpossibleThere,
        Some(kind) if !is_oom_here => return ReproductionVerdict::Ended(kind.table_word()),
        _ => {}
    }
    // Another device has other memory.
    if let (Some(why), true) = (other_kind, oom_there || is_oom_here) {
        let sides = match (is_oom_here, oom_there) {
            (true, true) => "OOM here and there",
            (true, false) => "OOM here",
            (false, _) => "OOM there",
        };
        return ReproductionVerdict::NotComparable(format!("{why}, {sides}"));
    }
    match (is_oom_here, oom_there) {
        (true, true) => return ReproductionVerdict::Reproduced,
        (true, false) => return ReproductionVerdict::OomHere,
        (false, true) => return ReproductionVerdict::OomThere,
        (false, false) => {}
    }
    let known: Vec<f64> = ratios.iter().flatten().copied().collect();
    if known.is_empty() {
        return ReproductionVerdict::NotComparable("no latency on both sides".into());
    }
    if let Some(why) = other_kind {
        return ReproductionVerdict::NotComparable(why.into());
    }
    let faster = known.iter().any(|&ratio| ratio < 1.0 / (1.0 + tolerance));
    let slower = known.iter().any(|&ratio| ratio > 1.0 + tolerance);
    match (faster, slower) {
        (false, false) => ReproductionVerdict::Reproduced,
        (true, false) => ReproductionVerdict::Faster,
        (false, true) => ReproductionVerdict::Slower,
        (true, true) => ReproductionVerdict::Mixed,
    }
}
