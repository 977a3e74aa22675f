//! The result in at most three lines.

use compare::{Ratios, Subject};
use indexmap::IndexMap;
use maud::{Markup, html};
use protocol::CellSize;
use results::{NoteKind, counted, one_line};

use super::precisions;
use crate::plot::{FigureQuantity, ends, in_unit};
use crate::plots::ModelPrecisions;
use crate::scene::{Comparison, Group, MeasuredRow, Scene};

pub(super) fn section(
    scene: &Scene<'_>,
    groups: &[Group<'_>],
    comparisons: &[Comparison],
    precisions: &[ModelPrecisions<'_>],
) -> Markup {
    let lines: Vec<String> = match comparisons {
        [] => groups.first().map(|first| of_groups(scene, first, groups, precisions)).unwrap_or_default(),
        comparisons => comparisons.iter().take(3).map(of_comparison).collect(),
    };
    html! { section id="summary" { ul class="headline" { @for line in &lines { li { (line) } } } } }
}

fn of_comparison(Comparison { result, baseline, candidate }: &Comparison) -> String {
    let (baseline, candidate) = (one_line(baseline), one_line(candidate));
    match result {
        Ok(report) => format!("{candidate} over {baseline}: {}.", report.counts()),
        Err(_) => format!("{candidate} could not be compared with {baseline}: the reason is below."),
    }
}

fn of_groups(
    scene: &Scene<'_>,
    first: &Group<'_>,
    groups: &[Group<'_>],
    models: &[ModelPrecisions<'_>],
) -> Vec<String> {
    let cells = first.measured();
    let (fastest, outcomes) = (fastest(scene, &cells), outcomes(scene, groups));
    let lines = match (precisions::headline(models), first.tables.first()) {
        (Some(precisions), Some((_, table))) => {
            let in_first = fastest.map(|words| format!("In {}: {words}", table.heading.precision));
            [Some(precisions), in_first, outcomes]
        }
        _ => [fastest, highest_throughput(&cells), outcomes],
    };
    lines.into_iter().flatten().collect()
}

/// Which engine has the lowest time per output token in how many cells, or the only engine's.
fn fastest(scene: &Scene<'_>, cells: &[MeasuredRow<'_>]) -> Option<String> {
    let mut by_size: IndexMap<CellSize, Vec<&MeasuredRow<'_>>> = IndexMap::new();
    for cell in cells {
        by_size.entry(cell.row.key.size()).or_default().push(cell);
    }
    let shared: Vec<&Vec<&MeasuredRow<'_>>> = by_size.values().filter(|cells| cells.len() > 1).collect();
    if shared.is_empty() {
        let first = cells.iter().min_by_key(|cell| cell.row.key.size())?;
        return Some(format!(
            "{}: {} per output token (TPOT) at {}.",
            one_line(&first.row.key.engine),
            in_unit(FigureQuantity::Time, first.figures.tpot.mean),
            first.row.key.size()
        ));
    }
    let mut wins: IndexMap<&str, usize> = IndexMap::new();
    for cells in &shared {
        let best = cells.iter().min_by(|one, other| tpot(one).total_cmp(&tpot(other)))?;
        *wins.entry(&best.row.key.engine).or_default() += 1;
    }
    let (engine, count) = wins.into_iter().max_by_key(|(_, count)| *count)?;
    // The engine and the next one, in the cells that both have.
    let pairs: Vec<[&MeasuredRow<'_>; 2]> = shared
        .iter()
        .filter_map(|cells| {
            let own = cells.iter().find(|cell| cell.row.key.engine == engine)?;
            let others = cells.iter().filter(|cell| cell.row.key.engine != engine);
            Some([*own, *others.min_by(|one, other| tpot(one).total_cmp(&tpot(other)))?])
        })
        .collect();
    let lead = |of: fn(&MeasuredRow<'_>) -> f64| range(pairs.iter().map(|[own, next]| of(next) / of(own)));
    let place = match shared.len() {
        1 => String::new(),
        all => format!(" in {count} of {all} cells"),
    };
    Some(format!(
        "{} has the lowest time per output token (TPOT){place}: {} times as fast as the next engine; decode forwards alone {}.{}",
        one_line(engine),
        lead(tpot),
        lead(|cell| cell.figures.token.mean),
        certainty(scene, engine, &pairs)
    ))
}

fn tpot(cell: &MeasuredRow<'_>) -> f64 {
    cell.figures.tpot.mean
}

/// `1.17–2.11`.
fn range(figures: impl Iterator<Item = f64>) -> String {
    let (least, most) = ends(figures);
    let [least, most] = [least, most].map(|figure| format!("{figure:.2}"));
    if least == most { least } else { format!("{least}–{most}") }
}

/// Says in how many of the pairs the engine may be no faster than the next.
fn certainty(scene: &Scene<'_>, engine: &str, pairs: &[[&MeasuredRow<'_>; 2]]) -> String {
    let Some(ratios) = scene.runs.first().filter(|_| scene.runs.len() == 1).and_then(|run| {
        let subject = Subject::from_run(run).ok()?;
        Ratios::compare(&subject, engine, &[]).ok()
    }) else {
        return String::new();
    };
    let known: Vec<_> = ratios.known().filter(|known| known.phase == "TPOT").collect();
    let intervals: Vec<_> = pairs
        .iter()
        .filter_map(|[own, next]| {
            let is_pair = |known: &&compare::KnownRatio<'_>| {
                known.other == next.row.key.engine && known.size == own.row.key.size()
            };
            known.iter().find(is_pair)?.interval
        })
        .collect();
    let open = intervals.iter().filter(|interval| interval.low <= 1.0 && 1.0 <= interval.high).count();
    match (intervals.len(), open) {
        (0, _) => " There are no replicates, so no intervals.".to_owned(),
        (_, 0) => String::new(),
        (1, _) => " The 95 % interval includes 1: the difference is not certain.".to_owned(),
        (all, open) => format!(" In {open} of {all} cells the 95 % interval includes 1."),
    }
}

fn highest_throughput(cells: &[MeasuredRow<'_>]) -> Option<String> {
    let speed = |cell: &MeasuredRow<'_>| f64::from(cell.row.key.batch_size) / tpot(cell);
    let best = cells.iter().max_by(|one, other| speed(one).total_cmp(&speed(other)))?;
    Some(format!(
        "Highest throughput: {} (batch size / TPOT) by {} at {}.",
        in_unit(FigureQuantity::TokenRate, speed(best)),
        one_line(&best.row.key.engine),
        best.row.key.size()
    ))
}

/// How many cells were measured, and how the others ended.
fn outcomes(scene: &Scene<'_>, groups: &[Group<'_>]) -> Option<String> {
    let rows = || groups.iter().flat_map(Group::all).map(|(_, row)| row);
    let all = rows().count();
    let measured = rows().filter(|row| row.figures.is_some()).count();
    let out = rows().filter(|row| row.is_out_of_memory()).count();
    let missing: usize = scene.runs.iter().map(|run| run.missing()).sum();
    let mut text = match missing {
        0 => format!("{measured} of {} measured", counted(all, "cell")),
        _ => format!("{} measured, {} missing", counted(measured, "cell"), counted(missing, "record")),
    };
    if out > 0 {
        text.push_str(&format!(", {out} ran out of memory"));
    }
    if all > measured + out {
        text.push_str(&format!(", {} failed or are incomplete", all - measured - out));
    }
    let mut notes = groups.iter().flat_map(|group| &group.tables).flat_map(|(_, table)| &table.notes);
    let verified = scene.runs.iter().all(|run| !run.verifications.is_empty());
    let tokens = notes.any(|note| note.kind == NoteKind::DifferentTokens);
    text.push_str(match (verified, tokens) {
        (false, _) => "; engines were not verified.",
        (true, false) => "; engines were verified before timing.",
        (true, true) => "; engines were verified before timing, but their greedy tokens differ (see notes).",
    });
    Some(text)
}
