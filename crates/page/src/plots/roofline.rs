//! Every cell under what the device was measured to do at most (Williams, Waterman and Patterson, "Roofline", 2009).

use indexmap::IndexSet;

use crate::plot::{
    Anchor, Axis, ChosenUnit, DataTable, FigureQuantity, Frame, Legend, LegendEntry, MarkLabel, Panel, Plot,
    ends, in_unit, number, sign,
};
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
    /// Operations a second.
    fn speed(&self) -> f64 {
        self.work.flops / self.seconds
    }

    fn name(&self) -> &'static str {
        if self.is_decode { "decode" } else { "prefill" }
    }
}

pub(super) fn roofline_plot(scene: &Scene<'_>, group: &Group<'_>) -> Option<Plot> {
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    let mut words = Vec::new();
    let mut has_sustained = false;
    for (run, table) in &group.tables {
        let Some(scale) = RooflineScale::new(scene.runs[*run], table) else { continue };
        let cells = group.measured().into_iter().filter(|cell| cell.run == *run);
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
        words.extend(scale.peaks_in_words());
        has_sustained |= scale.sustained_flops().is_some();
        panels.push(panel(scene, title, &scale, &forwards));
        let unit = FigureQuantity::FlopRate.unit(forwards.iter().map(Forward::speed));
        rows.extend(forwards.iter().map(|forward| row(scene, forward, unit)));
    }
    if panels.is_empty() {
        return None;
    }
    words.dedup();
    let mut legend: Vec<LegendEntry> = Vec::new();
    let engines: IndexSet<&str> = group.series().into_iter().map(|(_, engine)| engine).collect();
    for engine in engines {
        let slot = scene.slot(engine);
        for (class, what) in [("p full", "decode"), ("p", "prefill")] {
            let sign = sign(None, &format!("{class} {}", scene.colour(engine)), slot);
            legend.push(LegendEntry::of_engine(
                slot,
                &sign,
                &format!("{}, {what}", results::one_line(engine)),
            ));
        }
    }
    let roofs = match (words.is_empty(), has_sustained) {
        (true, _) => "No peak was measured, so there is no roof.",
        (false, true) => "The solid roof is the burst peak, the dashed one the sustained peak.",
        (false, false) => "The roof is the burst peak; no sustained peak was measured.",
    };
    let is_beside = group.measured().iter().any(|cell| cell.row.efficiency.read_bytes_per_second.is_some());
    let beside = if is_beside {
        " The slope is the highest bandwidth of the run; the tables' shares are of the bandwidth measured with each cell."
    } else {
        ""
    };
    for peak in &words {
        let dash = if peak.starts_with("sustained") { " d1" } else { "" };
        let line = format!("<path class=\"roof{dash}\" d=\"M1 12L10 3L21 3\"/>");
        legend.push(LegendEntry::plain(&line, &format!("measured {peak}")));
    }
    Some(Plot {
        id: "roofline".into(),
        title: "Roofline".into(),
        caption: format!(
            "Speed of each cell by its arithmetic intensity: operations per byte that it must move. Left of the knee memory bandwidth is the \
             limit, right of it compute. A cell whose weights fit in a cache can lie above the slope. {roofs}{beside}"
        ),
        legend: Legend(legend),
        panels,
        table: DataTable::of_cells(
            ["Forward", "Arithmetic Intensity (FLOP/byte)", "Speed", "Bandwidth"].map(str::to_owned),
            rows,
        ),
        reference: None,
    })
}

fn panel(scene: &Scene<'_>, title: String, scale: &RooflineScale<'_>, forwards: &[Forward<'_>]) -> Panel {
    let (bandwidth, burst, sustained) = (scale.bandwidth(), scale.flops(), scale.sustained_flops());
    let ridge = burst.zip(bandwidth).map(|(most, bandwidth)| most / bandwidth);
    let (least, largest) = ends(forwards.iter().map(|forward| forward.work.intensity()).chain(ridge));
    let x = Axis::log(least / 1.5, largest * 2.0);
    let lowest_roof = bandwidth.map(|bandwidth| bandwidth * x.low());
    let speeds = || forwards.iter().map(Forward::speed).chain(burst).chain(sustained).chain(lowest_roof);
    let unit = FigureQuantity::FlopRate.unit(speeds());
    let (slowest, fastest) = ends(speeds().map(|speed| unit.scale(speed)));
    let peaks = scale.peaks_in_words();
    let (slowest_cell, fastest_cell) = ends(forwards.iter().map(Forward::speed));
    let frame = Frame {
        description: format!(
            "Roofline of {}, decode and prefill: from {} to {}; {}",
            results::counted(forwards.len() / 2, "cell"),
            in_unit(FigureQuantity::FlopRate, slowest_cell),
            in_unit(FigureQuantity::FlopRate, fastest_cell),
            if peaks.is_empty() { "no peaks were measured".into() } else { peaks.join(", ") }
        ),
        title,
        unit: &format!("{}, logarithmic", unit.name),
        below: "arithmetic intensity in FLOP/byte, logarithmic",
        y: Axis::log(slowest, fastest),
        x,
        size: (540, 300),
        has_columns: true,
        has_rows: true,
    };
    frame.draw(|area| {
        let [(left, _), (right, _)] = area.ends();
        let roof = |most: Option<f64>| -> Vec<(f64, f64)> {
            let ridge = most.zip(bandwidth).map(|(most, bandwidth)| most / bandwidth);
            let at = |x: f64| {
                let slope = bandwidth.map(|bandwidth| bandwidth * x);
                slope.into_iter().chain(most).reduce(f64::min).map(|speed| (x, unit.scale(speed)))
            };
            [Some(left), ridge, Some(right)].into_iter().flatten().filter_map(at).collect()
        };
        // The sustained roof is drawn where it is not the burst roof: from where the slope reaches it.
        if let Some(most) = sustained {
            let from = bandwidth.map_or(left, |bandwidth| (most / bandwidth).clamp(left, right));
            area.line("roof d1", &[(from, unit.scale(most)), (right, unit.scale(most))]);
        }
        let corners = roof(burst);
        if corners.len() > 1 {
            area.line("roof", &corners);
            let (_, top) = corners[corners.len() - 1];
            let words = if burst.is_some() { "burst peak" } else { "peak bandwidth" };
            area.note("u", words, (right, top), (-2.0, -4.0), Anchor::End);
        }
        for forward in forwards {
            let engine = forward.cell.row.key.engine.as_str();
            let slot = scene.slot(engine);
            let class = if forward.is_decode { "p full" } else { "p" };
            let class = format!("{class} {}", scene.colour(engine));
            let words = format!(
                "{} {}: {} at {} FLOP/byte",
                scene.cell(&forward.cell.row.key, forward.cell.run),
                forward.name(),
                in_unit(FigureQuantity::FlopRate, forward.speed()),
                number(forward.work.intensity())
            );
            let label = MarkLabel { class: &class, title: &words, cell: Some(forward.cell.index) };
            let at = (forward.work.intensity(), unit.scale(forward.speed()));
            area.series(slot, |area| area.shape_mark(&label, slot, at));
        }
    })
}

fn row(scene: &Scene<'_>, forward: &Forward<'_>, unit: ChosenUnit) -> Vec<String> {
    let figures = [
        forward.name().to_owned(),
        number(forward.work.intensity()),
        unit.text(forward.speed()),
        in_unit(FigureQuantity::ByteRate, forward.work.bytes / forward.seconds),
    ];
    scene.cell_head(&forward.cell.row.key, forward.cell.run).into_iter().chain(figures).collect()
}
