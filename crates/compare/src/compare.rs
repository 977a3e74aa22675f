//! Compares two subjects: their tables are matched, all cells judged at once, and marked where they drifted.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use protocol::{CellSize, FailureKind};
use results::{Metric, ResultRow};
use stats::{Comparison, Side, Verdict, judge};

use crate::difference::differences;
use crate::matching::{TablePair, matched};
use crate::sides::{sides, trends};
use crate::subject::{Subject, launches};
use crate::{ComparedFigure, ComparedTable, EndLine, Refused, Report, Section, SideFigure, Thresholds};

/// How to judge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criteria {
    /// The changes that count as none.
    pub thresholds: Thresholds,
    /// Let a cell that drifted have a verdict all the same.
    pub allow_drift: bool,
}

/// Holds `candidate` against `baseline`.
///
/// # Errors
/// Where they have no cell in common, or model or procedure differ.
pub fn compare(
    baseline: &Subject<'_>,
    candidate: &Subject<'_>,
    criteria: &Criteria,
) -> Result<Report, Refused> {
    let differences = differences(baseline, candidate)?;
    let pairs = matched(baseline, candidate)?;
    let is_pair = baseline.pair().zip(candidate.pair());
    let is_pair =
        is_pair.is_some_and(|(one, other)| one.id == other.id && one.is_baseline != other.is_baseline);
    let mut tables: Vec<Pending> = pairs.iter().map(|pair| pending(pair, is_pair, criteria)).collect();
    for table in &mut tables {
        table.lack(candidate.missing > 0);
    }
    if tables.iter().all(|table| table.lines.is_empty() && table.ends.is_empty()) {
        return Err(Refused(format!("{} and {} have no cell in common", baseline.name, candidate.name)));
    }
    let grid: Vec<(Comparison, f64)> = tables
        .iter()
        .flat_map(|table| &table.lines)
        .map(|line| {
            let compare = if line.is_paired { Comparison::paired } else { Comparison::of };
            (compare(&line.baseline, &line.candidate), line.threshold)
        })
        .collect();
    let mut judged = grid.iter().zip(judge(&grid));
    let tables = tables.into_iter().map(|table| {
        let lines = table.lines.into_iter().map(|line| {
            let ((comparison, _), judgement) = judged.next().expect("a judgement each");
            let is_adrift = !line.drift.is_empty() && !criteria.allow_drift;
            let moved = matches!(judgement.verdict, Verdict::Improved | Verdict::Regressed);
            let overruled = is_adrift && moved;
            let verdict = if overruled { Verdict::Inconclusive } else { judgement.verdict };
            let launches_needed = judgement.launches.filter(|_| !is_adrift);
            let finished = ComparedFigure {
                engine: line.engine,
                size: line.size,
                baseline: figure(&line.baseline),
                candidate: figure(&line.candidate),
                ratio: comparison.ratio,
                interval: comparison.interval(),
                adjusted_p: judgement.adjusted_p,
                verdict,
                launches_needed,
                drift: line.drift,
            };
            (line.metric, finished)
        });
        let mut sections: BTreeMap<Metric, Section> = BTreeMap::new();
        for (metric, line) in lines {
            let threshold = criteria.thresholds.of(metric);
            let section = sections.entry(metric).or_insert_with(|| Section {
                metric,
                threshold,
                cells: Vec::new(),
                means: Vec::new(),
            });
            if line.size.is_some() { section.cells.push(line) } else { section.means.push(line) }
        }
        ComparedTable {
            baseline: table.headings.0,
            candidate: table.headings.1,
            sections: sections.into_values().collect(),
            ends: table.ends,
            only_baseline: table.only_baseline,
            only_candidate: table.only_candidate,
        }
    });
    let tables = tables.collect();
    Ok(Report {
        baseline: baseline.name.into(),
        candidate: candidate.name.into(),
        differences,
        notes: notes(baseline, candidate, &pairs, is_pair),
        tables,
    })
}

