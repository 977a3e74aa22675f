//! The latency of each generated token: shows drift, throttling and a slow first token.

use indexmap::IndexSet;
use protocol::Measurement;
use stats::Summary;

use crate::plot::{
    Axis, ChosenUnit, DataTable, FigureQuantity, Frame, Legend, LegendEntry, MarkLabel, Panel, Plot, number,
    sign,
};
use crate::scene::{Group, MeasuredRow, Scene};

/// The most panels.
const MOST: usize = 12;

/// The most points of a line; neighbouring tokens share one.
const POINTS: usize = 64;

/// Neighbouring tokens of all generations of a cell, in the plot's unit.
struct Bin {
    /// The first and the last token, from 1.
    tokens: (usize, usize),
    least: f64,
    median: f64,
    largest: f64,
}

impl Bin {
    fn middle(&self) -> f64 {
        (self.tokens.0 + self.tokens.1) as f64 / 2.0
    }
}

pub(super) fn token_plot(scene: &Scene<'_>, group: &Group<'_>) -> Option<Plot> {
    let chosen = chosen(group);
    let unit = FigureQuantity::Time.unit(chosen.iter().map(|cell| cell.figures.token.median));
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    for cell in &chosen {
        let bins = bins(&series(cell), unit);
        if bins.len() < 2 {
            continue;
        }
        panels.push(panel(scene, cell, &bins, unit));
        rows.extend(bins.iter().map(|bin| {
            let tokens = format!("{}–{}", bin.tokens.0, bin.tokens.1);
            let latencies = [bin.least, bin.median, bin.largest].map(number);
            let head = scene.cell_head(&cell.row.key, cell.run);
            head.into_iter().chain([tokens]).chain(latencies).collect()
        }));
    }
    if panels.is_empty() {
        return None;
    }
    let engines: IndexSet<&str> = chosen.iter().map(|cell| cell.row.key.engine.as_str()).collect();
    let key = |engine: &str| {
        let colour = scene.colour(engine);
        let line = sign(Some(&format!("l {colour}")), &format!("p full {colour}"), scene.slot(engine));
        let band = format!("<rect class=\"b {colour}\" x=\"0\" y=\"1\" width=\"22\" height=\"12\"/>{line}");
        let words =
            format!("{}: first token (point), median (line), range (band)", results::one_line(engine));
        LegendEntry::of_engine(scene.slot(engine), &band, &words)
    };
    let legend: Vec<LegendEntry> = engines.into_iter().map(key).collect();
    Some(Plot {
        id: "token-by-token".into(),
        title: "Latency of each generated token".into(),
        caption: format!(
            "The line is the median of neighbouring tokens, the band their range over all generations and replicates, and the point the \
             first token. A level line means a steady cell.{}",
            drawn(panels.len(), group.measured().len())
        ),
        legend: Legend(legend),
        panels,
        table: DataTable::of_cells(
            std::iter::once("Tokens".to_owned())
                .chain(["Minimum", "Median", "Maximum"].map(|name| format!("{name} ({})", unit.name))),
            rows,
        ),
        reference: None,
    })
}

/// Which cells are drawn, where not all are.
fn drawn(count: usize, all: usize) -> String {
    if count == all {
        return String::new();
    }
    format!(
        " {count} of {} are drawn: for each engine the smallest, the largest and the least steady; the raw series has all.",
        results::counted(all, "cell")
    )
}

/// Chooses the smallest, the largest and the least steady cell of each series.
fn chosen<'a>(group: &Group<'a>) -> Vec<MeasuredRow<'a>> {
    let cells = group.measured();
    let mut chosen: Vec<MeasuredRow<'a>> = Vec::new();
    let each = MOST / group.series().len().max(1);
    for (run, engine) in group.series() {
        let series_cells = || cells.iter().filter(|cell| cell.run == run && cell.row.key.engine == engine);
        let work = |cell: &MeasuredRow<'_>| cell.row.key.size();
        let unsteady = series_cells()
            .max_by(|one, other| one.figures.token.variation().total_cmp(&other.figures.token.variation()));
        let three = [
            unsteady,
            series_cells().min_by_key(|cell| work(cell)),
            series_cells().max_by_key(|cell| work(cell)),
        ];
        let mut own: Vec<&MeasuredRow<'a>> = Vec::new();
        for cell in three.into_iter().flatten() {
            if !own.iter().any(|other| other.row.key == cell.row.key) {
                own.push(cell);
            }
        }
        own.truncate(each.max(1));
        own.sort_by_key(|cell| work(cell));
        chosen.extend(own.into_iter().copied());
    }
    chosen.truncate(MOST);
    chosen
}

