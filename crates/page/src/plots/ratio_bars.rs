//! A panel of ratios: a bar an engine, in groups, each with its interval.

use indexmap::IndexSet;
use results::format_short;
use stats::Interval;

use super::short_name;
use crate::plot::{Axis, Frame, Legend, LegendEntry, MarkLabel, Panel, ends};
use crate::scene::{Group, Scene, thinned};

/// The most bars of a panel.
const BARS: usize = 54;
/// The height of a bar with its gap, in pixels.
const ROW: f64 = 10.0;
/// The same where each bar has its engine's name.
const NAMED_ROW: f64 = 15.0;
/// The gap between two groups, in bars.
const GAP: f64 = 0.8;

/// A ratio that is drawn.
pub(super) struct RatioBar<'a> {
    pub(super) engine: &'a str,
    /// What the bar is called where a reader points at it.
    pub(super) name: String,
    /// The group that it stands in, such as a cell.
    pub(super) label: String,
    pub(super) ratio: f64,
    pub(super) interval: Option<Interval>,
    /// The index of its cell among all that the page lists.
    pub(super) cell: Option<usize>,
}

/// The texts of a panel.
pub(super) struct BarsFrame {
    pub(super) title: String,
    pub(super) description: String,
    /// What the groups are.
    pub(super) unit: &'static str,
    pub(super) below: &'static str,
}

impl Legend {
    /// The engines, with a bar each.
    pub(super) fn of_bars(scene: &Scene<'_>, group: &Group<'_>) -> Self {
        Self::with_signs(scene, group, |engine| {
            format!(
                "<rect class=\"bar {}\" x=\"1\" y=\"3\" width=\"20\" height=\"8\"/>",
                scene.colour(engine)
            )
        })
    }
}

/// The sign of an interval, where there is one.
pub(super) fn interval_sign(is_there: bool) -> Option<LegendEntry> {
    let sign = "<path class=\"ci unchanged\" d=\"M1 7L21 7\"/>";
    is_there.then(|| LegendEntry::plain(sign, "95 % confidence interval"))
}

/// Says that some groups are not drawn; nothing where all are.
pub(super) fn left_out_words(left_out: usize) -> String {
    if left_out > 0 { format!(" {left_out} more cells are in the data below.") } else { String::new() }
}

/// A panel, and how many groups are left out.
pub(super) fn bars_panel(scene: &Scene<'_>, texts: BarsFrame, all: &[RatioBar<'_>]) -> (Panel, usize) {
    let engines = all.iter().map(|one| one.engine).collect::<IndexSet<_>>().len();
    let labels: Vec<&str> =
        all.iter().map(|one| one.label.as_str()).collect::<IndexSet<_>>().into_iter().collect();
    let shown = thinned(&labels, (BARS / engines.max(1)).max(4));
    let mut bars: Vec<(f64, &RatioBar<'_>)> = Vec::new();
    let mut ticks = Vec::new();
    let mut at = GAP / 2.0;
    // Of a single group there is room for the engines' names.
    let is_single = labels.len() == 1;
    let row = if is_single { NAMED_ROW } else { ROW };
    for label in &shown {
        let own: Vec<&RatioBar<'_>> = all.iter().filter(|one| one.label == *label).collect();
        if !is_single {
            ticks.push((at + own.len() as f64 / 2.0, (*label).to_owned()));
        }
        for one in own {
            if is_single {
                ticks.push((at + 0.5, short_name(one.engine)));
            }
            bars.push((at + 0.5, one));
            at += 1.0;
        }
        at += GAP;
    }
    let high = at - GAP / 2.0;
    let most = bars.iter().max_by(|one, other| one.1.ratio.total_cmp(&other.1.ratio));
    let most = most.map_or_else(String::new, |(_, most)| {
        format!("; most: {} {}, {} times", most.engine, most.label, format_short(most.ratio))
    });
    let BarsFrame { title, description, unit, below } = texts;
    let frame = Frame {
        title,
        description: description + &most,
        unit: if is_single { "" } else { unit },
        below,
        x: ratio_axis(&bars),
        y: Axis::with_ticks(0.0, high, false, ticks.into_iter().map(|(place, label)| (high - place, label))),
        size: (350, (high * row).ceil().max(40.0) as u32),
        has_columns: true,
        has_rows: false,
    };
    let panel = frame.draw(|area| {
        area.line("one", &[(1.0, 0.0), (1.0, high)]);
        for (place, one) in &bars {
            let y = high - place;
            let interval = one.interval.map_or_else(String::new, |interval| {
                format!(" ({}–{})", format_short(interval.low), format_short(interval.high))
            });
            let title = format!("{} {}: {}×{interval}", one.name, one.label, format_short(one.ratio));
            let class = format!("bar {}", scene.colour(one.engine));
            area.series(scene.slot(one.engine), |area| {
                area.bar_mark(
                    &MarkLabel { class: &class, title: &title, cell: one.cell },
                    [1.0, one.ratio],
                    y,
                    0.0,
                    row - 2.5,
                );
                if let Some(interval) = one.interval {
                    let points = [(interval.low, y), (interval.high, y)];
                    match one.cell {
                        Some(cell) => area.cell_line("ci over", cell, &points),
                        None => area.line("ci over", &points),
                    }
                }
            });
        }
    });
    (panel, labels.len() - shown.len())
}

/// An axis over all ratios and 1, and over their intervals as far as these are within a factor of 1.5.
fn ratio_axis(bars: &[(f64, &RatioBar<'_>)]) -> Axis {
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