struct Pending {
    headings: (String, String),
    lines: Vec<PendingLine>,
    ends: Vec<EndLine>,
    only_baseline: Vec<(String, CellSize)>,
    only_candidate: Vec<(String, CellSize)>,
}

struct PendingLine {
    metric: Metric,
    engine: String,
    size: Option<CellSize>,
    baseline: Side,
    candidate: Side,
    /// Launches of the same place are neighbours in time.
    is_paired: bool,
    drift: Vec<String>,
    /// The change that counts as none.
    threshold: f64,
}

impl Pending {
    /// Cells that an incomplete candidate lacks may still come.
    fn lack(&mut self, is_incomplete: bool) {
        if !is_incomplete {
            return;
        }
        let lacking = std::mem::take(&mut self.only_baseline).into_iter().map(|(engine, size)| EndLine {
            engine,
            size,
            baseline: "ok",
            candidate: "missing",
            verdict: Verdict::Inconclusive,
        });
        self.ends.extend(lacking);
    }
}

fn pending((baseline, candidate): &TablePair<'_>, is_pair: bool, criteria: &Criteria) -> Pending {
    let thresholds = &criteria.thresholds;
    // To look for changes in every token series is what takes time here.
    let (baseline_cells, candidate_cells) = std::thread::scope(|scope| {
        let other = scope.spawn(|| sides(candidate, thresholds));
        (sides(baseline, thresholds), other.join().expect("no panic"))
    });
    let lone = candidate_cells.keys().filter(|cell| !baseline_cells.contains_key(*cell));
    let mut table = Pending {
        headings: (baseline.title.to_string(), candidate.title.to_string()),
        lines: Vec::new(),
        ends: Vec::new(),
        only_baseline: Vec::new(),
        only_candidate: lone.map(|(engine, size)| ((*engine).into(), *size)).collect(),
    };
    let replicates = |row| launches(row).iter().map(|record| record.replicate).collect::<Vec<_>>();
    for (cell @ (engine, size), sides) in &baseline_cells {
        let engine = (*engine).to_owned();
        let Some(other) = candidate_cells.get(cell) else {
            table.only_baseline.push((engine, *size));
            continue;
        };
        let kinds = [sides.row.ended(), other.row.ended()];
        if let Some(verdict) = end_verdict(kinds) {
            let [baseline, candidate] = kinds.map(|kind| kind.map_or("ok", FailureKind::table_word));
            table.ends.push(EndLine { engine, size: *size, baseline, candidate, verdict });
            continue;
        }
        let is_paired = is_pair && replicates(sides.row) == replicates(other.row);
        for (metric, side) in &sides.by_metric {
            let Some(other_side) = other.by_metric.get(metric) else { continue };
            let threshold = thresholds.at(*metric, side.centre());
            let mut drift = trends(side, other_side, is_paired, threshold);
            for (who, sides) in [("baseline", sides), ("candidate", other)] {
                let inside = sides.drift.get(metric).into_iter().flatten();
                drift.extend(inside.map(|what| format!("{who}: {what}")));
            }
            table.lines.push(PendingLine {
                metric: *metric,
                engine: engine.clone(),
                size: Some(*size),
                baseline: side.clone(),
                candidate: other_side.clone(),
                is_paired,
                drift,
                threshold,
            });
        }
    }
    add_means(&mut table);
    table
}

