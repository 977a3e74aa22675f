//! A figure against batch size and against prompt length: a panel for each of the other size, a line an engine.

use protocol::Device;
use results::Row;

use super::measure::{
    DECODE_ENERGY, Measure, PEAK_MEMORY, PREFILL_ENERGY, PROMPT_LATENCY, PROMPT_THROUGHPUT, TOKEN_LATENCY,
    TOKEN_THROUGHPUT, TOTAL_ENERGY, WALL_CLOCK,
};
use super::{PANELS, left_out};
use crate::plot::{
    Anchor, Axis, ChosenUnit, DataTable, Frame, Legend, LegendEntry, MarkLabel, Plot, PlotArea, number,
};
use crate::scene::{Group, ListedRow, MeasuredRow, Scene, thinned};

/// A size of a cell.
struct Size {
    id: &'static str,
    name: &'static str,
    of: fn(&Row) -> u32,
}

const BATCH: Size = Size { id: "batch-size", name: "batch size", of: |row| row.key.batch_size };
const PROMPT: Size = Size { id: "prompt-length", name: "prompt length", of: |row| row.key.prompt_length };

/// Latencies and throughputs.
pub(super) fn time_plots(scene: &Scene<'_>, group: &Group<'_>) -> Vec<Plot> {
    plots(
        scene,
        group,
        &[&PROMPT_LATENCY, &TOKEN_LATENCY, &WALL_CLOCK, &TOKEN_THROUGHPUT, &PROMPT_THROUGHPUT],
    )
}

/// Memory, and on a GPU energy.
pub(super) fn resource_plots(scene: &Scene<'_>, group: &Group<'_>) -> Vec<Plot> {
    plots(scene, group, &[&PEAK_MEMORY, &PREFILL_ENERGY, &DECODE_ENERGY, &TOTAL_ENERGY])
}

fn plots(scene: &Scene<'_>, group: &Group<'_>, measures: &[&Measure]) -> Vec<Plot> {
    let mut plots = Vec::new();
    for measure in measures {
        for (x, other) in [(&BATCH, &PROMPT), (&PROMPT, &BATCH)] {
            let is_line = group.sizes(x.of).len() > 1;
            let is_alone = group.sizes(other.of).len() == 1 && x.id == BATCH.id;
            if is_line || is_alone {
                plots.extend(plot(scene, group, measure, x, other));
            }
        }
    }
    plots
}

/// A line of a panel: what one engine of one run reaches at each size.
struct SizeSeries<'a> {
    run: usize,
    engine: &'a str,
    points: Vec<Point>,
    /// Cells without figures.
    ended: Vec<ListedRow<'a>>,
}

/// A point of a line: where, what, and how far it spreads.
struct Point {
    cell: usize,
    x: f64,
    y: f64,
    spread: Option<(f64, f64)>,
    words: String,
    /// Whether a size before it has no figure.
    is_after_gap: bool,
}

/// What is the same in all panels of a plot.
struct SizePlot<'a> {
    scene: &'a Scene<'a>,
    measure: &'a Measure,
    x: &'a Size,
    other: &'a Size,
    cells: Vec<MeasuredRow<'a>>,
    ended: Vec<ListedRow<'a>>,
    limit: Option<f64>,
    unit: ChosenUnit,
    y: Axis,
}

