//! Every cell under what the device was measured to do at most (Williams, Waterman and Patterson, "Roofline", 2009).

use plotters::prelude::*;

use super::measure::number;
use crate::Error;
use crate::plot::{Axis, DataTable, Frame, Legend, LegendEntry, Panel, Plot, mark, sign};
use crate::roofline_cost::{ForwardWork, RooflineScale};
use crate::scene::{Group, MeasuredRow, Scene};

/// A forward of a cell: what it is, how much it does, and in which time.
struct Forward<'a> {
    cell: MeasuredRow<'a>,
    is_decode: bool,
    work: ForwardWork,
    seconds: f64,
}

impl Forward<'_> {
    fn speed(&self) -> f64 {
        self.work.flops / self.seconds / 1e9
    }

    fn name(&self) -> &'static str {
        if self.is_decode { "decode" } else { "prefill" }
    }
}

pub(super) fn roofline_plot(scene: &Scene<'_>, group: &Group<'_>) -> Result<Option<Plot>, Error> {
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    let mut words = Vec::new();
    for (run, table) in &group.tables {
        let Some(scale) = RooflineScale::new(scene.runs[*run], table) else { continue };
        let cells = group.drawn().into_iter().filter(|cell| cell.run == *run);
        let forwards: Vec<Forward<'_>> = cells
            .flat_map(|cell| {
                let decode = scale.decode(&cell, table.key.generation_length);
                let prefill = scale.prefill(&cell);
                [
                    Forward { cell, is_decode: true, work: decode, seconds: cell.figures.token.mean },
                    Forward { cell, is_decode: false, work: prefill, seconds: cell.figures.prompt.mean },
                ]
            })
            .collect();
        if forwards.is_empty() {
            continue;
        }
        let title =
            if scene.runs.len() == 1 { "All cells".to_owned() } else { scene.runs[*run].name.clone() };
        words.extend(peaks_in_words(&scale));
        panels.push(panel(scene, title, &scale, &forwards)?);
        rows.extend(forwards.iter().map(|forward| row(scene, forward)));
    }
    if panels.is_empty() {
        return Ok(None);
    }
    words.dedup();
    let mut legend: Vec<LegendEntry> = Vec::new();
    let mut engines: Vec<&str> = group.series().into_iter().map(|(_, engine)| engine).collect();
    engines.dedup();
    for engine in engines {
        for (class, what) in [("p full", "decode"), ("p", "prefill")] {
            let sign = sign(None, &format!("{class} {}", scene.colour(engine)), scene.slot(engine));
            legend.push(LegendEntry::new(&sign, &format!("{}, {what}", results::one_line(engine))));
        }
    }
    let line = "<path class=\"roof\" d=\"M1 12L10 3L21 3\"/>";
    let unknown = "No peaks were measured, so there is no roofline.";
    let why = if words.is_empty() { format!(" {unknown}") } else { String::new() };
    legend.extend(words.iter().map(|peak| LegendEntry::new(line, &format!("measured peak: {peak}"))));
    Ok(Some(Plot {
        id: "roofline".into(),
        title: "Roofline".into(),
        caption: format!(
            "Speed of each cell by its arithmetic intensity: operations per byte that it must move. Memory bandwidth limits cells under the \
             slope, compute those under the flat part. A cell whose weights fit in a cache can lie above the slope.{why}"
        ),
        legend: Legend(legend),
        panels,
        table: DataTable {
            columns: ["Engine", "Batch Size", "Prompt Length", "Forward", "FLOP/byte", "GFLOP/s", "GB/s"]
                .map(str::to_owned)
                .to_vec(),
            rows,
        },
    }))
}

fn peaks_in_words(scale: &RooflineScale<'_>) -> Vec<String> {
    let Some(peaks) = scale.peaks else { return Vec::new() };
    let by = |peak: &protocol::MeasuredPeak, unit: &str| {
        format!("{} G{unit} ({})", number(peak.per_second * scale.devices / 1e9), results::one_line(&peak.by))
    };
    let read = peaks.read_bytes.as_ref().map(|read| by(read, "B/s"));
    let flops = peaks.flops.get(&scale.precision).map(|flops| by(flops, "FLOP/s"));
    read.into_iter().chain(flops).collect()
}

