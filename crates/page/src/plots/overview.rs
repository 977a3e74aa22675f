//! The first plot of a page: every engine in the headline figures.

use indexmap::IndexSet;
use protocol::CellSize;

use super::engines::{engine_plot, has_no_lines};
use super::measure::{Measure, PROMPT_LATENCY, TOKEN_LATENCY, WALL_CLOCK, measure_table};
use crate::plot::{Anchor, Axis, Frame, Legend, LegendEntry, MarkLabel, Panel, Plot, cross_shift};
use crate::scene::{Group, ListedRow, Scene, thinned};

/// The most cells that are drawn.
const CELLS: usize = 12;
/// The height of a cell, in pixels.
const ROW: u32 = 17;

/// The headline latencies of every engine, cell by cell; `None` where nothing was measured.
pub(crate) fn overview_plot(scene: &Scene<'_>, group: &Group<'_>) -> Option<Plot> {
    let cells: Vec<ListedRow<'_>> = group.listed().collect();
    let mut sizes: Vec<CellSize> = cells.iter().map(|cell| cell.row.key.size()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    if cells.iter().all(|cell| cell.row.figures.is_none()) {
        return None;
    }
    let measures = [&PROMPT_LATENCY, &TOKEN_LATENCY, &WALL_CLOCK];
    if has_no_lines(group) {
        return engine_plot(scene, group, ("overview", "All engines"), &measures);
    }
    let shown = thinned(&sizes, CELLS);
    let panels = measures.iter().map(|measure| panel(scene, &cells, &shown, measure)).collect();
    let left_out = if shown.len() < sizes.len() {
        format!(
            " {} of {} cells of each engine are drawn; the plots below have all.",
            shown.len(),
            sizes.len()
        )
    } else {
        String::new()
    };
    let mut legend = Legend::of_series(scene, group);
    if cells.iter().any(|cell| cell.row.figures.is_none()) {
        legend.0.push(LegendEntry::cross("no figures: out of memory (OOM), or how the cell ended"));
    }
    Some(Plot {
        id: "overview".into(),
        title: "All engines, cell by cell".into(),
        caption: format!("Means. Further left is better.{left_out}"),
        legend,
        panels,
        table: measure_table(scene, &cells, &measures),
        reference: None,
    })
}

fn panel(scene: &Scene<'_>, cells: &[ListedRow<'_>], sizes: &[CellSize], measure: &Measure) -> Panel {
    let value = |cell: &ListedRow<'_>| measure.of(cell.row);
    let own: Vec<&ListedRow<'_>> = cells.iter().filter(|cell| sizes.contains(&cell.row.key.size())).collect();
    let values: Vec<f64> = own.iter().filter_map(|cell| value(cell)).collect();
    let unit = measure.quantity.unit(values.iter().copied());
    let x = Axis::from_values(values.iter().map(|value| unit.scale(*value)));
    let high = sizes.len().max(1) as f64;
    let place =
        |size: CellSize| high - 0.5 - sizes.iter().position(|other| *other == size).unwrap_or(0) as f64;
    let names = sizes.iter().map(|size| (place(*size), size.to_string()));
    let fastest = own
        .iter()
        .filter_map(|cell| Some((value(cell)?, cell)))
        .min_by(|one, other| one.0.total_cmp(&other.0));
    let fastest = fastest.map_or_else(String::new, |(value, cell)| {
        format!("least: {} {}, {}", cell.row.key.engine, cell.row.key.size(), unit.text(value))
    });
    let frame = Frame {
        title: measure.title.to_owned(),
        description: format!(
            "{} of each engine in {}; {fastest}",
            measure.title,
            results::counted(sizes.len(), "cell")
        ),
        unit: "batch × prompt",
        below: &measure.axis_words(unit, x.is_log),
        x,
        y: Axis::with_ticks(0.0, high, false, names),
        size: (350, (ROW * sizes.len() as u32).max(40)),
        has_columns: true,
        has_rows: true,
    };
    frame.draw(|area| {
        let right = area.ends()[1].0;
        for cell in &own {
            let key = &cell.row.key;
            let (slot, name) = (scene.slot(&key.engine), scene.cell(key, cell.run));
            let y = place(key.size());
            match value(cell) {
                Some(value) => {
                    let title = format!("{name}: {}", unit.text(value));
                    let class = scene.point(&key.engine, cell.run);
                    let label = MarkLabel { class: &class, title: &title, cell: Some(cell.index) };
                    area.series(slot, |area| area.shape_mark(&label, slot, (unit.scale(value), y)));
                }
                None => {
                    let title = format!("{name}: {}", cell.row.outcome_text());
                    let class = format!("x {}", scene.colour(&key.engine));
                    let label = MarkLabel { class: &class, title: &title, cell: Some(cell.index) };
                    area.series(slot, |area| area.cross_mark(&label, slot, (right, y)));
                }
            }
        }
        // What the crosses mean stands beside them: they have no place on the axis.
        for size in sizes {
            let ended = own.iter().filter(|cell| cell.row.key.size() == *size && value(cell).is_none());
            let words: IndexSet<&str> = ended.clone().map(|cell| cell.row.outcome_text()).collect();
            let shifts = ended.map(|cell| cross_shift(scene.slot(&cell.row.key.engine)));
            if let Some(shift) = shifts.max_by(f64::total_cmp) {
                let words = words.into_iter().collect::<Vec<_>>().join(", ");
                area.note("u", &words, (right, place(*size)), (-shift - 8.0, 4.0), Anchor::End);
            }
        }
    })
}