fn plot(scene: &Scene<'_>, group: &Group<'_>, measure: &Measure, x: &Size, other: &Size) -> Option<Plot> {
    let cells = group.measured();
    let value = |cell: &MeasuredRow<'_>| (measure.value)(cell.row, cell.figures);
    let spread = |cell: &MeasuredRow<'_>| measure.spread.map(|spread| spread(cell.figures));
    let values: Vec<f64> = cells.iter().filter_map(value).collect();
    if values.is_empty() {
        return None;
    }
    let ended: Vec<ListedRow<'_>> = group.listed().filter(|cell| cell.row.is_out_of_memory()).collect();
    let limit = if measure.is_memory { memory_limit(scene, group) } else { None };
    // A limit far above all cells would flatten them; it stands in the caption.
    let most = values.iter().copied().fold(0.0, f64::max);
    let drawn_limit = limit.filter(|limit| !ended.is_empty() || *limit <= 4.0 * most);
    let unit = measure.quantity.unit(values.iter().copied().chain(drawn_limit));
    let ends = cells.iter().filter_map(spread).flat_map(|(low, high)| [low, high]);
    let y = Axis::from_values(
        values.iter().copied().chain(ends).chain(drawn_limit).map(|value| unit.scale(value)),
    );
    let others: Vec<u32> = group
        .sizes(other.of)
        .into_iter()
        .filter(|size| {
            let is_measured = cells.iter().any(|cell| (other.of)(cell.row) == *size && value(cell).is_some());
            is_measured || ended.iter().any(|cell| (other.of)(cell.row) == *size)
        })
        .collect();
    let shown = thinned(&others, PANELS);
    let common = SizePlot { scene, measure, x, other, cells, ended, limit: drawn_limit, unit, y };
    let panels = shown.iter().map(|size| common.panel(group, *size)).collect();
    let left_out = left_out(shown.len(), others.len(), &format!("{}s", other.name));
    let whiskers = match measure.spread {
        None => "",
        Some(_) if common.cells.iter().all(|cell| measure.is_alone(cell.figures)) => {
            " Each cell has one sample, and so no spread."
        }
        Some(_) => " Whiskers reach from the minimum to the 99th percentile.",
    };
    let limit_words = match limit {
        Some(limit) => format!(" The device has {}.", measure.quantity.unit([limit]).text(limit)),
        None => String::new(),
    };
    let mut legend = Legend::of_series(scene, group);
    if common.limit.is_some() {
        legend.0.push(LegendEntry::plain("<path class=\"limit\" d=\"M0 7L22 7\"/>", "memory limit"));
    }
    if !common.ended.is_empty() {
        legend.0.push(LegendEntry::cross("out of memory (OOM)"));
    }
    Some(Plot {
        id: format!("{}-by-{}", measure.id, x.id),
        title: format!("{} by {}", measure.title, x.name),
        caption: format!("{}{whiskers}{limit_words}{left_out}", measure.note),
        legend,
        panels,
        table: common.table(),
        reference: None,
    })
}

/// The memory of one device, or the limit that was set; `None` where runs differ or it is not known. Bytes.
fn memory_limit(scene: &Scene<'_>, group: &Group<'_>) -> Option<f64> {
    let mut limits = group.tables.iter().map(|(run, table)| {
        let environment = scene.runs[*run].environments.first()?;
        let device = match table.key.device {
            Device::Cpu => environment.memory_bytes,
            Device::Cuda(index) => environment.gpus.get(index as usize)?.memory_bytes,
        };
        let set = table.records().filter_map(|record| record.device_memory_limit_bytes).min();
        Some(set.map_or(device, |set| set.min(device))).filter(|bytes| *bytes > 0)
    });
    let first = limits.next()??;
    limits.all(|limit| limit == Some(first)).then_some(first as f64)
}

