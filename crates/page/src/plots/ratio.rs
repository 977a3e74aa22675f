//! A candidate over its baseline, cell by cell, with the ratio's interval.

use compare::{ComparedFigure, ComparedTable, Report, Section};
use indexmap::IndexSet;
use results::format_short;
use stats::Verdict;

use super::{interval_text, short_name};
use crate::plot::{Axis, DataTable, Frame, Legend, LegendEntry, MarkLabel, Panel, Plot, PlotArea, sign};
use crate::scene::{Comparison, Group, Scene};

/// The most lines of a panel.
const LINES: usize = 24;

/// Verdicts: class, slot of the shape, in words.
const VERDICTS: [(Verdict, &str, usize, &str); 5] = [
    (Verdict::Regressed, "regressed", 2, "regressed (slower or larger)"),
    (Verdict::Improved, "improved", 3, "improved (faster or smaller)"),
    (Verdict::Unchanged, "unchanged", 0, "unchanged"),
    (Verdict::Provisional, "inconclusive", 1, "provisional"),
    (Verdict::Inconclusive, "inconclusive", 0, "inconclusive"),
];

/// The run and the table whose cells the marks belong to.
struct CandidateCells<'a> {
    scene: &'a Scene<'a>,
    run: usize,
    group: Option<Group<'a>>,
}

impl<'a> CandidateCells<'a> {
    fn new(scene: &'a Scene<'a>, comparison: &Comparison, table: &ComparedTable) -> Self {
        let last = scene.runs.len().saturating_sub(1);
        let run = scene.runs.iter().rposition(|run| run.name == comparison.candidate).unwrap_or(last);
        let is_table = |group: &Group<'_>| {
            let mut tables = group.tables.iter();
            tables.any(|(of, own)| *of == run && own.heading.to_string() == table.candidate)
        };
        Self { scene, run, group: scene.groups().into_iter().find(is_table) }
    }

    /// The index of a line's cell; `None` for a mean.
    fn index(&self, line: &ComparedFigure) -> Option<usize> {
        self.group.as_ref()?.cell_index(self.run, &line.engine, line.size?)
    }
}

/// A plot for each metric of each table that both runs have.
pub(crate) fn ratio_plots(scene: &Scene<'_>, comparison: &Comparison) -> Vec<Plot> {
    let Ok(report) = &comparison.result else { return Vec::new() };
    let mut plots = Vec::new();
    for (index, table) in report.tables.iter().enumerate() {
        let cells = CandidateCells::new(scene, comparison, table);
        for section in &table.sections {
            plots.push(plot(&cells, report, index, section));
        }
    }
    plots
}

/// The mean of each engine, a panel for each metric of each table; of an engine with a single cell that cell.
pub(crate) fn overview_of_comparison(scene: &Scene<'_>, comparison: &Comparison) -> Option<Plot> {
    let report = comparison.result.as_ref().ok()?;
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    let mut verdicts = Vec::new();
    for table in &report.tables {
        let cells = CandidateCells::new(scene, comparison, table);
        let heading = if report.tables.len() == 1 { String::new() } else { format!("{}: ", table.candidate) };
        for section in &table.sections {
            let alone = |line: &&ComparedFigure| section.means.iter().all(|mean| mean.engine != line.engine);
            let lines: Vec<(String, &ComparedFigure)> = section
                .means
                .iter()
                .chain(section.cells.iter().filter(alone))
                .map(|line| (short_name(&line.engine), line))
                .collect();
            if lines.is_empty() {
                continue;
            }
            let title = format!("{heading}{}", section.metric.title());
            rows.extend(lines.iter().map(|(_, line)| {
                let engine = results::one_line(&line.engine);
                let (ratio, verdict) = (format_short(line.ratio), verdict_word(line.verdict));
                vec![title.clone(), engine, ratio, interval_text(line.interval), verdict]
            }));
            verdicts.extend(lines.iter().map(|(_, line)| line.verdict));
            let reach = reach(lines.iter().map(|(_, line)| *line), section.threshold);
            panels.push(ratio_panel(&cells, title, "", &lines, section.threshold, reach));
        }
    }
    if panels.is_empty() {
        return None;
    }
    let intervals = interval_words(report.lines().map(|(_, line)| line));
    let has_means = report.tables.iter().flat_map(|table| &table.sections).any(|one| !one.means.is_empty());
    let means = if has_means { "Geometric means over the cells. " } else { "" };
    Some(Plot {
        id: "ratio-overview".into(),
        title: format!(
            "{} over {}",
            results::one_line(&report.candidate),
            results::one_line(&report.baseline)
        ),
        caption: format!("{means}Below 1 the candidate is better. {intervals}"),
        legend: Legend(verdict_legend(&verdicts)),
        panels,
        table: DataTable {
            columns: ["Metric", "Engine", "Ratio", "95 % interval", "Verdict"].map(str::to_owned).to_vec(),
            rows,
        },
        reference: None,
    })
}