fn panel(
    scene: &Scene<'_>,
    title: String,
    scale: &RooflineScale<'_>,
    forwards: &[Forward<'_>],
) -> Result<Panel, Error> {
    let (bandwidth, most) =
        (scale.bandwidth().map(|read| read / 1e9), scale.flops().map(|flops| flops / 1e9));
    let ridge = most.zip(bandwidth).map(|(most, bandwidth)| most / bandwidth);
    let x = forwards.iter().map(|forward| forward.work.intensity());
    let (least, largest) = x
        .chain(ridge)
        .fold((f64::INFINITY, 0.0_f64), |(least, largest), value| (least.min(value), largest.max(value)));
    let x = Axis::log(least / 1.5, largest * 2.0);
    let lowest_roof = bandwidth.map(|bandwidth| bandwidth * x.low());
    let speeds = forwards.iter().map(Forward::speed).chain(most).chain(lowest_roof);
    let (slowest, fastest) = speeds
        .fold((f64::INFINITY, 0.0_f64), |(least, largest), value| (least.min(value), largest.max(value)));
    let y = Axis::log(slowest, fastest);
    let roof = |x: f64| {
        let slope = bandwidth.map(|bandwidth| bandwidth * x);
        slope
            .into_iter()
            .chain(most)
            .fold(None, |least: Option<f64>, one| Some(least.map_or(one, |least| least.min(one))))
    };
    let corners: Vec<(f64, f64)> = [Some(x.low()), ridge, Some(x.high())]
        .into_iter()
        .flatten()
        .filter_map(|x| Some((x, roof(x)?)))
        .collect();
    let decodes = forwards.iter().filter(|forward| forward.is_decode).count();
    let peaks = peaks_in_words(scale);
    let frame = Frame {
        description: format!(
            "Roofline of {}, decode and prefill: from {} to {} GFLOP/s; {}",
            results::counted(decodes, "cell"),
            number(forwards.iter().map(Forward::speed).fold(f64::INFINITY, f64::min)),
            number(forwards.iter().map(Forward::speed).fold(0.0, f64::max)),
            if peaks.is_empty() { "no peaks were measured".into() } else { peaks.join(", ") }
        ),
        title,
        unit: "GFLOP/s, logarithmic",
        below: "FLOP/byte, logarithmic",
        x,
        y,
        size: (440, 320),
        has_columns: true,
        has_rows: true,
    };
    frame.draw(|area, pen| {
        if corners.len() > 1 {
            pen.class("roof");
            area.draw(&PathElement::new(corners.clone(), BLACK))?;
        }
        forwards.iter().try_for_each(|forward| {
            let engine = forward.cell.row.key.engine.as_str();
            let class = if forward.is_decode { "p full" } else { "p" };
            let words = format!(
                "{} {}×{} {}: {} GFLOP/s at {} FLOP/byte",
                scene.series(engine, forward.cell.run),
                forward.cell.row.key.batch_size,
                forward.cell.row.key.prompt_length,
                forward.name(),
                number(forward.speed()),
                number(forward.work.intensity())
            );
            pen.mark(&format!("{class} {}", scene.colour(engine)), &words);
            mark(area, scene.slot(engine), (forward.work.intensity(), forward.speed()))
        })
    })
}

fn row(scene: &Scene<'_>, forward: &Forward<'_>) -> Vec<String> {
    vec![
        scene.series(&forward.cell.row.key.engine, forward.cell.run),
        forward.cell.row.key.batch_size.to_string(),
        forward.cell.row.key.prompt_length.to_string(),
        forward.name().to_owned(),
        number(forward.work.intensity()),
        number(forward.speed()),
        number(forward.work.bytes / forward.seconds / 1e9),
    ]
}
