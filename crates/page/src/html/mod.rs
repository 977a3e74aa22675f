//! The page: one self-contained file.

mod cells;
mod controls;
mod facts;
mod figure;
mod headline;
mod history;
mod precisions;
mod runs;
mod series;
mod summary;
mod tables;

pub use history::HistoryPage;
pub use runs::{ListedRun, UnreadableFolder, message_page, runs_page};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use results::{Exported, Exporter};

use crate::Plot;
use crate::caveats::{Caveat, caveats};
use crate::plot::{DEFS, palette};
use crate::plots::{self, ModelPrecisions};
use crate::scene::{AuditedRun, Comparison, Group, MOST, Scene};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The most bytes of a page with its raw series, without its style and script: one of less than 10 MB can still be sent and opened.
const MOST_BYTES: usize = 9_900_000;

/// How many caveats are open at once.
const OPEN: usize = 3;
/// The most cases of a caveat that are listed.
const DETAILS: usize = 20;

/// A page on one or several runs.
pub struct Page<'a> {
    runs: &'a [AuditedRun],
    comparisons: &'a [Comparison],
    /// The plots of each group of tables; its overview comes first.
    groups: Vec<Vec<Plot>>,
    /// The plots of each comparison; its overview comes first.
    ratios: Vec<Vec<Plot>>,
    /// The models that a run has in several precisions, and a plot of each.
    precisions: (Vec<ModelPrecisions<'a>>, Vec<Plot>),
}

impl<'a> Page<'a> {
    /// Draws the plots of `runs` and of their comparisons.
    pub fn new(runs: &'a [AuditedRun], comparisons: &'a [Comparison]) -> Self {
        let scene = Scene::new(runs);
        let groups = scene.groups();
        let is_one = groups.len() == 1;
        let of_group = |group: &Group<'_>| {
            let plots = plots::overview_plot(&scene, group).into_iter().chain(plots::of_group(&scene, group));
            plots::named(plots.collect(), (!is_one).then_some(group.id.as_str()))
        };
        let of_comparison = |(index, comparison): (usize, &Comparison)| {
            let overview = plots::overview_of_comparison(&scene, comparison);
            let plots = overview.into_iter().chain(plots::ratio_plots(&scene, comparison));
            let prefix = (comparisons.len() > 1).then(|| format!("c{}", index + 1));
            plots::named(plots.collect(), prefix.as_deref())
        };
        let models = plots::precisions_of_runs(&scene);
        let precision_plots = plots::precision_plots(&scene, &models);
        Self {
            runs,
            comparisons,
            groups: groups.iter().map(of_group).collect(),
            ratios: comparisons.iter().enumerate().map(of_comparison).collect(),
            precisions: (models, precision_plots),
        }
    }

    /// Every plot, in the page's order.
    pub fn plots(&self) -> impl Iterator<Item = &Plot> {
        self.ratios.iter().flatten().chain(&self.precisions.1).chain(self.groups.iter().flatten())
    }

    /// The page as HTML.
    fn html(&self) -> String {
        let scene = Scene::new(self.runs);
        let groups = scene.groups();
        let (models, precision_plots) = &self.precisions;
        let names: Vec<&str> = scene.runs.iter().map(|run| run.name.as_str()).collect();
        let heading = groups.first().map_or("No cells", |group| group.title.as_str());
        let title = results::one_line(&format!("{}: {heading}", names.join(", ")));
        // The first screen has one plot: of the first comparison, of the precisions, or else of the first tables.
        let first = self.plots().next();
        let is_first = |plot: &Plot| first.is_some_and(|first| first.id == plot.id);
        let results = html! {
            (facts::header(&scene, &groups, self.comparisons.len(), !precision_plots.is_empty()))
            (headline::section(&scene, &groups, self.comparisons, models))
            @if let Some(plot) = first { (figure::figure(plot, None)) }
            (caveats_section(self.runs))
            (controls::toolbar(&scene, &groups))
            @for (index, (comparison, plots)) in self.comparisons.iter().zip(&self.ratios).enumerate() {
                (compared(index, comparison, plots, is_first))
            }
            (precisions::section(&scene, models, precision_plots.iter().filter(|plot| !is_first(plot))))
            @for (group, plots) in groups.iter().zip(&self.groups) {
                section id=(group.id) {
                    h2 { @if groups.len() == 1 { "Plots" } @else { (group.title) } }
                    (too_many(group))
                    (figure::contents(plots.iter().filter(|plot| !is_first(plot))))
                    (figure::figures(plots.iter().filter(|plot| !is_first(plot))))
                }
            }
            @if !groups.is_empty() {
                (summary::section(&scene, &groups))
                (tables::section(&scene, &groups))
            }
        };
        let facts = html! {
            (facts::details(&scene))
            (cells::data(&scene, &groups))
        };
        let most = MOST_BYTES.saturating_sub(results.0.len() + facts.0.len());
        let body = html! { (results) (series::section(self.runs, most)) (facts) };
        document(&title, "", &body, SCRIPT)
    }
}

