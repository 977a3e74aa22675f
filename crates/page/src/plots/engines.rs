//! The cells one above the other, where no line can be drawn through them: a panel for each figure, a bar a cell.

use indexmap::IndexSet;
use results::Row;

use super::measure::{
    DECODE_ENERGY, Measure, PEAK_MEMORY, PREFILL_ENERGY, PROMPT_THROUGHPUT, TOKEN_THROUGHPUT, TOTAL_ENERGY,
    measure_table,
};
use crate::plot::{Axis, Frame, Legend, MarkLabel, Panel, Plot};
use crate::scene::{Group, ListedRow, Scene};

/// The height of an engine, in pixels.
const ROW: u32 = 19;

/// The most bars of a panel.
const BARS: usize = 40;

/// Whether no two cells of an engine share a batch size or a prompt length, so that no line can be drawn through them; and there are few.
pub(super) fn has_no_lines(group: &Group<'_>) -> bool {
    let cells: Vec<ListedRow<'_>> = group.listed().collect();
    let share = |of: fn(&Row) -> u32| {
        let mut met = IndexSet::new();
        cells.iter().any(|cell| !met.insert((cell.run, &cell.row.key.engine, of(cell.row))))
    };
    cells.len() <= BARS && !share(|row| row.key.batch_size) && !share(|row| row.key.prompt_length)
}

/// What the overview does not show: throughput, memory, and on a GPU energy.
pub(super) fn resource_plot(scene: &Scene<'_>, group: &Group<'_>) -> Option<Plot> {
    let measures =
        [&TOKEN_THROUGHPUT, &PROMPT_THROUGHPUT, &PEAK_MEMORY, &PREFILL_ENERGY, &DECODE_ENERGY, &TOTAL_ENERGY];
    engine_plot(scene, group, ("engines", "Throughput and resources"), &measures)
}

/// A plot of those of `measures` that any engine has; `None` where there is none.
pub(super) fn engine_plot(
    scene: &Scene<'_>,
    group: &Group<'_>,
    (id, title): (&str, &str),
    measures: &[&Measure],
) -> Option<Plot> {
    let mut cells: Vec<ListedRow<'_>> = group.listed().collect();
    cells.sort_by_key(|cell| cell.row.key.size());
    let size = cells.first()?.row.key.size();
    let is_single = cells.iter().all(|cell| cell.row.key.size() == size);
    let place = format!(" at batch size {}, prompt length {}", size.batch_size, size.prompt_length);
    let place = if is_single { place } else { String::new() };
    let measures: Vec<&Measure> = measures
        .iter()
        .copied()
        .filter(|measure| cells.iter().any(|cell| measure.of(cell.row).is_some()))
        .collect();
    if measures.is_empty() {
        return None;
    }
    let has_spread = measures.iter().any(|measure| measure.spread.is_some());
    let caption = if has_spread {
        "Means. Shorter is better. Whiskers reach from the minimum to the 99th percentile.".to_owned()
    } else {
        let notes = measures.iter().map(|measure| format!("{}: {}", measure.title, measure.note));
        notes.collect::<Vec<_>>().join(" ")
    };
    Some(Plot {
        id: id.into(),
        title: format!("{title}{place}"),
        caption,
        legend: Legend::of_series(scene, group),
        panels: measures.iter().map(|measure| panel(scene, &cells, measure, is_single)).collect(),
        table: measure_table(scene, &cells, &measures),
        reference: None,
    })
}

fn panel(scene: &Scene<'_>, cells: &[ListedRow<'_>], measure: &Measure, is_single: bool) -> Panel {
    let name_of = |cell: &ListedRow<'_>| {
        let name = scene.series(&cell.row.key.engine, cell.run);
        if is_single { name } else { format!("{} {name}", cell.row.key.size()) }
    };
    let values: Vec<f64> = cells.iter().filter_map(|cell| measure.of(cell.row)).collect();
    let spread = |cell: &ListedRow<'_>| {
        let spread = measure.spread?;
        cell.row.figures.as_ref().map(spread)
    };
    let unit = measure.quantity.unit(values.iter().copied());
    let ends = cells.iter().filter_map(spread).map(|(_, high)| high);
    // Bars begin at 0.
    let most = values.iter().copied().chain(ends).fold(0.0, f64::max);
    let high = cells.len() as f64;
    let place = |index: usize| high - 0.5 - index as f64;
    let names: Vec<(f64, String)> = cells
        .iter()
        .enumerate()
        .map(|(index, cell)| (place(index), crate::plot::text::fit(&name_of(cell), 11.0, 190.0)))
        .collect();
    let described: Vec<String> = cells
        .iter()
        .map(|cell| {
            let figure = measure.of(cell.row);
            let figure = figure.map_or_else(|| cell.row.outcome_text().to_owned(), |value| unit.text(value));
            format!("{} {figure}", name_of(cell))
        })
        .collect();
    let frame = Frame {
        title: measure.title.to_owned(),
        description: described.join(", "),
        unit: "",
        below: &measure.axis_words(unit, false),
        x: Axis::linear(0.0, unit.scale(most)),
        y: Axis::with_ticks(0.0, high.max(1.0), false, names),
        size: (400, (ROW * cells.len() as u32).max(30)),
        has_columns: true,
        has_rows: false,
    };
    frame.draw(|area| {
        for (index, cell) in cells.iter().enumerate() {
            let (engine, y) = (cell.row.key.engine.as_str(), place(index));
            let (slot, name) = (scene.slot(engine), name_of(cell));
            area.series(slot, |area| match measure.of(cell.row) {
                Some(value) => {
                    let title = format!("{name}: {}", unit.text(value));
                    let class = format!("bar {}", scene.filling(engine, cell.run));
                    let label = MarkLabel { class: &class, title: &title, cell: Some(cell.index) };
                    area.bar_mark(&label, [0.0, unit.scale(value)], y, 0.0, f64::from(ROW) - 8.0);
                    if let Some((low, high)) = spread(cell) {
                        let whisker = [(unit.scale(low), y), (unit.scale(high), y)];
                        area.cell_line("ci over", cell.index, &whisker);
                    }
                }
                None => {
                    let title = format!("{name}: {}", cell.row.outcome_text());
                    let class = format!("x {}", scene.colour(engine));
                    let label = MarkLabel { class: &class, title: &title, cell: Some(cell.index) };
                    area.cross_mark(&label, 0, (0.0, y));
                }
            });
        }
    })
}
