//! Compares two subjects: their tables are matched, all lines judged at once.

use std::collections::{BTreeMap, HashSet};

use protocol::CellSize;
use results::Metric;
use stats::{Estimate, Judgement, Line, Verdict, judge};

use crate::difference::differences;
use crate::ends::{EndVerdict, Ends};
use crate::format::first_few;
use crate::lines::{ASSUMED_RUN_SPREAD, Design, PendingLine, TestedLine, add_means, of_cell, tested};
use crate::notes::notes;
use crate::partners::{TablePair, matched};
use crate::sides::{Side, printed_sides, sides};
use crate::subject::Subject;
use crate::{
    ComparedFigure, ComparedTable, Criteria, EndLine, Lone, Missing, OtherMedian, Refused, Report, Section,
    SideFigure, Thresholds,
};

/// Compares `candidate` with `baseline`.
///
/// # Errors
/// Where they have no cell in common, or model or procedure differ.
pub fn compare(
    baseline: &Subject<'_>,
    candidate: &Subject<'_>,
    criteria: &Criteria<'_>,
) -> Result<Report, Refused> {
    let differences = differences(baseline, candidate)?;
    let (pairs, missing) = matched(baseline, candidate)?;
    let design = design(baseline, candidate);
    let may_come = candidate.missing > 0;
    let mut seen = HashSet::new();
    let mut tables: Vec<Pending> =
        pairs.iter().map(|pair| Pending::new(pair, design, may_come, criteria, &mut seen)).collect();
    if tables.iter().all(|table| table.lines.is_empty() && table.ends.is_empty()) {
        return Err(nothing_in_common(baseline, candidate));
    }
    let lines: Vec<TestedLine> =
        tables.iter_mut().flat_map(|table| std::mem::take(&mut table.tested)).collect();
    let end_ps: Vec<f64> =
        tables.iter().flat_map(|table| &table.ends).filter_map(|end| end.verdict.p()).collect();
    let judged = Judged::new(&lines, &end_ps, criteria.level_share);
    let runs = criteria.spread.map(|spread| (spread, lines.iter().any(|line| line.knows_runs)));
    let notes = notes(baseline, candidate, &pairs, design, runs);
    let (mut judgements, mut end_ps) = (lines.iter().zip(judged.lines), judged.ends.into_iter());
    let tables = tables.into_iter().map(|table| {
        let mut sections: BTreeMap<Metric, Section> = BTreeMap::new();
        for line in table.lines {
            let judgement = judgements.next().expect("a judgement each");
            let threshold = criteria.thresholds.threshold_for(line.metric);
            let section = sections.entry(line.metric).or_insert_with(|| Section {
                metric: line.metric,
                threshold,
                cells: Vec::new(),
                means: Vec::new(),
            });
            let is_mean = line.size.is_none();
            let finished = finished(line, judgement, design, criteria);
            if is_mean { section.means.push(finished) } else { section.cells.push(finished) }
        }
        let ends = table.ends.into_iter().map(|end| {
            let adjusted_p = end.verdict.p().and_then(|_| end_ps.next());
            let [baseline, candidate] = end.words;
            EndLine {
                engine: end.engine,
                size: end.size,
                baseline,
                candidate,
                adjusted_p,
                verdict: end.verdict.verdict(adjusted_p),
            }
        });
        ComparedTable {
            baseline: table.headings.0,
            candidate: table.headings.1,
            sections: sections.into_values().collect(),
            ends: ends.collect(),
            missing: table.missing,
        }
    });
    let tables = tables.collect();
    Ok(Report {
        baseline: baseline.label(),
        candidate: candidate.label(),
        differences,
        notes,
        tables,
        missing,
        missing_counts: !criteria.allow_missing,
    })
}

/// The estimates of two sides of one build, line by line, with whether it is an engine's mean: what is different about them is noise.
///
/// # Errors
/// Compares as [`compare`] does.
pub(crate) fn estimates(
    baseline: &Subject<'_>,
    candidate: &Subject<'_>,
) -> Result<Vec<(Metric, bool, Estimate)>, Refused> {
    differences(baseline, candidate)?;
    let (pairs, _) = matched(baseline, candidate)?;
    let (design, criteria) = (design(baseline, candidate), Criteria::new(Thresholds::default()));
    let mut seen = HashSet::new();
    let tables = pairs.iter().map(|pair| Pending::new(pair, design, false, &criteria, &mut seen));
    let lines = tables.flat_map(|table| table.lines.into_iter().zip(table.tested));
    Ok(lines
        .filter_map(|(line, tested)| Some((line.metric, line.size.is_none(), tested.line.mean?)))
        .collect())
}

/// A figure that was compared in an earlier table: heading, engine, size and metric.
type SeenFigure = (String, String, CellSize, Metric);