impl<'a> SizePlot<'a> {
    fn series(&self, group: &Group<'a>, size: u32) -> Vec<SizeSeries<'a>> {
        let Self { scene, measure, x, other, cells, ended, unit, .. } = self;
        let sizes: Vec<f64> = group.sizes(x.of).into_iter().map(f64::from).collect();
        let series = group.series().into_iter().map(|(run, engine)| {
            let is_here = |of_run: usize, row: &Row| {
                of_run == run && row.key.engine == engine && (other.of)(row) == size
            };
            let mut points: Vec<Point> = cells
                .iter()
                .filter(|cell| is_here(cell.run, cell.row))
                .filter_map(|cell| {
                    let y = (measure.value)(cell.row, cell.figures)?;
                    let words = format!("{}: {}", scene.cell(&cell.row.key, run), unit.text(y));
                    let spread = measure.spread.map(|spread| spread(cell.figures));
                    let spread = spread.map(|(low, high)| (unit.scale(low), unit.scale(high)));
                    Some(Point {
                        cell: cell.index,
                        x: (x.of)(cell.row).into(),
                        y: unit.scale(y),
                        spread,
                        words,
                        is_after_gap: false,
                    })
                })
                .collect();
            points.sort_by(|one, other| one.x.total_cmp(&other.x));
            for index in 1..points.len() {
                let between = points[index - 1].x..points[index].x;
                points[index].is_after_gap =
                    sizes.iter().any(|size| *size > between.start && between.contains(size));
            }
            let ended = ended.iter().filter(|cell| is_here(cell.run, cell.row)).copied().collect();
            SizeSeries { run, engine, points, ended }
        });
        series.filter(|series| !series.points.is_empty() || !series.ended.is_empty()).collect()
    }

    fn panel(&self, group: &Group<'a>, size: u32) -> crate::plot::Panel {
        let Self { measure, x, other, unit, y, .. } = self;
        let series = self.series(group, size);
        let names: Vec<String> = series.iter().map(|series| self.in_words(series)).collect();
        let frame = Frame {
            title: format!("{} {size}", other.name),
            description: format!(
                "{} by {} at {} {size}. {}",
                measure.title,
                x.name,
                other.name,
                names.join("; ")
            ),
            unit: &measure.axis_words(*unit, y.is_log),
            below: x.name,
            x: Axis::sizes(&group.sizes(x.of)),
            y: y.clone(),
            size: (350, 165),
            has_columns: false,
            has_rows: true,
        };
        frame.draw(|area| {
            if let Some(limit) = self.limit.map(|limit| unit.scale(limit)) {
                let [(left, _), (right, _)] = area.ends();
                area.line("limit", &[(left, limit), (right, limit)]);
                area.note("u", "limit", (left, limit), (2.0, -4.0), Anchor::Start);
            }
            series.iter().for_each(|series| self.draw_line(area, series));
        })
    }

    fn in_words(&self, series: &SizeSeries<'_>) -> String {
        let unit = self.unit.name;
        let ends = match &series.points[..] {
            [] => "no figures".to_owned(),
            [one] => format!("{} {unit}", number(one.y)),
            [first, .., last] => format!("from {} to {} {unit}", number(first.y), number(last.y)),
        };
        format!("{}: {ends}", self.scene.series(series.engine, series.run))
    }

    fn draw_line(&self, area: &mut PlotArea, SizeSeries { run, engine, points, ended }: &SizeSeries<'_>) {
        let (scene, run) = (self.scene, *run);
        let slot = scene.slot(engine);
        let whisker = format!("w {}", scene.colour(engine));
        let top = area.ends()[1].1;
        area.series(slot, |area| {
            for Point { cell, x, spread, .. } in points {
                if let Some((low, high)) = *spread {
                    area.cell_line(&whisker, *cell, &[(*x, low), (*x, high)]);
                }
            }
            let segments: Vec<Vec<(f64, f64)>> = points
                .chunk_by(|_, next| !next.is_after_gap)
                .map(|points| points.iter().map(|point| (point.x, point.y)).collect())
                .collect();
            if segments.iter().any(|segment| segment.len() > 1) {
                area.segments(&scene.line(engine, run), &segments);
            }
            for Point { cell, x, y, words, is_after_gap, .. } in points {
                // The page's script draws the line anew, with its gaps, where points are hidden.
                let gap = if *is_after_gap { " gap" } else { "" };
                let class = format!("{}{gap}", scene.point(engine, run));
                area.shape_mark(
                    &MarkLabel { class: &class, title: words, cell: Some(*cell) },
                    slot,
                    (*x, *y),
                );
            }
            for cell in ended {
                let at = self.limit.map_or(top, |limit| self.unit.scale(limit));
                let title = format!("{}: out of memory", scene.cell(&cell.row.key, run));
                let class = format!("x {}", scene.colour(engine));
                let label = MarkLabel { class: &class, title: &title, cell: Some(cell.index) };
                area.cross_mark(&label, slot, ((self.x.of)(cell.row).into(), at));
            }
        });
    }

    fn table(&self) -> DataTable {
        let Self { scene, measure, cells, ended, unit, .. } = self;
        let mut figures = vec![format!("{} ({})", measure.title, unit.name)];
        if measure.spread.is_some() {
            figures.extend([format!("Minimum ({})", unit.name), format!("99th percentile ({})", unit.name)]);
        }
        let head = |run: usize, row: &Row| scene.cell_head(&row.key, run).to_vec();
        let row = |cell: &MeasuredRow<'_>| {
            let value = (measure.value)(cell.row, cell.figures)?;
            let mut row = head(cell.run, cell.row);
            row.push(unit.number(value));
            if let Some((least, p99)) = measure.spread.map(|spread| spread(cell.figures)) {
                row.extend([unit.number(least), unit.number(p99)]);
            }
            Some(row)
        };
        let out = |cell: &ListedRow<'_>| {
            let mut row = head(cell.run, cell.row);
            row.resize(row.len() + figures.len(), cell.row.outcome_text().to_owned());
            row
        };
        let rows = cells.iter().filter_map(row).chain(ended.iter().map(out)).collect();
        DataTable::of_cells(figures, rows)
    }
}
