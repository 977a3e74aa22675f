//! A candidate over its baseline, cell by cell, with the ratio's interval.

use compare::{ComparedFigure, Report, Section};
use indexmap::IndexSet;
use plotters::prelude::*;
use results::{Metric, format_short};
use stats::Verdict;

use crate::Error;
use crate::plot::{Area, Axis, DataTable, DrawingResult, Frame, Legend, LegendEntry, Panel, Pen, Plot, sign};

/// The most lines of a panel.
const LINES: usize = 24;

/// Verdicts: class, slot of the shape, in words.
const VERDICTS: [(Verdict, &str, usize, &str); 5] = [
    (Verdict::Regressed, "regressed", 2, "slower or larger"),
    (Verdict::Improved, "improved", 3, "faster or smaller"),
    (Verdict::Unchanged, "unchanged", 0, "unchanged"),
    (Verdict::Provisional, "inconclusive", 0, "provisional"),
    (Verdict::Inconclusive, "inconclusive", 0, "inconclusive"),
];

/// A plot for each metric of each table that both runs have.
pub(crate) fn ratio_plots(report: &Report) -> Result<Vec<Plot>, Error> {
    let mut plots = Vec::new();
    for (index, table) in report.tables.iter().enumerate() {
        for section in table.sections.iter().filter(|section| section.metric != Metric::First128) {
            plots.push(plot(report, index, section)?);
        }
    }
    Ok(plots)
}

fn look(verdict: Verdict) -> (&'static str, usize, &'static str) {
    let (_, class, slot, words) =
        VERDICTS.into_iter().find(|(one, ..)| *one == verdict).unwrap_or(VERDICTS[4]);
    (class, slot, words)
}

fn plot(report: &Report, index: usize, section: &Section) -> Result<Plot, Error> {
    let engines: IndexSet<&str> = section.cells.iter().map(|line| line.engine.as_str()).collect();
    let all = || section.cells.iter().chain(&section.means);
    let reach = |line: &ComparedFigure| {
        let interval = line.interval.map_or([line.ratio; 2], |interval| [interval.low, interval.high]);
        interval
            .into_iter()
            .chain([line.ratio])
            .map(|ratio| ratio.ln().abs())
            .filter(|log| log.is_finite())
            .fold(0.0, f64::max)
    };
    // An interval of three replicates can be without end: what is beyond five times as much stands at the edge.
    let reach = all().map(reach).fold((1.0 + section.threshold).ln() * 1.5, f64::max).min(5.0_f64.ln());
    let panels: Vec<Panel> =
        engines.iter().map(|engine| panel(engine, section, reach)).collect::<Result<_, _>>()?;
    let mut legend: Vec<LegendEntry> = VERDICTS
        .iter()
        .filter(|(verdict, ..)| all().any(|line| line.verdict == *verdict))
        .map(|(_, class, slot, words)| {
            let line = format!("<path class=\"ci {class}\" d=\"M1 7L21 7\"/>");
            LegendEntry::new(&format!("{line}{}", sign(None, class, *slot)), words)
        })
        .collect();
    let percent = section.threshold * 100.0;
    legend.push(LegendEntry::new(
        "<rect class=\"zone\" x=\"1\" y=\"1\" width=\"20\" height=\"12\"/>",
        &format!("changes smaller than {percent:.1} % are ignored"),
    ));
    Ok(Plot {
        id: format!("ratio-{}-{}", index + 1, section.metric),
        title: format!(
            "{}: {} over {}",
            section.metric.title(),
            results::one_line(&report.candidate),
            results::one_line(&report.baseline)
        ),
        caption: format!(
            "Below 1 the candidate is better. Bars are 95 % confidence intervals, where the noise is known. At most {LINES} cells of each \
             engine are drawn, those that changed most; the table has all."
        ),
        legend: Legend(legend),
        panels,
        table: table(section),
    })
}

/// An engine's mean, then its most changed cells in the order of the table.
fn lines<'a>(engine: &str, section: &'a Section) -> Vec<&'a ComparedFigure> {
    let mut cells: Vec<(usize, &ComparedFigure)> =
        section.cells.iter().filter(|line| line.engine == engine).enumerate().collect();
    cells.sort_by(|(_, one), (_, other)| other.ratio.ln().abs().total_cmp(&one.ratio.ln().abs()));
    cells.truncate(LINES);
    cells.sort_by_key(|(place, _)| *place);
    let mean = section.means.iter().filter(|line| line.engine == engine);
    mean.chain(cells.into_iter().map(|(_, line)| line)).collect()
}