/// The token latencies of every generation of a cell. Seconds.
fn series<'a>(cell: &MeasuredRow<'a>) -> Vec<&'a [f64]> {
    let series = cell.row.replicates.iter().filter_map(Measurement::series);
    series.flat_map(|series| &series.generations).map(|one| one.token_seconds.as_slice()).collect()
}

fn bins(series: &[&[f64]], unit: ChosenUnit) -> Vec<Bin> {
    let length = series.iter().map(|tokens| tokens.len()).min().unwrap_or(0);
    let step = length.div_ceil(POINTS).max(1);
    let bin = |(begin, end): (usize, usize)| {
        let all: Vec<f64> = series.iter().flat_map(|tokens| &tokens[begin..end]).copied().collect();
        let summary = Summary::from_series(&all)?;
        Some(Bin {
            tokens: (begin + 1, end),
            least: unit.scale(summary.least),
            median: unit.scale(summary.median),
            largest: unit.scale(summary.largest),
        })
    };
    // The first token has a bin of its own: its kernels may differ, and be cold.
    let first = (length > 0).then_some((0, 1));
    let rest = (1..length).step_by(step).map(|begin| (begin, (begin + step).min(length)));
    first.into_iter().chain(rest).filter_map(bin).collect()
}

fn panel(scene: &Scene<'_>, cell: &MeasuredRow<'_>, bins: &[Bin], unit: ChosenUnit) -> Panel {
    let slot = scene.slot(&cell.row.key.engine);
    let colour = scene.colour(&cell.row.key.engine);
    let largest = bins.iter().map(|bin| bin.largest).fold(0.0, f64::max);
    let mut medians: Vec<f64> = bins.iter().map(|bin| bin.median).collect();
    medians.sort_by(f64::total_cmp);
    let usual = medians[medians.len() * 9 / 10];
    // One outlier must not flatten all other tokens: it is cut off at the edge, and the title says so.
    let top = largest.min(usual * 3.0);
    let y = Axis::linear(0.0, top);
    let cut = if largest > y.high() {
        format!(", cut off: the largest is {} {}", number(largest), unit.name)
    } else {
        String::new()
    };
    let series = scene.series(&cell.row.key.engine, cell.run);
    let size = cell.row.key.size();
    let least = bins.iter().map(|bin| bin.least).fold(f64::INFINITY, f64::min);
    let name = unit.name;
    let last = bins.last().map_or(1, |bin| bin.tokens.1);
    let frame = Frame {
        title: format!("{size} {series}"),
        description: format!(
            "Latency of each token of {series} at {size}: from {} to {} {name}, first token {} {name}, median of the last tokens {} {name}",
            number(least),
            number(largest),
            number(bins[0].median),
            number(bins[bins.len() - 1].median)
        ),
        unit: &format!("{name} per token{cut}"),
        below: "generated token",
        x: Axis::with_ticks(
            0.0,
            last as f64 + 1.0,
            false,
            [1, last / 4, last / 2, last * 3 / 4, last]
                .into_iter()
                .filter(|tick| *tick > 0)
                .map(|tick| (tick as f64, tick.to_string())),
        ),
        y,
        size: (350, 125),
        has_columns: false,
        has_rows: true,
    };
    frame.draw(|area| {
        let title = |what: &str| format!("{series} {size}: {what}");
        area.series(slot, |area| {
            let cell = Some(cell.index);
            let upper = bins.iter().map(|bin| (bin.middle(), bin.largest));
            let lower = bins.iter().rev().map(|bin| (bin.middle(), bin.least));
            let band: Vec<(f64, f64)> = upper.chain(lower).collect();
            let (class, words) = (format!("b {colour}"), title("range"));
            area.polygon_mark(&MarkLabel { class: &class, title: &words, cell }, &band);
            let line: Vec<(f64, f64)> = bins.iter().map(|bin| (bin.middle(), bin.median)).collect();
            let (class, words) = (format!("l {colour}"), title("median"));
            area.line_mark(&MarkLabel { class: &class, title: &words, cell }, &line);
            let first = bins[0].median;
            let (class, words) =
                (format!("p full {colour}"), title(&format!("first token {} {name}", number(first))));
            area.shape_mark(&MarkLabel { class: &class, title: &words, cell }, slot, (1.0, first));
        });
    })
}
