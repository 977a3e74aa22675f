//! How many times as fast each engine is as a reference engine: a bar a cell, with its interval.

use compare::{KnownRatio, Ratios, Subject};
use indexmap::IndexSet;
use protocol::CellSize;
use results::format_short;
use stats::Interval;

use super::{interval_text, short_name};
use crate::plot::{Axis, DataTable, Frame, Legend, LegendEntry, MarkLabel, Panel, Plot, ends};
use crate::scene::{Group, Scene, thinned};

/// The most bars of a panel.
const BARS: usize = 54;
/// The height of a bar with its gap, in pixels.
const ROW: f64 = 10.0;
/// The same where each bar has its engine's name.
const NAMED_ROW: f64 = 15.0;
/// The gap between two cells, in bars.
const GAP: f64 = 0.8;
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
    let mut legend = Legend::with_signs(scene, group, |engine| {
        format!("<rect class=\"bar {}\" x=\"1\" y=\"3\" width=\"20\" height=\"8\"/>", scene.colour(engine))
    });
    legend.0.retain(|entry| entry.engine != Some(slot));
    if runs.iter().flat_map(|run| &run.speedups).any(|one| one.interval.is_some()) {
        legend.0.push(LegendEntry::plain(
            "<path class=\"ci unchanged\" d=\"M1 7L21 7\"/>",
            "95 % confidence interval",
        ));
    }
    let left_out =
        if left_out > 0 { format!(" {left_out} more cells are in the data below.") } else { String::new() };
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
    let others = speedups.iter().map(|one| one.engine).collect::<IndexSet<_>>().len();
    let sizes: Vec<CellSize> =
        speedups.iter().map(|one| one.size).collect::<IndexSet<_>>().into_iter().collect();
    let shown = thinned(&sizes, (BARS / others.max(1)).max(4));
    let mut bars: Vec<(f64, &Speedup<'_>)> = Vec::new();
    let mut ticks = Vec::new();
    let mut at = GAP / 2.0;
    // Of a single cell there is room for the engines' names.
    let is_single = sizes.len() == 1;
    let row = if is_single { NAMED_ROW } else { ROW };
    for size in &shown {
        let own: Vec<&&Speedup<'_>> = speedups.iter().filter(|one| one.size == *size).collect();
        if !is_single {
            ticks.push((at + own.len() as f64 / 2.0, size.to_string()));
        }
        for one in own {
            if is_single {
                ticks.push((at + 0.5, short_name(one.engine)));
            }
            bars.push((at + 0.5, *one));
            at += 1.0;
        }
        at += GAP;
    }
    let high = at - GAP / 2.0;
    let best = bars.iter().max_by(|one, other| one.1.ratio.total_cmp(&other.1.ratio));
    let best = best.map_or_else(String::new, |(_, best)| {
        format!("most: {} {}, {} times", best.engine, best.size, format_short(best.ratio))
    });
    let frame = Frame {
        title: format!("{phase}{}", scene.run_suffix(run)),
        description: format!("Speedup over {reference} in {phase}; {best}"),
        unit: if is_single { "" } else { "batch × prompt" },
        below: "times as fast, logarithmic",
        x: speedup_axis(&bars),
        y: Axis::with_ticks(0.0, high, false, ticks.into_iter().map(|(place, label)| (high - place, label))),
        size: (350, (high * row).ceil().max(40.0) as u32),
        has_columns: true,
        has_rows: false,
    };
    let panel = frame.draw(|area| {
        area.line("one", &[(1.0, 0.0), (1.0, high)]);
        for (place, one) in &bars {
            let y = high - place;
            let colour = scene.colour(one.engine);
            let interval = one.interval.map_or_else(String::new, |interval| {
                format!(" ({}–{})", format_short(interval.low), format_short(interval.high))
            });
            let title = format!(
                "{} {}: {}×{interval}",
                scene.series(one.engine, run),
                one.size,
                format_short(one.ratio)
            );
            let class = format!("bar {colour}");
            let cell = group.cell_index(run, one.engine, one.size);
            area.series(scene.slot(one.engine), |area| {
                area.bar_mark(
                    &MarkLabel { class: &class, title: &title, cell },
                    [1.0, one.ratio],
                    y,
                    0.0,
                    row - 2.5,
                );
                if let Some(interval) = one.interval {
                    let points = [(interval.low, y), (interval.high, y)];
                    match cell {
                        Some(cell) => area.cell_line("ci over", cell, &points),
                        None => area.line("ci over", &points),
                    }
                }
            });
        }
    });
    (panel, sizes.len() - shown.len())
}

/// An axis over all ratios and 1, and over their intervals as far as these are within a factor of 1.5.
fn speedup_axis(bars: &[(f64, &Speedup<'_>)]) -> Axis {
    let fits = |ratio: &f64| (1e-6..1e6).contains(ratio);
    let ratios = bars.iter().map(|(_, one)| one.ratio).filter(fits);
    let (least, largest) = ends(ratios.chain([1.0]));
    let intervals = bars.iter().filter_map(|(_, one)| one.interval);
    let reached = intervals
        .flat_map(|interval| [interval.low, interval.high])
        .map(|end| end.clamp(least / 1.5, largest * 1.5));
    let (least, largest) = ends(reached.chain([least, largest]));
    Axis::ratios(least.min(0.98) / 1.05, largest.max(1.02) * 1.05)
}
