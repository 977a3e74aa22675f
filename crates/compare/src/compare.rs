//! From two subjects to a report: what is matched with what, judged all at once, and marked where it drifted.

use std::collections::BTreeMap;

use protocol::CellSize;
use stats::{Comparison, Side, Verdict, judge};

use crate::difference::differences;
use crate::sides::{Sides, sides, trends};
use crate::subject::{Cell, Grid, Subject};
use crate::{CellName, ComparedTable, EndLine, Figure, Line, Metric, Refused, Report, Section, Thresholds};

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
pub fn compare(baseline: &Subject, candidate: &Subject, criteria: &Criteria) -> Result<Report, Refused> {
    let differences = differences(baseline, candidate)?;
    let pairs = matched(baseline, candidate)?;
    let is_pair = baseline.pair().zip(candidate.pair());
    let is_pair =
        is_pair.is_some_and(|(its, others)| its.id == others.id && its.is_baseline != others.is_baseline);
    let mut tables: Vec<Pending> =
        pairs.iter().map(|(baseline, candidate)| pending(baseline, candidate, is_pair, criteria)).collect();
    for table in &mut tables {
        table.lack(candidate.missing > 0);
    }
    if tables.iter().all(|table| table.lines.is_empty() && table.ends.is_empty()) {
        return Err(Refused(format!("{} and {} have no cell in common", baseline.name, candidate.name)));
    }
    let grid: Vec<(Comparison, f64)> = tables
        .iter()
        .flat_map(|table| &table.lines)
        .map(|line| (Comparison::of(&line.baseline, &line.candidate), criteria.thresholds.of(line.metric)))
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
            let finished = Line {
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
        baseline: baseline.name.clone(),
        candidate: candidate.name.clone(),
        differences,
        notes: notes(baseline, candidate, &pairs, is_pair),
        tables,
    })
}

/// Tables of the same model and precision, both of it whole or both of the same rank alone.
fn matched<'a>(baseline: &'a Subject, candidate: &'a Subject) -> Result<Vec<(&'a Grid, &'a Grid)>, Refused> {
    let mut free: Vec<&Grid> = candidate.grids.iter().collect();
    let mut pairs = Vec::new();
    for grid in &baseline.grids {
        let same = |other: &&Grid| other.identity == grid.identity;
        let place = free.iter().position(|other| same(other) && other.heading == grid.heading);
        if let Some(place) = place.or_else(|| free.iter().position(same)) {
            pairs.push((grid, free.remove(place)));
        }
    }
    if !pairs.is_empty() {
        return Ok(pairs);
    }
    let headings = |subject: &Subject| {
        let headings: Vec<&str> = subject.grids.iter().map(|grid| grid.heading.as_str()).collect();
        if headings.is_empty() { "nothing".into() } else { headings.join(", ") }
    };
    let ranks_differ = baseline
        .grids
        .iter()
        .any(|grid| candidate.grids.iter().any(|other| grid.identity.is_of_other_ranks(&other.identity)));
    if ranks_differ {
        return Err(Refused(format!(
            "can't compare {} with {}: one side is rank 0 only, the other is a whole model or another number of ranks: {} and {}",
            baseline.name,
            candidate.name,
            headings(baseline),
            headings(candidate)
        )));
    }
    Err(Refused(format!(
        "{} and {} have no model and precision in common: {} and {}",
        baseline.name,
        candidate.name,
        headings(baseline),
        headings(candidate)
    )))
}

struct Pending {
    headings: (String, String),
    lines: Vec<PendingLine>,
    ends: Vec<EndLine>,
    only_baseline: Vec<CellName>,
    only_candidate: Vec<CellName>,
}

struct PendingLine {
    metric: Metric,
    engine: String,
    size: Option<CellSize>,
    baseline: Side,
    candidate: Side,
    drift: Vec<String>,
}

impl Pending {
    /// Cells that an incomplete candidate lacks may still come.
    fn lack(&mut self, is_incomplete: bool) {
        if !is_incomplete {
            return;
        }
        let lacking = std::mem::take(&mut self.only_baseline).into_iter().map(|cell| EndLine {
            cell,
            baseline: "ok".into(),
            candidate: "missing".into(),
            verdict: Verdict::Inconclusive,
        });
        self.ends.extend(lacking);
    }
}

