//! Heat maps of all cells of an engine: batch size × prompt length, darker for larger figures, hatched where there is none.

use results::{Row, counted};

use super::measure::{Measure, TOKEN_LATENCY, TOKEN_THROUGHPUT};
use crate::plot::palette::HEATS;
use crate::plot::{
    Axis, ChosenUnit, DataTable, Frame, Legend, LegendEntry, MarkLabel, Panel, Plot, PlotArea, SMALL, ends,
    text,
};
use crate::scene::{Group, ListedRow, Scene};

/// The width of a panel in pixels.
const WIDTH: u32 = 350;

pub(super) fn heat_plots(scene: &Scene<'_>, group: &Group<'_>) -> Vec<Plot> {
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

/// What is the same in all panels of a map.
struct HeatMap<'a> {
    scene: &'a Scene<'a>,
    measure: &'a Measure,
    unit: ChosenUnit,
    colours: ColourScale,
    batches: Vec<u32>,
    prompts: Vec<u32>,
}

fn plot(scene: &Scene<'_>, group: &Group<'_>, measure: &Measure) -> Plot {
    let values: Vec<f64> =
        group.measured().iter().filter_map(|cell| (measure.value)(cell.row, cell.figures)).collect();
    let (least, largest) = ends(values.iter().copied());
    let unit = measure.quantity.unit(values.iter().copied());
    let map = HeatMap {
        scene,
        measure,
        unit,
        colours: ColourScale(least, largest),
        batches: group.sizes(|row| row.key.batch_size),
        prompts: group.sizes(|row| row.key.prompt_length),
    };
    let panels = group.series().into_iter().map(|(run, engine)| map.panel(group, run, engine)).collect();
    let mut legend = Vec::new();
    if !values.is_empty() {
        let steps = (0..HEATS).map(|step| {
            format!("<rect class=\"h{step}\" x=\"{}\" y=\"1\" width=\"12\" height=\"12\"/>", step * 12)
        });
        legend.push(LegendEntry {
            sign: steps.collect(),
            width: 96.0,
            words: format!("{} to {}, logarithmic", unit.number(least), unit.text(largest)),
            engine: None,
        });
    }
    if group.listed().any(|cell| cell.row.figures.is_none()) {
        legend.push(LegendEntry::plain(
            "<rect class=\"oom\" x=\"1\" y=\"1\" width=\"20\" height=\"12\"/>",
            "no figures: OOM (out of memory), or how the cell ended",
        ));
    }
    Plot {
        id: format!("{}-map", measure.id),
        title: format!("{} of every cell", measure.title),
        caption: format!("Batch size upwards, prompt length to the right. {}", measure.note),
        legend: Legend(legend),
        panels,
        table: table(scene, group, measure, unit),
        reference: None,
    }
}

impl HeatMap<'_> {
    fn panel(&self, group: &Group<'_>, run: usize, engine: &str) -> Panel {
        let Self { scene, measure, unit, batches, prompts, .. } = self;
        let is_of_series = |cell: &ListedRow<'_>| cell.run == run && cell.row.key.engine == engine;
        let cells: Vec<ListedRow<'_>> = group.listed().filter(is_of_series).collect();
        let without = cells.iter().filter(|cell| cell.row.figures.is_none()).count();
        let names = |sizes: &[u32]| Axis::categories(sizes.iter().map(u32::to_string));
        let frame = Frame {
            title: scene.series(engine, run),
            description: format!(
                "{} of {}: {}, {without} of them without figures",
                measure.title,
                scene.series(engine, run),
                counted(cells.len(), "cell")
            ),
            unit: &measure.axis_words(*unit, false),
            below: "prompt length",
            x: names(prompts),
            y: names(batches),
            size: (WIDTH, self.height()),
            has_columns: false,
            has_rows: false,
        };
        let slot = scene.slot(engine);
        frame.draw(|area| area.series(slot, |area| cells.iter().for_each(|cell| self.draw_cell(area, cell))))
    }

    fn height(&self) -> u32 {
        let rows = self.batches.len().max(2) as u32;
        rows * if rows <= 12 { 28 } else { 15 }
    }

    fn draw_cell(&self, area: &mut PlotArea, cell: &ListedRow<'_>) {
        let Self { measure, unit, colours, batches, prompts, .. } = self;
        let ListedRow { index, row, .. } = *cell;
        let place =
            |sizes: &[u32], size: u32| sizes.iter().position(|other| *other == size).unwrap_or(0) as f64;
        let (x, y) = (place(prompts, row.key.prompt_length), place(batches, row.key.batch_size));
        let value = measure.of(row);
        let (class, words, ink) = match value {
            Some(value) => {
                let step = colours.step(value);
                (format!("cell h{step}"), unit.number(value), if step < 5 { "on0" } else { "on1" })
            }
            None => ("oom".to_owned(), row.outcome_text().to_owned(), "on0"),
        };
        let name = value.map_or("", |_| unit.name);
        let title = format!("{} {}: {words} {name}", row.key.engine, row.key.size());
        let label = MarkLabel { class: &class, title: title.trim(), cell: Some(index) };
        area.rect_mark(&label, (x, y + 1.0), (x + 1.0, y));
        let room = f64::from(WIDTH - 60) / prompts.len() as f64;
        let is_high = f64::from(self.height()) / batches.len() as f64 >= SMALL + 2.0;
        if text::width(&words, SMALL) + 4.0 <= room && is_high {
            area.label(&format!("s {ink}"), &words, (x + 0.5, y + 0.5), value.is_none());
        }
    }
}

fn table(scene: &Scene<'_>, group: &Group<'_>, measure: &Measure, unit: ChosenUnit) -> DataTable {
    let prompts = group.sizes(|row| row.key.prompt_length);
    let mut columns = vec!["Engine".to_owned(), "Batch Size".to_owned()];
    columns.extend(prompts.iter().map(|prompt| format!("Prompt {prompt} ({})", unit.name)));
    let mut rows = Vec::new();
    for (run, engine) in group.series() {
        for batch in group.sizes(|row| row.key.batch_size) {
            let is_in_batch = |cell: &ListedRow<'_>| {
                cell.run == run && cell.row.key.engine == engine && cell.row.key.batch_size == batch
            };
            let batch_rows: Vec<&Row> = group.listed().filter(is_in_batch).map(|cell| cell.row).collect();
            if batch_rows.is_empty() {
                continue;
            }
            let cell = |prompt: &u32| match batch_rows.iter().find(|row| row.key.prompt_length == *prompt) {
                None => String::new(),
                Some(row) => {
                    measure.of(row).map_or_else(|| row.outcome_text().to_owned(), |value| unit.number(value))
                }
            };
            let mut line = vec![scene.series(engine, run), batch.to_string()];
            line.extend(prompts.iter().map(cell));
            rows.push(line);
        }
    }
    DataTable { columns, rows }
}
