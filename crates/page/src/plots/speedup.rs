//! How many times as fast each engine is as a reference engine: a bar a cell, with its interval.

use compare::{KnownRatio, Ratios, Subject};
use indexmap::IndexSet;
use protocol::CellSize;
use results::format_short;
use stats::Interval;

use super::interval_text;
use super::ratio_bars::{BarsFrame, RatioBar, bars_panel, interval_sign, left_out_words};
use crate::plot::{DataTable, Legend, Panel, Plot};
use crate::scene::{Group, Scene};

/// The engine that others are compared with where the run has it: the one that everybody has.
const USUAL: &str = "pytorch-eager";

/// The reference's latency over the engine's: above 1 the engine is faster.
struct Speedup<'a> {
    engine: &'a str,
    phase: &'static str,
    size: CellSize,
    ratio: f64,
    interval: Option<Interval>,
}

/// The speedups of one run.
struct RunSpeedups<'a> {
    run: usize,
    speedups: Vec<Speedup<'a>>,
}

/// A plot for each engine as the reference; the usual one first.
pub(super) fn speedup_plots(scene: &Scene<'_>, group: &Group<'_>) -> Vec<Plot> {
    let mut engines: Vec<&str> =
        group.series().into_iter().map(|(_, engine)| engine).collect::<IndexSet<_>>().into_iter().collect();
    engines.sort_by_key(|engine| *engine != USUAL);
    let mut plots: Vec<Plot> = engines.iter().filter_map(|engine| plot(scene, group, engine)).collect();
    if let Some(first) = plots.first_mut() {
        first.id = "speedup".into();
    }
    plots
}

fn plot(scene: &Scene<'_>, group: &Group<'_>, reference: &str) -> Option<Plot> {
    let ratios: Vec<(usize, Ratios, String)> = group
        .tables
        .iter()
        .filter_map(|(run, table)| {
            let subject = Subject::from_run(scene.runs[*run]).ok()?;
            Some((*run, Ratios::compare(&subject, reference, &[]).ok()?, table.heading.to_string()))
        })
        .collect();
    let runs: Vec<RunSpeedups<'_>> = ratios
        .iter()
        .map(|(run, ratios, heading)| RunSpeedups {
            run: *run,
            speedups: ratios.known().filter(|known| known.heading == heading).map(speedup).collect(),
        })
        .filter(|run| !run.speedups.is_empty())
        .collect();
    let slot = scene.slot(reference);
    let name = results::one_line(reference);
    let mut panels = Vec::new();
    let mut left_out = 0;
    for run in &runs {
        for phase in ["prefill", "decode", "TPOT"] {
            let of_phase: Vec<&Speedup<'_>> = run.speedups.iter().filter(|one| one.phase == phase).collect();
            if of_phase.is_empty() {
                continue;
            }
            let (panel, left) = panel(scene, group, run.run, phase, &of_phase, &name);
            left_out = left_out.max(left);
            panels.push(panel);
        }
    }
    if panels.is_empty() {
        return None;
    }
    let mut legend = Legend::of_bars(scene, group);
    legend.0.retain(|entry| entry.engine != Some(slot));
    let mut speedups = runs.iter().flat_map(|run| &run.speedups);
    legend.0.extend(interval_sign(speedups.any(|one| one.interval.is_some())));
    let left_out = left_out_words(left_out);
    let row = |run: usize, one: &Speedup<'_>| {
        let CellSize { batch_size, prompt_length } = one.size;
        vec![
            scene.series(one.engine, run),
            batch_size.to_string(),
            prompt_length.to_string(),
            one.phase.to_owned(),
            format_short(one.ratio),
            interval_text(one.interval),
        ]
    };
    let rows = runs.iter().flat_map(|run| run.speedups.iter().map(|one| row(run.run, one))).collect();
    Some(Plot {
        id: format!("speedup-{}", slot + 1),
        title: format!("Speedup over {name}"),
        caption: format!(
            "The latency of {name} over the engine's, in the same cell: above 1 the engine is faster. Ratios are of medians, replicate by \
             replicate; other plots show means. One replicate has no interval; an interval that ends at the edge of the axis goes on \
             beyond it.{left_out}"
        ),
        legend,
        panels,
        table: DataTable::of_cells(["Phase", "Speedup", "95 % interval"].map(str::to_owned), rows),
        reference: Some(slot),
    })
}

/// [`Ratios`] say how fast the reference is; here it is the other way around.
fn speedup(known: KnownRatio<'_>) -> Speedup<'_> {
    let inverse = |interval: Interval| Interval { low: 1.0 / interval.high, high: 1.0 / interval.low };
    Speedup {
        engine: known.other,
        phase: known.phase,
        size: known.size,
        ratio: 1.0 / known.ratio,
        interval: known.interval.map(inverse),
    }
}

/// A panel, and how many cells are left out.
fn panel(
    scene: &Scene<'_>,
    group: &Group<'_>,
    run: usize,
    phase: &str,
    speedups: &[&Speedup<'_>],
    reference: &str,
) -> (Panel, usize) {
    let bars: Vec<RatioBar<'_>> = speedups
        .iter()
        .map(|one| RatioBar {
            engine: one.engine,
            name: scene.series(one.engine, run),
            label: one.size.to_string(),
            ratio: one.ratio,
            interval: one.interval,
            cell: group.cell_index(run, one.engine, one.size),
        })
        .collect();
    let frame = BarsFrame {
        title: format!("{phase}{}", scene.run_suffix(run)),
        description: format!("Speedup over {reference} in {phase}"),
        unit: "batch × prompt",
        below: "times as fast, logarithmic",
    };
    bars_panel(scene, frame, &bars)
}
