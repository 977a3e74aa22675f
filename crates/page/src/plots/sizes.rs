//! A figure against batch size and against prompt length: a panel for each of the other size, a line an engine.

use plotters::prelude::*;
use results::Row;

use super::PANELS;
use super::measure::{ENERGY, Measure, PROMPT_THROUGHPUT, TOKEN_LATENCY, TOKEN_THROUGHPUT, number};
use crate::Error;
use crate::plot::{Area, Axis, DataTable, DrawingResult, Frame, Legend, Pen, Plot, mark};
use crate::scene::{Group, MeasuredRow, Scene, thinned};

/// A size of a cell.
struct Size {
    id: &'static str,
    name: &'static str,
    of: fn(&Row) -> u32,
}

const BATCH: Size = Size { id: "batch-size", name: "batch size", of: |row| row.key.batch_size };
const PROMPT: Size = Size { id: "prompt-length", name: "prompt length", of: |row| row.key.prompt_length };

pub(super) fn size_plots(scene: &Scene<'_>, group: &Group<'_>) -> Result<Vec<Plot>, Error> {
    let mut plots = Vec::new();
    for measure in [&TOKEN_LATENCY, &TOKEN_THROUGHPUT, &PROMPT_THROUGHPUT, &ENERGY] {
        for (x, other) in [(&BATCH, &PROMPT), (&PROMPT, &BATCH)] {
            let is_line = group.sizes(x.of).len() > 1;
            let is_alone = group.sizes(other.of).len() == 1 && x.id == BATCH.id;
            if is_line || is_alone {
                plots.extend(plot(scene, group, measure, x, other)?);
            }
        }
    }
    Ok(plots)
}

/// A point of a line: where, what, and how far it spreads.
struct Point {
    x: f64,
    y: f64,
    spread: Option<(f64, f64)>,
    words: String,
}

fn plot(
    scene: &Scene<'_>,
    group: &Group<'_>,
    measure: &Measure,
    x: &Size,
    other: &Size,
) -> Result<Option<Plot>, Error> {
    let cells = group.drawn();
    let value = |cell: &MeasuredRow<'_>| (measure.value)(cell.row, cell.figures);
    let spread = |cell: &MeasuredRow<'_>| measure.spread.map(|spread| spread(cell.figures));
    let tops = cells.iter().filter_map(|cell| {
        Some(spread(cell).map_or(value(cell)?, |(_, high)| high.max(value(cell).unwrap_or(high))))
    });
    let lows = cells.iter().filter_map(value);
    if cells.iter().all(|cell| value(cell).is_none()) {
        return Ok(None);
    }
    let y = Axis::from_values(tops.chain(lows));
    let others: Vec<u32> = group
        .sizes(other.of)
        .into_iter()
        .filter(|size| cells.iter().any(|cell| (other.of)(cell.row) == *size && value(cell).is_some()))
        .collect();
    let shown = thinned(&others, PANELS);
    let scale = if y.is_log { ", logarithmic" } else { "" };
    let unit = format!("{}{scale}", measure.unit);
    let mut panels = Vec::new();
    for &size in &shown {
        let series: Vec<(usize, &str, Vec<Point>)> = group
            .series()
            .into_iter()
            .map(|(run, engine)| {
                let mut points: Vec<Point> = cells
                    .iter()
                    .filter(|cell| {
                        cell.run == run && cell.row.key.engine == engine && (other.of)(cell.row) == size
                    })
                    .filter_map(|cell| {
                        let y = value(cell)?;
                        let (batch, prompt) = (cell.row.key.batch_size, cell.row.key.prompt_length);
                        let words = format!(
                            "{} {batch}×{prompt}: {} {}",
                            scene.series(engine, run),
                            number(y),
                            measure.short
                        );
                        Some(Point { x: (x.of)(cell.row).into(), y, spread: spread(cell), words })
                    })
                    .collect();
                points.sort_by(|one, other| one.x.total_cmp(&other.x));
                (run, engine, points)
            })
            .filter(|(_, _, points)| !points.is_empty())
            .collect();
        let names: Vec<String> = series
            .iter()
            .map(|(run, engine, points)| in_words(scene, engine, *run, points, measure))
            .collect();
        let frame = Frame {
            title: format!("{} {size}", other.name),
            description: format!(
                "{} by {} at {} {size}. {}",
                measure.title,
                x.name,
                other.name,
                names.join("; ")
            ),
            unit: &unit,
            below: x.name,
            x: Axis::sizes(&group.sizes(x.of)),
            y: y.clone(),
            size: (350, 240),
            has_columns: false,
            has_rows: true,
        };
        panels.push(frame.draw(|area, pen| {
            series
                .iter()
                .try_for_each(|(run, engine, points)| draw_line(scene, area, pen, engine, *run, points))
        })?);
    }
    let left_out = if shown.len() < others.len() {
        format!(" Only {} of {} {}s are drawn; the table has all.", shown.len(), others.len(), other.name)
    } else {
        String::new()
    };
    let whiskers = measure.spread.map_or("", |_| " Whiskers reach from the minimum to the 95th percentile.");
    Ok(Some(Plot {
        id: format!("{}-by-{}", measure.id, x.id),
        title: format!("{} by {}", measure.title, x.name),
        caption: format!("{}{whiskers}{left_out}", measure.note),
        legend: Legend::of_series(scene, group),
        panels,
        table: table(scene, &cells, measure),
    }))
}