fn nothing_in_common(baseline: &Subject<'_>, candidate: &Subject<'_>) -> Refused {
    let [one, other] = [baseline, candidate].map(|subject| {
        let engines: Vec<String> = subject.engines().into_iter().map(results::one_line).collect();
        format!("{} has {}", subject.name, first_few(&engines))
    });
    let mut what = format!("{} and {} have no cell in common", baseline.name, candidate.name);
    if baseline.engines().is_disjoint(&candidate.engines()) {
        what += &format!(": engines are paired by name, and {one}, {other}");
        if baseline.run.is_none() || candidate.run.is_none() {
            what += ": rename a tool's engine with --engine NAME";
        }
    }
    Refused(what)
}

fn design(baseline: &Subject<'_>, candidate: &Subject<'_>) -> Design {
    match (baseline.pair(), candidate.pair()) {
        _ if baseline.run.is_none() || candidate.run.is_none() => Design::Printed,
        // Engines that take turns have ended with one precision before they begin with the next.
        _ if baseline.differs_in_precision_from(candidate)
            && (baseline.is_of_turns() || candidate.is_of_turns()) =>
        {
            Design::Separate
        }
        _ if baseline.differs_in_precision_from(candidate) && baseline.is_same_run_as(candidate) => {
            Design::Paired
        }
        (Some(one), Some(other)) if one.id == other.id && one.is_baseline != other.is_baseline => {
            Design::Paired
        }
        _ => Design::Separate,
    }
}

struct Pending {
    headings: (String, String),
    lines: Vec<PendingLine>,
    /// What is tested of each of them.
    tested: Vec<TestedLine>,
    ends: Vec<PendingEnd>,
    missing: Vec<Missing>,
}

struct PendingEnd {
    engine: String,
    size: CellSize,
    words: [String; 2],
    verdict: EndVerdict,
}

