//! The token latencies of every cell as a box: quartiles, with the median, the 90th and the 99th percentile marked.

use protocol::Measurement;
use stats::quantile;

use super::short_name;
use crate::plot::{
    Axis, ChosenUnit, DataTable, FigureQuantity, Frame, Legend, LegendEntry, MarkLabel, Panel, Plot, PlotArea,
};
use crate::scene::{Group, MeasuredRow, Scene};

/// The most boxes of a panel.
const BOXES: usize = 48;
/// The height of a box with its gap, in pixels.
const ROW: f64 = 11.0;
/// The same where each box has its engine's name.
const NAMED_ROW: f64 = 15.0;
/// The gap between the boxes of two prompt lengths, in boxes.
const GAP: f64 = 0.9;

/// Quantiles of a cell's token latencies. Seconds.
struct TokenBox<'a> {
    cell: MeasuredRow<'a>,
    least: f64,
    quartiles: [f64; 2],
    median: f64,
    p90: f64,
    p99: f64,
}

pub(super) fn distribution_plot(scene: &Scene<'_>, group: &Group<'_>) -> Option<Plot> {
    let boxes: Vec<TokenBox<'_>> = group.measured().into_iter().filter_map(token_box).collect();
    if boxes.is_empty() {
        return None;
    }
    let unit = FigureQuantity::Time.unit(boxes.iter().map(|one| one.median));
    let ends = boxes.iter().flat_map(|one| [one.least, one.p99]).map(|seconds| unit.scale(seconds));
    let x = Axis::from_values(ends);
    let mut panels = Vec::new();
    for batch in group.sizes(|row| row.key.batch_size) {
        let mut own: Vec<&TokenBox<'_>> =
            boxes.iter().filter(|one| one.cell.row.key.batch_size == batch).collect();
        // Engines of one prompt length stand together.
        own.sort_by_key(|one| {
            (one.cell.row.key.prompt_length, one.cell.run, scene.slot(&one.cell.row.key.engine))
        });
        let count = own.len().div_ceil(BOXES);
        for (index, part) in own.chunks(BOXES).enumerate() {
            let part_name = if count > 1 { format!(" ({} of {count})", index + 1) } else { String::new() };
            panels.push(panel(scene, part, &format!("batch size {batch}{part_name}"), unit, &x));
        }
    }
    let mut legend = Legend::with_signs(scene, group, |engine| {
        format!("<rect class=\"box {}\" x=\"1\" y=\"3\" width=\"20\" height=\"8\"/>", scene.colour(engine))
    });
    legend.0.push(LegendEntry::plain(
        "<path class=\"axis\" d=\"M0 7L22 7M6 3L6 11M14 4.5L14 9.5M22 4.5L22 9.5\"/>",
        "p50, p90, p99",
    ));
    let row = |one: &TokenBox<'_>| {
        let head = scene.cell_head(&one.cell.row.key, one.cell.run);
        let [first, third] = one.quartiles;
        let figures = [one.least, first, one.median, third, one.p90, one.p99];
        head.into_iter().chain(figures.map(|seconds| unit.number(seconds))).collect()
    };
    let quantiles = ["Minimum", "First quartile", "p50", "Third quartile", "p90", "p99"];
    let figures = quantiles.map(|name| format!("{name} ({})", unit.name));
    Some(Plot {
        id: "token-distribution".into(),
        title: "Distribution of token latencies".into(),
        caption: "All decode forwards of all generations and replicates of a cell. The box reaches from the first to the third quartile, the \
                  line from the minimum to the 99th percentile; the ticks are p50, p90 and p99."
            .into(),
        legend,
        panels,
        table: DataTable::of_cells(figures, boxes.iter().map(row).collect()),
        reference: None,
    })
}

