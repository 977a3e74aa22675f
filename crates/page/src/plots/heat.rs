//! Heat maps of all cells of an engine: batch size × prompt length, darker for larger figures, hatched where there is none.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use results::{Row, counted};

use super::measure::{Measure, TOKEN_LATENCY, TOKEN_THROUGHPUT, number};
use crate::Error;
use crate::plot::palette::HEATS;
use crate::plot::{
    Area, Axis, DataTable, DrawingResult, Frame, Legend, LegendEntry, Panel, Pen, Plot, SMALL, text,
};
use crate::scene::{Group, Scene};

/// The width of a panel in pixels.
const WIDTH: u32 = 350;

pub(super) fn heat_plots(scene: &Scene<'_>, group: &Group<'_>) -> Result<Vec<Plot>, Error> {
    [&TOKEN_LATENCY, &TOKEN_THROUGHPUT].into_iter().map(|measure| plot(scene, group, measure)).collect()
}

/// The scale of one measure: the smallest and the largest figure.
struct ColourScale(f64, f64);

impl ColourScale {
    /// The step of a figure on a logarithmic scale.
    fn step(&self, value: f64) -> usize {
        let Self(least, largest) = *self;
        let share = if largest > least { (value / least).ln() / (largest / least).ln() } else { 0.0 };
        ((share * HEATS as f64) as usize).min(HEATS - 1)
    }
}

fn plot(scene: &Scene<'_>, group: &Group<'_>, measure: &Measure) -> Result<Plot, Error> {
    let values: Vec<f64> =
        group.drawn().iter().filter_map(|cell| (measure.value)(cell.row, cell.figures)).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(0.0, f64::max);
    let scale = ColourScale(least, largest);
    let mut panels = Vec::new();
    for (run, engine) in group.series() {
        panels.push(panel(scene, group, measure, &scale, run, engine)?);
    }
    let mut legend = Vec::new();
    if !values.is_empty() {
        let steps = (0..HEATS).map(|step| {
            format!("<rect class=\"h{step}\" x=\"{}\" y=\"1\" width=\"12\" height=\"12\"/>", step * 12)
        });
        legend.push(LegendEntry {
            sign: steps.collect(),
            width: 96.0,
            words: format!("{} to {} {}, logarithmic", number(least), number(largest), measure.short),
        });
    }
    if group.listed().any(|(_, row)| row.figures.is_none()) {
        legend.push(LegendEntry::new(
            "<rect class=\"oom\" x=\"1\" y=\"1\" width=\"20\" height=\"12\"/>",
            "no figures: OOM (out of memory), or how the cell ended",
        ));
    }
    Ok(Plot {
        id: format!("{}-map", measure.id),
        title: format!("{} of every cell", measure.title),
        caption: format!("One cell per batch size × prompt length. {}", measure.note),
        legend: Legend(legend),
        panels,
        table: table(scene, group, measure),
    })
}

fn panel(
    scene: &Scene<'_>,
    group: &Group<'_>,
    measure: &Measure,
    scale: &ColourScale,
    run: usize,
    engine: &str,
) -> Result<Panel, Error> {
    let batches = group.sizes(|row| row.key.batch_size);
    let prompts = group.sizes(|row| row.key.prompt_length);
    let is_of_series = |(of_run, row): &(usize, &Row)| *of_run == run && row.key.engine == engine;
    let rows: Vec<&Row> = group.listed().filter(is_of_series).map(|(_, row)| row).collect();
    let without = rows.iter().filter(|row| row.figures.is_none()).count();
    let frame = Frame {
        title: scene.series(engine, run),
        description: format!(
            "{} of {}: {}, {without} of them without figures",
            measure.title,
            scene.series(engine, run),
            counted(rows.len(), "cell")
        ),
        unit: &format!("{}; batch size on the vertical axis", measure.short),
        below: "prompt length",
        x: categories(&prompts),
        y: categories(&batches),
        size: (WIDTH, 80 + 28 * batches.len().clamp(2, 12) as u32),
        has_columns: false,
        has_rows: false,
    };
    frame.draw(|area, pen| {
        for row in &rows {
            let place = |sizes: &[u32], size: u32| sizes.iter().position(|other| *other == size).unwrap_or(0);
            let at = (place(&prompts, row.key.prompt_length), place(&batches, row.key.batch_size));
            draw_cell(area, pen, measure, scale, row, at, (prompts.len(), batches.len()))?;
        }
        Ok(())
    })
}