/// One HTML file with everything in it.
#[derive(Debug, Clone, Copy)]
pub struct Html;

impl Exporter<Page<'_>> for Html {
    fn name(&self) -> &'static str {
        "html"
    }

    fn write(&self, page: &Page<'_>) -> Exported {
        page.html().into()
    }
}

/// A document with the page's style, and more where a page has its own; whatever steers its reading is taken out of all texts.
pub(crate) fn document(title: &str, more_style: &str, body: &Markup, script: &str) -> String {
    let (light, dark) = (palette::variables(false), palette::variables(true));
    let style = format!(
        "\n:root{{color-scheme:light dark;{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n\
         @media print{{:root{{color-scheme:light;{light}}}}}\n{}{STYLE}{more_style}",
        palette::sheet()
    );
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; form-action 'self'";
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy);
                title { (title) }
                style { (PreEscaped(style)) }
                // A browser asks a server for an icon that a page does not name.
                link rel="icon" href="data:,";
            }
            body {
                svg class="defs" width="0" height="0" aria-hidden="true" { defs { (PreEscaped(DEFS)) } }
                main { (body) }
                script { (PreEscaped(script)) }
            }
        }
    };
    // Tabs steer nothing: they are between the columns of large tables.
    document.into_string().split('\t').map(results::plain).collect::<Vec<_>>().join("\t")
}

fn too_many(group: &Group<'_>) -> Markup {
    let cells = group.tables.iter().map(|(_, table)| table.rows.len()).max().unwrap_or(0);
    html! {
        @if cells > MOST {
            p { "Only the first " (MOST) " of " (cells) " cells are shown; table.md and summary.csv have all." }
        }
    }
}

fn caveats_section(runs: &[AuditedRun]) -> Markup {
    html! {
        section id="caveats" {
            h2 { "Caveats" }
            @for audited in runs {
                @if runs.len() > 1 { h3 { bdi { (audited.run.name) } } }
                p class="fine" { "Audit: " (audited.audit.summary()) "." }
                (caveat_list(&caveats(audited)))
            }
        }
    }
}

/// The most serious open, notes folded.
fn caveat_list(caveats: &[Caveat]) -> Markup {
    let (serious, notes): (Vec<_>, Vec<_>) =
        caveats.iter().partition(|caveat| caveat.severity != results::NoteSeverity::Info);
    html! {
        @if serious.is_empty() { p class="fine" { "No caveats found." } }
        @else { ul class="caveats" { @for (index, caveat) in serious.iter().enumerate() { (item(caveat, index < OPEN)) } } }
        @if !notes.is_empty() {
            details class="notes" {
                summary { (results::counted(notes.len(), "note")) }
                ul class="caveats" { @for note in &notes { (item(note, false)) } }
            }
        }
    }
}

fn item(caveat: &Caveat, is_open: bool) -> Markup {
    html! {
        li class=(caveat.class()) {
            b { (caveat.word()) } " "
            @if caveat.details.is_empty() { span { (caveat.lead) } }
            @else {
                details open[is_open] {
                    summary { (caveat.lead) }
                    ul {
                        @for detail in caveat.details.iter().take(DETAILS) { li { (detail) } }
                        @if caveat.details.len() > DETAILS {
                            li { "and " (caveat.details.len() - DETAILS) " more: in the notes of table.md, or by `llama2-bench audit --details`" }
                        }
                    }
                }
            }
        }
    }
}

fn compared(
    index: usize,
    comparison: &Comparison,
    plots: &[Plot],
    is_first: impl Fn(&Plot) -> bool,
) -> Markup {
    let Comparison { result, baseline, candidate } = comparison;
    html! {
        section class="compared" id=(format!("compared-{}", index + 1)) {
            h2 { bdi { (candidate) } " compared with " bdi { (baseline) } }
            @match result {
                Err(why) => { p class="refused" { "Not compared: " (why) } }
                Ok(report) => {
                    p { "Verdicts over all cells, metrics and means: " (report.counts().to_string()) "." }
                    (differences(report))
                    (figure::figures(plots.iter().filter(|plot| !is_first(plot))))
                }
            }
        }
    }
}

fn differences(report: &compare::Report) -> Markup {
    let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "none".into());
    let differences = report
        .differences
        .iter()
        .map(|one| format!("{}: {} → {}", one.what, side(&one.baseline), side(&one.candidate)));
    let lines: Vec<String> = differences.chain(report.notes.iter().cloned()).collect();
    html! {
        @if !lines.is_empty() {
            details {
                summary { "Differences and notes" }
                ul { @for line in &lines { li { (line) } } }
            }
        }
    }
}