fn token_box(cell: MeasuredRow<'_>) -> Option<TokenBox<'_>> {
    let series = cell.row.replicates.iter().filter_map(Measurement::series);
    let mut all: Vec<f64> =
        series.flat_map(|series| &series.generations).flat_map(|one| &one.token_seconds).copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    let least = *all.first()?;
    let [first, median, third, p90, p99] = [0.25, 0.5, 0.75, 0.9, 0.99].map(|q| quantile(&all, q));
    Some(TokenBox { cell, least, quartiles: [first, third], median, p90, p99 })
}

fn panel(scene: &Scene<'_>, boxes: &[&TokenBox<'_>], title: &str, unit: ChosenUnit, x: &Axis) -> Panel {
    // From above: boxes of one prompt length, a gap, those of the next.
    let mut at = GAP / 2.0;
    let mut places = Vec::new();
    let mut prompts: Vec<(u32, f64, f64)> = Vec::new();
    for one in boxes {
        let prompt = one.cell.row.key.prompt_length;
        match prompts.last_mut() {
            Some((last, _, end)) if *last == prompt => *end = at + 1.0,
            _ => {
                if !prompts.is_empty() {
                    at += GAP;
                }
                prompts.push((prompt, at, at + 1.0));
            }
        }
        places.push(at + 0.5);
        at += 1.0;
    }
    let high = at + GAP / 2.0;
    // Of a single cell there is room for the engines' names.
    let is_single = prompts.len() == 1;
    let row = if is_single { NAMED_ROW } else { ROW };
    let ticks: Vec<(f64, String)> = if is_single {
        let name = |one: &&TokenBox<'_>| scene.series(&one.cell.row.key.engine, one.cell.run);
        let names = boxes.iter().map(|one| short_name(&name(one)));
        places.iter().map(|place| high - place).zip(names).collect()
    } else {
        prompts.iter().map(|(prompt, begin, end)| (high - (begin + end) / 2.0, prompt.to_string())).collect()
    };
    let title = match prompts[..] {
        [(prompt, ..)] => format!("{title}, prompt length {prompt}"),
        _ => title.to_owned(),
    };
    let worst =
        boxes.iter().max_by(|one, other| (one.p99 / one.median).total_cmp(&(other.p99 / other.median)));
    let worst = worst.map_or_else(String::new, |worst| {
        let key = &worst.cell.row.key;
        format!(
            "widest tail: {} {}, p50 {}, p99 {}",
            key.engine,
            key.size(),
            unit.text(worst.median),
            unit.text(worst.p99)
        )
    });
    let frame = Frame {
        title: title.clone(),
        description: format!(
            "Token latencies of {} at {title}; {worst}",
            results::counted(boxes.len(), "cell")
        ),
        unit: if is_single { "" } else { "prompt length on the vertical axis" },
        below: &format!("{} per decode forward{}", unit.name, x.scale_words()),
        x: x.clone(),
        y: Axis::with_ticks(0.0, high, false, ticks),
        size: (350, (high * row).ceil().max(40.0) as u32),
        has_columns: true,
        has_rows: false,
    };
    frame.draw(|area| {
        for (one, place) in boxes.iter().zip(&places) {
            area.series(scene.slot(&one.cell.row.key.engine), |area| {
                draw(scene, area, one, high - place, row, unit);
            });
        }
    })
}

fn draw(scene: &Scene<'_>, area: &mut PlotArea, one: &TokenBox<'_>, y: f64, row: f64, unit: ChosenUnit) {
    let key = &one.cell.row.key;
    let colour = scene.colour(&key.engine);
    let [least, first, median, third, p90, p99] =
        [one.least, one.quartiles[0], one.median, one.quartiles[1], one.p90, one.p99]
            .map(|value| unit.scale(value));
    let cell = one.cell.index;
    area.cell_line(&format!("w {colour}"), cell, &[(least, y), (p99, y)]);
    let title = format!(
        "{}: p50 {}, p90 {}, p99 {}",
        scene.cell(key, one.cell.run),
        unit.number(one.median),
        unit.number(one.p90),
        unit.text(one.p99)
    );
    let class = format!("box {}", scene.filling(&key.engine, one.cell.run));
    let label = MarkLabel { class: &class, title: &title, cell: Some(cell) };
    area.bar_mark(&label, [first, third], y, 0.0, row - 3.0);
    let ticks = [(median, 0.46), (p90, 0.3), (p99, 0.3)];
    area.cell_ticks(&format!("q {colour}"), cell, &ticks.map(|(x, half)| [(x, y - half), (x, y + half)]));
}
