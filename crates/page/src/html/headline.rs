//! The result in at most three lines.

use indexmap::IndexMap;
use maud::{Markup, html};
use protocol::{CellSize, FailureKind};
use results::{counted, one_line};

use crate::plot::{FigureQuantity, in_unit};
use crate::scene::{Comparison, Group, MeasuredRow, Scene};

pub(super) fn section(scene: &Scene<'_>, groups: &[Group<'_>], comparisons: &[Comparison]) -> Markup {
    let lines: Vec<String> = match comparisons {
        [] => groups.first().map(|group| of_group(scene, group)).unwrap_or_default(),
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

fn of_group(scene: &Scene<'_>, group: &Group<'_>) -> Vec<String> {
    let cells = group.measured();
    [fastest(&cells), highest_throughput(&cells), ends(scene, group)].into_iter().flatten().collect()
}

/// Which engine has the least token latency in how many cells, or the only engine's.
fn fastest(cells: &[MeasuredRow<'_>]) -> Option<String> {
    let mut by_size: IndexMap<CellSize, Vec<&MeasuredRow<'_>>> = IndexMap::new();
    for cell in cells {
        by_size.entry(cell.row.key.size()).or_default().push(cell);
    }
    let shared: Vec<Vec<&MeasuredRow<'_>>> = by_size.into_values().filter(|cells| cells.len() > 1).collect();
    if shared.is_empty() {
        let first = cells.iter().min_by_key(|cell| (cell.row.key.batch_size, cell.row.key.prompt_length))?;
        return Some(format!(
            "{} takes {} per token at {}.",
            one_line(&first.row.key.engine),
            in_unit(FigureQuantity::Time, first.figures.token.mean),
            first.row.key.size()
        ));
    }
    let mut wins: IndexMap<&str, usize> = IndexMap::new();
    for cells in &shared {
        let best =
            cells.iter().min_by(|one, other| one.figures.token.mean.total_cmp(&other.figures.token.mean))?;
        *wins.entry(&best.row.key.engine).or_default() += 1;
    }
    let (engine, count) = wins.into_iter().max_by_key(|(_, count)| *count)?;
    // How much faster than the next: both in the same cells.
    let leads: Vec<f64> = shared
        .iter()
        .filter_map(|cells| {
            let own = cells.iter().find(|cell| cell.row.key.engine == engine)?;
            let others = cells.iter().filter(|cell| cell.row.key.engine != engine);
            let next = others.map(|cell| cell.figures.token.mean).reduce(f64::min)?;
            Some(next / own.figures.token.mean)
        })
        .collect();
    let least = leads.iter().copied().fold(f64::INFINITY, f64::min);
    let most = leads.iter().copied().fold(0.0, f64::max);
    let range =
        if format!("{least:.2}") == format!("{most:.2}") { String::new() } else { format!("–{most:.2}") };
    let cells = match shared.len() {
        1 => String::new(),
        all => format!(" in {count} of {all} cells"),
    };
    Some(format!(
        "{} has the lowest token latency{cells}: {least:.2}{range} times as fast as the next engine.",
        one_line(engine)
    ))
}

fn highest_throughput(cells: &[MeasuredRow<'_>]) -> Option<String> {
    let speed = |cell: &MeasuredRow<'_>| f64::from(cell.row.key.batch_size) / cell.figures.tpot.mean;
    let best = cells.iter().max_by(|one, other| speed(one).total_cmp(&speed(other)))?;
    // Above 1 a caveat explains it.
    let share = best.row.efficiency.decode_bandwidth.filter(|share| *share <= 1.0);
    let share =
        share.map(|share| format!(", at {:.0} % of peak bandwidth", share * 100.0)).unwrap_or_default();
    Some(format!(
        "Highest throughput: {} by {} at {}{share}.",
        in_unit(FigureQuantity::TokenRate, speed(best)),
        one_line(&best.row.key.engine),
        best.row.key.size()
    ))
}

/// How many cells were measured, and how the others ended.
fn ends(scene: &Scene<'_>, group: &Group<'_>) -> Option<String> {
    let all = group.all().count();
    let measured = group.all().filter(|(_, row)| row.figures.is_some()).count();
    let is_out =
        |row: &results::Row| row.failure().is_some_and(|failure| failure.kind == FailureKind::OutOfMemory);
    let out = group.all().filter(|(_, row)| is_out(row)).count();
    let mut text = format!("{measured} of {} measured", counted(all, "cell"));
    if out > 0 {
        text.push_str(&format!(", {out} ran out of memory"));
    }
    if all > measured + out {
        text.push_str(&format!(", {} failed or are incomplete", all - measured - out));
    }
    let missing: usize = scene.runs.iter().map(|run| run.missing()).sum();
    if missing > 0 {
        text.push_str(&format!(", {} missing", counted(missing, "record")));
    }
    let verified = scene.runs.iter().all(|run| !run.verifications.is_empty());
    text.push_str(if verified {
        "; engines were verified before timing."
    } else {
        "; engines were not verified."
    });
    Some(text)
}