fn name(line: &ComparedFigure) -> String {
    line.size.map_or_else(|| "mean".into(), |size| format!("{}×{}", size.batch_size, size.prompt_length))
}

fn interval(line: &ComparedFigure) -> String {
    line.interval.map_or_else(String::new, |interval| {
        format!("{} to {}", format_short(interval.low), format_short(interval.high))
    })
}

fn panel(engine: &str, section: &Section, reach: f64) -> Result<Panel, Error> {
    let lines = lines(engine, section);
    let count = lines.len();
    let place = |index: usize| (count - index) as f64 - 0.5;
    let ticks = lines.iter().enumerate().map(|(index, line)| (place(index), name(line))).collect();
    let edge = (reach * 1.08).exp();
    let description: Vec<String> = lines
        .iter()
        .take(3)
        .map(|line| format!("{} {} ({})", name(line), format_short(line.ratio), look(line.verdict).2))
        .collect();
    let frame = Frame {
        title: results::one_line(engine),
        description: format!("Ratios of {}: {}", results::one_line(engine), description.join(", ")),
        unit: "batch × prompt",
        below: "candidate / baseline, logarithmic",
        x: ratio_axis(edge),
        y: Axis::with_ticks(0.0, count.max(1) as f64, false, ticks),
        size: (350, 82 + 17 * count as u32),
        has_columns: true,
        has_rows: false,
    };
    frame.draw(|area, pen| {
        let zone = 1.0 + section.threshold;
        pen.class("zone");
        area.draw(&Rectangle::new([(1.0 / zone, count as f64), (zone, 0.0)], BLACK.filled()))?;
        pen.class("one");
        area.draw(&PathElement::new([(1.0, 0.0), (1.0, count as f64)], BLACK))?;
        lines.iter().enumerate().try_for_each(|(index, line)| draw(area, pen, line, place(index)))
    })
}

fn draw(area: &Area, pen: &Pen, line: &ComparedFigure, y: f64) -> DrawingResult {
    let (class, slot, words) = look(line.verdict);
    if let Some(interval) = line.interval {
        pen.class(&format!("ci {class}"));
        area.draw(&PathElement::new([(interval.low, y), (interval.high, y)], BLACK))?;
    }
    pen.mark(
        class,
        &format!("{} {}: {} {} {words}", line.engine, name(line), format_short(line.ratio), interval(line)),
    );
    crate::plot::mark(area, slot, (line.ratio, y))
}

/// Around 1, as far in either direction.
fn ratio_axis(edge: f64) -> Axis {
    let steps = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0];
    let step = steps.into_iter().find(|step| edge - 1.0 <= step * 3.2).unwrap_or(3.0);
    let above = (0..=3).map(|count| 1.0 + step * f64::from(count)).filter(|ratio| *ratio <= edge);
    let mut ratios: Vec<f64> = above.flat_map(|ratio| [ratio, 1.0 / ratio]).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.dedup();
    let digits = if step < 0.01 { 3 } else { 2 };
    let ticks = ratios.into_iter().map(|ratio| (ratio, format!("{ratio:.digits$}"))).collect();
    Axis::with_ticks(1.0 / edge, edge, true, ticks)
}

fn table(section: &Section) -> DataTable {
    let metric = section.metric;
    let row = |line: &ComparedFigure| {
        vec![
            results::one_line(&line.engine),
            name(line),
            metric.format(line.baseline.value),
            metric.format(line.candidate.value),
            format_short(line.ratio),
            interval(line),
            match line.verdict {
                Verdict::Provisional => "provisional".to_owned(),
                verdict => look(verdict).0.to_owned(),
            },
        ]
    };
    DataTable {
        columns: ["Engine", "Batch × Prompt", "Baseline", "Candidate", "Ratio", "95 % interval", "Verdict"]
            .map(str::to_owned)
            .to_vec(),
        rows: section.cells.iter().chain(&section.means).map(row).collect(),
    }
}
