//! Power and clock of the GPU while the cells were measured, one after the other.

use protocol::{GpuSeries, Measurement};
use stats::Summary;

use crate::plot::{Axis, DataTable, Frame, Legend, LegendEntry, MarkLabel, Panel, Plot, number, sign};
use crate::scene::{Group, MOST, Scene};

/// About how many points a line has.
const POINTS: f64 = 400.0;

/// One cell on the axis of time.
struct CellSpan<'a> {
    record: &'a Measurement,
    /// Its index among the cells that the page lists.
    cell: Option<usize>,
    gpu: &'a GpuSeries,
    /// Seconds of all cells before it.
    begin: f64,
}

/// A curve that is drawn of the samples.
struct Curve {
    title: &'static str,
    unit: &'static str,
    of: fn(&GpuSeries) -> Vec<f64>,
}

const CURVES: [Curve; 2] = [
    Curve { title: "Power", unit: "W drawn by the GPU", of: |gpu| gpu.power_watts.clone() },
    Curve {
        title: "Clock",
        unit: "SM clock in MHz",
        of: |gpu| gpu.sm_clock_mhz.iter().map(|&clock| clock.into()).collect(),
    },
];

pub(super) fn gpu_plot(scene: &Scene<'_>, group: &Group<'_>) -> Option<Plot> {
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    let (mut throttled, mut left_out) = (false, 0);
    for (run, table) in &group.tables {
        let mut begin = 0.0;
        let mut spans = Vec::new();
        left_out += table.records().count().saturating_sub(MOST);
        for record in table.records().take(MOST) {
            let Some(gpu) = record.gpu.as_ref().filter(|gpu| gpu.seconds > 0.0) else { continue };
            let cell = group.cell_index(*run, &record.key.engine, record.key.size());
            spans.push(CellSpan { record, cell, gpu, begin });
            begin += gpu.seconds;
        }
        for curve in &CURVES {
            if spans.iter().any(|span| !(curve.of)(span.gpu).is_empty()) {
                let title = format!("{}{}", curve.title, scene.run_suffix(*run));
                panels.push(panel(scene, &title, curve, &spans, begin));
            }
        }
        throttled |= spans.iter().any(|span| is_throttled(span.gpu));
        rows.extend(spans.iter().map(|span| row(scene, *run, span)));
    }
    if panels.is_empty() {
        return None;
    }
    let mut legend = Legend::with_signs(scene, group, |engine| {
        sign(Some(&format!("l {}", scene.colour(engine))), "none", 0)
    });
    if throttled {
        legend.0.push(LegendEntry::plain(
            &sign(None, "throttle", 2),
            "a cell in which the GPU throttled, other than by its power limit",
        ));
    }
    Some(Plot {
        id: "gpu".into(),
        title: "GPU power and clock".into(),
        caption: format!(
            "Cells in the order of measurement; the time between them is left out.{}",
            if left_out > 0 { format!(" The last {left_out} records are not drawn.") } else { String::new() }
        ),
        legend,
        panels,
        table: DataTable::of_cells(
            [
                "Replicate",
                "Seconds",
                "Mean Power (W)",
                "Peak Power (W)",
                "Lowest SM Clock (MHz)",
                "Highest Temperature (°C)",
                "Throttled",
            ]
            .map(str::to_owned),
            rows,
        ),
        reference: None,
    })
}

fn is_throttled(gpu: &GpuSeries) -> bool {
    gpu.throttled_samples.iter().any(|(reason, count)| !reason.is_usual() && *count > 0)
}

fn panel(scene: &Scene<'_>, title: &str, curve: &Curve, spans: &[CellSpan<'_>], end: f64) -> Panel {
    let all: Vec<f64> = spans.iter().flat_map(|span| (curve.of)(span.gpu)).collect();
    let top = all.iter().copied().fold(0.0, f64::max);
    let summary = Summary::from_series(&all);
    let frame = Frame {
        title: title.to_owned(),
        description: format!(
            "{title} over {} s of measurement, {}: {}",
            number(end),
            results::counted(spans.len(), "cell"),
            summary.map_or_else(String::new, |all| format!(
                "from {} to {}, median {}",
                number(all.least),
                number(all.largest),
                number(all.median)
            ))
        ),
        unit: curve.unit,
        below: "seconds of measurement",
        x: Axis::linear(0.0, end),
        y: Axis::linear(0.0, top),
        size: (540, 145),
        has_columns: false,
        has_rows: true,
    };
    let bin = end / POINTS;
    frame.draw(|area| {
        for span in spans {
            let points = binned(&span.gpu.sample_seconds, &(curve.of)(span.gpu), bin);
            let points: Vec<(f64, f64)> = points.into_iter().map(|(x, y)| (x + span.begin, y)).collect();
            if points.is_empty() {
                continue;
            }
            let key = &span.record.key;
            let (engine, class) = (&key.engine, format!("l {}", scene.colour(&key.engine)));
            let title = format!("{engine} {}", key.size());
            let label = MarkLabel { class: &class, title: &title, cell: span.cell };
            area.series(scene.slot(engine), |area| area.line_mark(&label, &points));
            if is_throttled(span.gpu) {
                area.shape("throttle", 2, (span.begin + span.gpu.seconds / 2.0, 0.0));
            }
        }
    })
}

/// Means over bins of so many seconds.
fn binned(seconds: &[f64], figures: &[f64], bin: f64) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut open: Vec<(f64, f64)> = Vec::new();
    let mean = |open: &[(f64, f64)]| {
        let count = open.len() as f64;
        (open.iter().map(|one| one.0).sum::<f64>() / count, open.iter().map(|one| one.1).sum::<f64>() / count)
    };
    for (second, figure) in seconds.iter().zip(figures) {
        if open.first().is_some_and(|first| second - first.0 > bin) {
            points.push(mean(&open));
            open.clear();
        }
        open.push((*second, *figure));
    }
    if !open.is_empty() {
        points.push(mean(&open));
    }
    points
}

fn row(scene: &Scene<'_>, run: usize, span: &CellSpan<'_>) -> Vec<String> {
    let CellSpan { record, gpu, .. } = span;
    let power = Summary::from_series(&gpu.power_watts);
    let none = || "N/A".to_owned();
    let whole = |number: Option<u32>| number.map_or_else(none, |number| number.to_string());
    let reasons: Vec<&str> = gpu.throttled().map(|(reason, _)| reason.words()).collect();
    let figures = [
        record.replicate.to_string(),
        number(gpu.seconds),
        power.map_or_else(none, |power| number(power.mean)),
        power.map_or_else(none, |power| number(power.largest)),
        whole(gpu.sm_clock_mhz.iter().copied().min()),
        whole(gpu.hottest_celsius()),
        reasons.join(", "),
    ];
    scene.cell_head(&record.key, run).into_iter().chain(figures).collect()
}