/// The geometric mean of each engine's cells. Where it drifted, all of them did: it sees what no cell alone can.
fn add_means(table: &mut Pending) {
    let mut groups: IndexMap<(String, Metric), Vec<usize>> = IndexMap::new();
    for (place, line) in table.lines.iter().enumerate() {
        groups.entry((line.engine.clone(), line.metric)).or_default().push(place);
    }
    for ((engine, metric), places) in groups.into_iter().filter(|(_, places)| places.len() > 1) {
        let mean = |side: fn(&PendingLine) -> &Side| {
            let sides: Vec<&Side> = places.iter().map(|&place| side(&table.lines[place])).collect();
            Side::geometric_mean(&sides).expect("two cells")
        };
        let (baseline, candidate) = (mean(|line| &line.baseline), mean(|line| &line.candidate));
        let is_paired = places.iter().all(|&place| table.lines[place].is_paired);
        let thresholds: f64 = places.iter().map(|&place| table.lines[place].threshold.ln_1p()).sum();
        let threshold = (thresholds / places.len() as f64).exp_m1();
        let drift = trends(&baseline, &candidate, is_paired, threshold);
        for &place in &places {
            let all = drift.iter().map(|what| format!("all of {engine}: {what}"));
            table.lines[place].drift.extend(all);
        }
        let size = None;
        table.lines.push(PendingLine {
            metric,
            engine,
            size,
            baseline,
            candidate,
            is_paired,
            drift,
            threshold,
        });
    }
}

/// The verdict on a cell by how either side ended; `None` where both were measured.
fn end_verdict(kinds: [Option<FailureKind>; 2]) -> Option<Verdict> {
    match kinds {
        [None, None] => None,
        [None, Some(_)] => Some(Verdict::Regressed),
        [Some(_), None] => Some(Verdict::Improved),
        [Some(FailureKind::OutOfMemory), Some(FailureKind::OutOfMemory)] => Some(Verdict::Unchanged),
        _ => Some(Verdict::Inconclusive),
    }
}

fn figure(side: &Side) -> SideFigure {
    let (half_width, launches) = match side {
        Side::Launches(launches) => (launches.half_width(), Some(launches.count())),
        Side::Figure(_) => (None, None),
    };
    SideFigure { value: side.centre(), half_width, launches }
}

fn notes(
    baseline: &Subject<'_>,
    candidate: &Subject<'_>,
    pairs: &[TablePair<'_>],
    is_pair: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    for subject in [baseline, candidate] {
        let name = subject.name;
        if subject.run.is_none() {
            notes.push(format!(
                "{name}: published figures have no spread, and their procedure is not known: the threshold alone decides"
            ));
        }
        if subject.missing > 0 {
            let missing = subject.missing;
            notes.push(format!(
                "{name}: lacks {missing} of its records: `llama2-bench run --resume` measures them"
            ));
        }
    }
    if is_pair {
        notes.push(
            "measured interleaved: launches are compared in pairs, and drift that both share is none".into(),
        );
        if baseline.is_of_turns() && candidate.is_of_turns() {
            notes.push(
                "turns of one worker a side: what differs from worker to worker is in the ratios, not in their intervals: \
                 `--isolation engine` starts a fresh worker for each replicate"
                    .into(),
            );
        }
    }
    let other: Vec<(&str, CellSize)> = pairs.iter().flat_map(with_other_tokens).collect();
    if let Some((engine, size)) = other.first() {
        notes.push(format!(
            "other tokens than the baseline's in {} cells, {engine} {size} first: rounding, or another computation: \
             `llama2-bench verify` says how far the logits are",
            other.len()
        ));
    }
    notes
}

/// The cells whose greedy tokens are not the baseline's.
fn with_other_tokens<'t>((baseline, candidate): &TablePair<'t>) -> Vec<(&'t str, CellSize)> {
    let hash = |row: &ResultRow<'t>| launches(row).first()?.series().map(|series| &series.tokens_sha256);
    let candidate = candidate.cells();
    let differs = |(cell, row): (_, &ResultRow<'t>)| {
        let hashes = [hash(row)?, hash(candidate.get(&cell)?)?];
        let is_known = hashes.iter().all(|hash| !hash.is_empty());
        (is_known && hashes[0] != hashes[1]).then_some(cell)
    };
    baseline.cells().into_iter().filter_map(differs).collect()
}