fn draw_cell(
    area: &Area,
    pen: &Pen,
    measure: &Measure,
    scale: &ColourScale,
    row: &Row,
    (column, line): (usize, usize),
    (columns, lines): (usize, usize),
) -> DrawingResult {
    let (x, y) = (column as f64, line as f64);
    let value = row.figures.as_ref().and_then(|figures| (measure.value)(row, figures));
    let (class, words, ink) = match value {
        Some(value) => {
            let step = scale.step(value);
            (format!("cell h{step}"), number(value), if step < 5 { "on0" } else { "on1" })
        }
        None => ("oom".to_owned(), ended(row).to_owned(), "on0"),
    };
    let unit = if value.is_some() { measure.short } else { "" };
    pen.mark(
        &class,
        format!("{} {}×{}: {words} {unit}", row.key.engine, row.key.batch_size, row.key.prompt_length).trim(),
    );
    area.draw(&Rectangle::new([(x, y + 1.0), (x + 1.0, y)], BLACK.filled()))?;
    let room = f64::from(WIDTH - 60) / columns as f64;
    let is_high = 28.0 * lines.clamp(2, 12) as f64 / lines as f64 >= SMALL + 2.0;
    let wide = text::width(&words, SMALL);
    if wide + 4.0 > room || !is_high {
        return Ok(());
    }
    let centre = (x + 0.5, y + 0.5);
    if value.is_none() {
        pen.class("plate");
        let half = (wide * 5.0) as i32 + 10;
        area.draw(&(EmptyElement::at(centre) + Rectangle::new([(-half, -65), (half, 65)], BLACK.filled())))?;
    }
    pen.class(&format!("s {ink}"));
    let style =
        TextStyle::from(("sans-serif", SMALL * 10.0).into_font()).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new(words, centre, style))
}

fn ended(row: &Row) -> &'static str {
    row.failure().map_or("parts", |failure| failure.kind.table_word())
}

fn categories(sizes: &[u32]) -> Axis {
    let ticks = sizes.iter().enumerate().map(|(index, size)| (index as f64 + 0.5, size.to_string()));
    Axis::with_ticks(0.0, sizes.len().max(1) as f64, false, ticks.collect())
}

fn table(scene: &Scene<'_>, group: &Group<'_>, measure: &Measure) -> DataTable {
    let prompts = group.sizes(|row| row.key.prompt_length);
    let mut columns = vec!["Engine".to_owned(), "Batch Size".to_owned()];
    columns.extend(prompts.iter().map(|prompt| format!("Prompt {prompt} ({})", measure.short)));
    let mut rows = Vec::new();
    for (run, engine) in group.series() {
        for batch in group.sizes(|row| row.key.batch_size) {
            let is_in_batch = |(of_run, row): &(usize, &Row)| {
                *of_run == run && row.key.engine == engine && row.key.batch_size == batch
            };
            let batch_rows: Vec<&Row> = group.listed().filter(is_in_batch).map(|(_, row)| row).collect();
            if batch_rows.is_empty() {
                continue;
            }
            let cell = |prompt: &u32| match batch_rows.iter().find(|row| row.key.prompt_length == *prompt) {
                None => String::new(),
                Some(row) => {
                    let value = row.figures.as_ref().and_then(|figures| (measure.value)(row, figures));
                    value.map_or_else(|| ended(row).to_owned(), number)
                }
            };
            let mut line = vec![scene.series(engine, run), batch.to_string()];
            line.extend(prompts.iter().map(cell));
            rows.push(line);
        }
    }
    DataTable { columns, rows }
}