fn pending(baseline: &Grid, candidate: &Grid, is_pair: bool, criteria: &Criteria) -> Pending {
    let thresholds = &criteria.thresholds;
    // To look for changes in every token series is what takes time here.
    let (of_baseline, of_candidate) = std::thread::scope(|scope| {
        let other = scope.spawn(|| sides(candidate, thresholds));
        (sides(baseline, thresholds), other.join().expect("no panic"))
    });
    let of_candidate: BTreeMap<(&str, u32, u32), &Sides> =
        candidate.cells.iter().map(|(name, _)| key(name)).zip(&of_candidate).collect();
    let mut table = Pending {
        headings: (baseline.heading.clone(), candidate.heading.clone()),
        lines: Vec::new(),
        ends: Vec::new(),
        only_baseline: Vec::new(),
        only_candidate: Vec::new(),
    };
    for ((name, cell), its) in baseline.cells.iter().zip(&of_baseline) {
        let Some(other) = candidate.get(name) else {
            table.only_baseline.push(name.clone());
            continue;
        };
        if let Some(end) = end_line(name, cell, other) {
            table.ends.push(end);
            continue;
        }
        let interleaved = is_pair && cell.replicates() == other.replicates();
        let others = of_candidate[&key(name)];
        for (metric, side) in &its.of {
            let Some(other) = others.of.get(metric) else { continue };
            let mut drift = trends(side, other, interleaved, thresholds.of(*metric));
            for (who, sides) in [("baseline", its), ("candidate", others)] {
                let inside = sides.drift.get(metric).into_iter().flatten();
                drift.extend(inside.map(|what| format!("{who}: {what}")));
            }
            table.lines.push(PendingLine {
                metric: *metric,
                engine: name.engine.clone(),
                size: Some(name.size),
                baseline: side.clone(),
                candidate: other.clone(),
                drift,
            });
        }
    }
    let lone = candidate.cells.iter().map(|(name, _)| name).filter(|name| baseline.get(name).is_none());
    table.only_candidate.extend(lone.cloned());
    add_means(&mut table, is_pair, thresholds);
    table
}

fn key(name: &CellName) -> (&str, u32, u32) {
    (&name.engine, name.size.batch_size, name.size.prompt_length)
}

/// The geometric mean of each engine's cells. Where it drifted, all of them did: it sees what no cell alone can.
fn add_means(table: &mut Pending, is_pair: bool, thresholds: &Thresholds) {
    let mut groups: Vec<((String, Metric), Vec<usize>)> = Vec::new();
    for (place, line) in table.lines.iter().enumerate() {
        match groups.iter_mut().find(|((engine, metric), _)| *engine == line.engine && *metric == line.metric)
        {
            Some((_, places)) => places.push(place),
            None => groups.push(((line.engine.clone(), line.metric), vec![place])),
        }
    }
    for ((engine, metric), places) in groups.into_iter().filter(|(_, places)| places.len() > 1) {
        let mean = |side: fn(&PendingLine) -> &Side| {
            let sides: Vec<&Side> = places.iter().map(|&place| side(&table.lines[place])).collect();
            Side::geometric_mean(&sides).expect("two cells")
        };
        let (baseline, candidate) = (mean(|line| &line.baseline), mean(|line| &line.candidate));
        let drift = trends(&baseline, &candidate, is_pair, thresholds.of(metric));
        for &place in &places {
            let all = drift.iter().map(|what| format!("all of {engine}: {what}"));
            table.lines[place].drift.extend(all);
        }
        table.lines.push(PendingLine { metric, engine, size: None, baseline, candidate, drift });
    }
}

/// Where a side was not measured.
fn end_line(name: &CellName, baseline: &Cell, candidate: &Cell) -> Option<EndLine> {
    let word = |cell: &Cell| match cell {
        Cell::Ended(word) => word.clone(),
        _ => "ok".into(),
    };
    let (baseline, candidate) = (word(baseline), word(candidate));
    let verdict = match (&*baseline, &*candidate) {
        ("ok", "ok") => return None,
        ("ok", _) => Verdict::Regressed,
        (_, "ok") => Verdict::Improved,
        ("OOM", "OOM") => Verdict::Unchanged,
        _ => Verdict::Inconclusive,
    };
    Some(EndLine { cell: name.clone(), baseline, candidate, verdict })
}

fn figure(side: &Side) -> Figure {
    let (half_width, launches) = match side {
        Side::Launches(launches) => (launches.half_width(), Some(launches.count())),
        Side::Figure(_) => (None, None),
    };
    Figure { value: side.centre(), half_width, launches }
}

fn notes(baseline: &Subject, candidate: &Subject, pairs: &[(&Grid, &Grid)], is_pair: bool) -> Vec<String> {
    let mut notes = Vec::new();
    for subject in [baseline, candidate] {
        let name = &subject.name;
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
        notes.push("measured interleaved: drift that both share is none".into());
    }
    let hash = |cell: &Cell| match cell {
        Cell::Launches(launches) => launches.first().and_then(|launch| launch.tokens_sha256.clone()),
        _ => None,
    };
    let both = pairs.iter().flat_map(|(baseline, candidate)| {
        baseline
            .cells
            .iter()
            .filter_map(|(name, cell)| Some((name, hash(cell)?, hash(candidate.get(name)?)?)))
    });
    let other: Vec<&CellName> =
        both.filter(|(_, baseline, candidate)| baseline != candidate).map(|(name, ..)| name).collect();
    if let Some(first) = other.first() {
        let CellSize { batch_size, prompt_length } = first.size;
        notes.push(format!(
            "other tokens than the baseline's in {} cells, {} {batch_size}×{prompt_length} first: rounding, or another \
             computation: `llama2-bench verify` says how far the logits are",
            other.len(),
            first.engine
        ));
    }
    notes
}