impl Pending {
    fn new(
        (baseline, candidate): &TablePair<'_>,
        design: Design,
        may_come: bool,
        criteria: &Criteria<'_>,
        seen: &mut HashSet<SeenFigure>,
    ) -> Self {
        let (mut baseline_cells, mut candidate_cells) = match design {
            Design::Printed => (printed_sides(baseline, candidate), printed_sides(candidate, baseline)),
            // To look for changes in every token series is what takes time here.
            Design::Paired | Design::Separate => std::thread::scope(|scope| {
                let other = scope.spawn(|| sides(candidate, &criteria.thresholds));
                (sides(baseline, &criteria.thresholds), other.join().expect("no panic"))
            }),
        };
        // Tables of generations of several lengths have the same prompts and first tokens: once is enough.
        for ((engine, size), one) in &mut baseline_cells {
            let Some(other) = candidate_cells.get_mut(&(*engine, *size)) else { continue };
            for metric in [Metric::Prompt, Metric::First128, Metric::First256] {
                let is_in_both = one.by_metric.contains_key(&metric) && other.by_metric.contains_key(&metric);
                let figure = (baseline.title.to_string(), (*engine).to_owned(), *size, metric);
                if design == Design::Printed && is_in_both && !seen.insert(figure) {
                    one.by_metric.remove(&metric);
                    other.by_metric.remove(&metric);
                }
            }
        }
        let (mut lines, mut ends, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        let mut lone = |is_of_baseline, what| {
            missing.push(Missing { is_of_baseline, what, may_come: is_of_baseline && may_come });
        };
        for ((engine, size), one) in &baseline_cells {
            let Some(other) = candidate_cells.get(&(*engine, *size)) else {
                lone(true, Lone::Cell((*engine).into(), *size));
                continue;
            };
            let both = [one, other];
            let [baseline_ends, candidate_ends] = both.map(|sides| Ends::new(sides.row));
            if let Some(verdict) = EndVerdict::new(&baseline_ends, &candidate_ends) {
                let words = [baseline_ends, candidate_ends].map(|ends| ends.words());
                ends.push(PendingEnd { engine: (*engine).into(), size: *size, words, verdict });
            }
            if both.iter().all(|sides| sides.ended().is_none()) {
                for (is_of_baseline, sides, partner) in [(true, one, other), (false, other, one)] {
                    let alone =
                        sides.by_metric.keys().filter(|metric| !partner.by_metric.contains_key(metric));
                    alone.for_each(|metric| {
                        lone(is_of_baseline, Lone::Metric((*engine).into(), *size, *metric));
                    });
                }
            }
            lines.extend(of_cell((engine, *size), both, design, criteria));
        }
        for (engine, size) in candidate_cells.keys().filter(|cell| !baseline_cells.contains_key(*cell)) {
            lone(false, Lone::Cell((*engine).into(), *size));
        }
        add_means(&mut lines, design);
        Self {
            headings: (baseline.title.to_string(), candidate.title.to_string()),
            tested: tested(&lines, &baseline.title, design, criteria),
            lines,
            ends,
            missing,
        }
    }
}

/// The judgements of all lines, and the adjusted p-values of failures.
struct Judged {
    lines: Vec<Judgement>,
    ends: Vec<f64>,
}

impl Judged {
    /// Judges all lines. Where no history says how far two separate runs differ, a change counts that is one even if they differ by
    /// [`ASSUMED_RUN_SPREAD`]; one that is a change of these two runs alone is provisional.
    fn new(lines: &[TestedLine], end_ps: &[f64], share: f64) -> Self {
        let as_measured: Vec<Line> = lines.iter().map(|tested| tested.line.clone()).collect();
        let (judged, ends) = judge(&as_measured, end_ps, share);
        if lines.iter().all(|tested| tested.knows_runs) {
            return Self { lines: judged, ends };
        }
        let assumed = |estimate: &Estimate| {
            estimate.clone().with_run_spread(ASSUMED_RUN_SPREAD.powi(2), f64::INFINITY, false)
        };
        let apart = |TestedLine { line, knows_runs, .. }: &TestedLine| Line {
            mean: line.mean.as_ref().map(|mean| if *knows_runs { mean.clone() } else { assumed(mean) }),
            median: line
                .median
                .as_ref()
                .map(|median| if *knows_runs { median.clone() } else { assumed(median) }),
            ..*line
        };
        let (strict, _) = judge(&lines.iter().map(apart).collect::<Vec<_>>(), end_ps, share);
        let both = judged.into_iter().zip(strict).zip(lines);
        let lines = both.map(|((loose, strict), tested)| match loose.verdict {
            _ if tested.knows_runs || strict.verdict.is_change() => strict,
            Verdict::Improved | Verdict::Regressed => Judgement { verdict: Verdict::Provisional, ..loose },
            _ => Judgement { is_hidden_regression: strict.is_hidden_regression, ..loose },
        });
        Self { lines: lines.collect(), ends }
    }
}

fn finished(
    line: PendingLine,
    (TestedLine { line: tested, knows_runs, is_adjusted }, judgement): (&TestedLine, Judgement),
    design: Design,
    criteria: &Criteria<'_>,
) -> ComparedFigure {
    let [baseline, candidate] = [&line.baseline, &line.candidate].map(|side| SideFigure {
        value: side.centre(),
        replicates: match side {
            Side::Measured { means, .. } => Some(means.count()),
            Side::Printed { .. } => None,
        },
    });
    let mean = tested.mean.as_ref();
    // Of a published table, nobody knows the procedure.
    let is_bare = design == Design::Printed && !criteria.thresholds.is_chosen(line.metric);
    let verdict = match judgement.verdict {
        Verdict::Improved | Verdict::Regressed if is_bare => Verdict::Provisional,
        verdict => verdict,
    };
    let share = criteria.thresholds.threshold_for(line.metric);
    // What of a provisional line is a change is one of these replicates alone.
    let word = |of_statistic: Verdict| match of_statistic {
        moved if moved.is_change() && verdict == Verdict::Provisional => Verdict::Provisional,
        other => other,
    };
    let is_moved = judgement.mean.is_change() || judgement.median.is_some_and(Verdict::is_change);
    let other_median = judgement.median.zip(tested.median.as_ref());
    let other_median = other_median.filter(|(median, _)| is_moved && *median != judgement.mean);
    ComparedFigure {
        size: line.size,
        baseline,
        candidate,
        ratio: match mean {
            Some(mean) if design != Design::Printed => mean.ratio(),
            _ => candidate.value / baseline.value,
        },
        interval: mean.filter(|_| *knows_runs).map(|mean| mean.interval(0.05)),
        adjusted_p: judgement.adjusted_p,
        pairs: mean.filter(|_| design == Design::Paired).and_then(Estimate::replicates),
        verdict,
        other_median: other_median.map(|(median, estimate)| {
            let apart = mean.map_or(0.0, |mean| (mean.ratio() / estimate.ratio()).ln().abs());
            let is_tail = apart > line.threshold.ln_1p();
            OtherMedian {
                mean: word(judgement.mean),
                median: word(median),
                median_ratio: estimate.ratio(),
                is_tail,
            }
        }),
        replicates_needed: judgement.replicates_needed.filter(|_| design != Design::Printed),
        drift: line.drift(),
        // A printed figure has no drift.
        is_hidden_regression: judgement.is_hidden_regression && design != Design::Printed,
        round: 0,
        own_threshold: (line.threshold > share * (1.0 + 1e-9)).then_some(line.threshold),
        is_by_median: judgement.is_by_median,
        is_adjusted: *is_adjusted,
        engine: line.engine,
    }
}