/// What the bars are, or why there are none.
fn interval_words<'l>(mut lines: impl Iterator<Item = &'l ComparedFigure>) -> &'static str {
    if lines.any(|line| line.interval.is_some()) {
        "Bars are 95 % confidence intervals, where the noise is known."
    } else {
        "No intervals: it is not known how much separate runs differ without a change."
    }
}

/// How far the axis reaches either way, as a logarithm. An interval of three replicates can be without end: what is beyond five times as
/// much stands at the edge.
fn reach<'l>(lines: impl Iterator<Item = &'l ComparedFigure>, threshold: f64) -> f64 {
    let of_line = |line: &ComparedFigure| {
        let interval = line.interval.map_or([line.ratio; 2], |interval| [interval.low, interval.high]);
        interval
            .into_iter()
            .chain([line.ratio])
            .map(|ratio| ratio.ln().abs())
            .filter(|log| log.is_finite())
            .fold(0.0, f64::max)
    };
    lines.map(of_line).fold((1.0 + threshold).ln() * 1.5, f64::max).min(5.0_f64.ln())
}

fn verdict_legend(verdicts: &[Verdict]) -> Vec<LegendEntry> {
    let entry = |(_, class, slot, words): &(Verdict, &str, usize, &str)| {
        let line = format!("<path class=\"ci {class}\" d=\"M1 7L21 7\"/>");
        LegendEntry::plain(&format!("{line}{}", sign(None, class, *slot)), words)
    };
    VERDICTS.iter().filter(|(verdict, ..)| verdicts.contains(verdict)).map(entry).collect()
}

fn verdict_word(verdict: Verdict) -> String {
    match verdict {
        Verdict::Provisional => "provisional".to_owned(),
        verdict => look(verdict).0.to_owned(),
    }
}

fn look(verdict: Verdict) -> (&'static str, usize, &'static str) {
    let (_, class, slot, words) =
        VERDICTS.into_iter().find(|(one, ..)| *one == verdict).unwrap_or(VERDICTS[4]);
    (class, slot, words)
}

fn plot(cells: &CandidateCells<'_>, report: &Report, index: usize, section: &Section) -> Plot {
    let engines: IndexSet<&str> = section.cells.iter().map(|line| line.engine.as_str()).collect();
    let all = || section.cells.iter().chain(&section.means);
    let reach = reach(all(), section.threshold);
    let panel = |engine: &&str| {
        let lines: Vec<(String, &ComparedFigure)> =
            lines(engine, section).into_iter().map(|line| (name(line), line)).collect();
        ratio_panel(cells, results::one_line(engine), "batch × prompt", &lines, section.threshold, reach)
    };
    let panels: Vec<Panel> = if section.cells.len() == engines.len() {
        // Of a cell each, engines stand in one panel.
        let lines: Vec<(String, &ComparedFigure)> =
            section.cells.iter().map(|line| (short_name(&line.engine), line)).collect();
        let sizes = section.cells.first().map(name).unwrap_or_default();
        vec![ratio_panel(cells, sizes, "", &lines, section.threshold, reach)]
    } else {
        engines.iter().map(panel).collect()
    };
    let mut legend = verdict_legend(&all().map(|line| line.verdict).collect::<Vec<_>>());
    let percent = section.threshold * 100.0;
    legend.push(LegendEntry::plain(
        "<rect class=\"zone\" x=\"1\" y=\"1\" width=\"20\" height=\"12\"/>",
        &format!("changes smaller than {percent:.1} % are ignored"),
    ));
    Plot {
        id: format!("ratio-{}-{}", index + 1, section.metric),
        title: format!(
            "{}: {} over {}",
            section.metric.title(),
            results::one_line(&report.candidate),
            results::one_line(&report.baseline)
        ),
        caption: format!(
            "Below 1 the candidate is better. Figures are geometric means of the replicates. {} At most {LINES} cells of each engine are \
             drawn, those that changed most; the data below has all.",
            interval_words(all())
        ),
        legend: Legend(legend),
        panels,
        table: table(section),
        reference: None,
    }
}