fn in_words(scene: &Scene<'_>, engine: &str, run: usize, points: &[Point], measure: &Measure) -> String {
    let ends = match points {
        [] => String::new(),
        [one] => format!("{} {}", number(one.y), measure.short),
        [first, .., last] => format!("from {} to {} {}", number(first.y), number(last.y), measure.short),
    };
    format!("{}: {ends}", scene.series(engine, run))
}

fn draw_line(
    scene: &Scene<'_>,
    area: &Area,
    pen: &Pen,
    engine: &str,
    run: usize,
    points: &[Point],
) -> DrawingResult {
    for Point { x, spread, .. } in points {
        if let Some((low, high)) = *spread {
            pen.class(&format!("w {}", scene.colour(engine)));
            area.draw(&PathElement::new([(*x, low), (*x, high)], BLACK))?;
        }
    }
    if points.len() > 1 {
        pen.class(&scene.line(engine, run));
        let places: Vec<(f64, f64)> = points.iter().map(|point| (point.x, point.y)).collect();
        area.draw(&PathElement::new(places, BLACK))?;
    }
    for Point { x, y, words, .. } in points {
        pen.mark(&scene.point(engine, run), words);
        mark(area, scene.slot(engine), (*x, *y))?;
    }
    Ok(())
}

fn table(scene: &Scene<'_>, cells: &[MeasuredRow<'_>], measure: &Measure) -> DataTable {
    let mut columns: Vec<String> =
        ["Engine", "Batch Size", "Prompt Length"].map(str::to_owned).into_iter().collect();
    columns.push(format!("{} ({})", measure.title, measure.short));
    if measure.spread.is_some() {
        columns
            .extend([format!("Minimum ({})", measure.short), format!("95th percentile ({})", measure.short)]);
    }
    let row = |cell: &MeasuredRow<'_>| {
        let value = (measure.value)(cell.row, cell.figures)?;
        let mut row = vec![
            scene.series(&cell.row.key.engine, cell.run),
            cell.row.key.batch_size.to_string(),
            cell.row.key.prompt_length.to_string(),
            number(value),
        ];
        if let Some((least, p95)) = measure.spread.map(|spread| spread(cell.figures)) {
            row.extend([number(least), number(p95)]);
        }
        Some(row)
    };
    DataTable { columns, rows: cells.iter().filter_map(row).collect() }
}