/// An engine's mean, then its most changed cells by size.
fn lines<'a>(engine: &str, section: &'a Section) -> Vec<&'a ComparedFigure> {
    let mut cells: Vec<&ComparedFigure> = section.cells.iter().filter(|line| line.engine == engine).collect();
    cells.sort_by(|one, other| other.ratio.ln().abs().total_cmp(&one.ratio.ln().abs()));
    cells.truncate(LINES);
    cells.sort_by_key(|line| line.size);
    let mean = section.means.iter().filter(|line| line.engine == engine);
    mean.chain(cells).collect()
}

fn name(line: &ComparedFigure) -> String {
    line.size.map_or_else(|| "all cells".into(), |size| size.to_string())
}

fn ratio_panel(
    cells: &CandidateCells<'_>,
    title: String,
    unit: &str,
    lines: &[(String, &ComparedFigure)],
    threshold: f64,
    reach: f64,
) -> Panel {
    let count = lines.len();
    let place = |index: usize| (count - index) as f64 - 0.5;
    let ticks: Vec<(f64, String)> =
        lines.iter().enumerate().map(|(index, (name, _))| (place(index), name.clone())).collect();
    let edge = (reach * 1.08).exp();
    let description: Vec<String> = lines
        .iter()
        .take(3)
        .map(|(name, line)| format!("{name} {} ({})", format_short(line.ratio), look(line.verdict).2))
        .collect();
    let frame = Frame {
        description: format!("Ratios of {title}: {}", description.join(", ")),
        title,
        unit,
        below: "candidate / baseline, logarithmic",
        x: Axis::ratios(1.0 / edge, edge),
        y: Axis::with_ticks(0.0, count.max(1) as f64, false, ticks),
        size: (350, 6 + 17 * count as u32),
        has_columns: true,
        has_rows: false,
    };
    frame.draw(|area| {
        let zone = 1.0 + threshold;
        area.rect("zone", (1.0 / zone, count as f64), (zone, 0.0));
        area.line("one", &[(1.0, 0.0), (1.0, count as f64)]);
        lines
            .iter()
            .enumerate()
            .for_each(|(index, (name, line))| draw(cells, area, name, line, place(index)));
    })
}

fn draw(cells: &CandidateCells<'_>, area: &mut PlotArea, name: &str, line: &ComparedFigure, y: f64) {
    let (class, shape, words) = look(line.verdict);
    let cell = cells.index(line);
    let interval = line.interval.map_or_else(String::new, |_| format!(" ({})", interval_text(line.interval)));
    let title = format!("{} {name}: {}{interval}, {words}", line.engine, format_short(line.ratio));
    area.series(cells.scene.slot(&line.engine), |area| {
        if let Some(interval) = line.interval {
            let (class, points) = (format!("ci {class}"), [(interval.low, y), (interval.high, y)]);
            match cell {
                Some(cell) => area.cell_line(&class, cell, &points),
                None => area.line(&class, &points),
            }
        }
        area.shape_mark(&MarkLabel { class, title: &title, cell }, shape, (line.ratio, y));
    });
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
            interval_text(line.interval),
            verdict_word(line.verdict),
        ]
    };
    DataTable {
        columns: ["Engine", "Batch × Prompt", "Baseline", "Candidate", "Ratio", "95 % interval", "Verdict"]
            .map(str::to_owned)
            .to_vec(),
        rows: section.cells.iter().chain(&section.means).map(row).collect(),
    }
}
