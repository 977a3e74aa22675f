//! The history of a folder's runs, as a web page that `serve` shows.

use compare::history::{History, HistoryRun, Series};
use compare::percent;
use indexmap::{IndexMap, IndexSet};
use maud::{Markup, PreEscaped, html};
use results::{Metric, counted, one_line};
use stats::Shift;

use super::runs::{
    UnreadableFolder, link, minute, navigation, not_shown, short_machine, short_revision, site_page,
};
use crate::plot::svg_of_panel;
use crate::plots::{RUNS, history_panel, history_unit, series_name};

/// The most panels of a page: a browser takes long to lay out more.
const MOST_PANELS: usize = 400;
/// The most groups of runs, and settings in which they differ, that are listed open.
const OPEN: usize = 4;

/// The page of a history.
#[derive(Debug)]
pub struct HistoryPage<'a> {
    /// The folder's name.
    pub folder: &'a str,
    /// The series.
    pub history: &'a History,
    /// The name of the run's folder for each entry of the history, where there is one.
    pub names: &'a [Option<String>],
    /// What is not in the history, and why.
    pub unreadable: &'a [UnreadableFolder],
    /// Whether single cells are shown, and not the mean of each engine.
    pub shows_cells: bool,
}

/// The start and the entry of a run, and an engine.
type RunAndEngine<'a> = (&'a str, usize, &'a str);

/// Runs with cells in common: a heading, a machine, a procedure.
struct SeriesGroup<'a> {
    number: usize,
    /// Those that are shown.
    series: Vec<&'a Series>,
    /// Entries of its runs, in the order of time.
    entries: Vec<usize>,
    /// How many panels of the page are before its own.
    panels_before: usize,
}

impl HistoryPage<'_> {
    /// The page as HTML.
    pub fn html(&self) -> String {
        let (groups, alone) = self.groups();
        let differences = self.history.difference_lines();
        let panels: usize = groups.iter().map(|group| group.series.len()).sum();
        let is_numbered = groups.len() + alone.len() > 1;
        let body = html! {
            (navigation("/history"))
            h1 { "History of " bdi { (one_line(self.folder)) } }
            @if groups.is_empty() && alone.is_empty() {
                p { "There are no figures: the folder has no run with a measured cell." }
            } @else {
                (self.introduction())
                @if panels > MOST_PANELS { p { "Only the first " (MOST_PANELS) " of " (panels) " panels are drawn; the tables have all." } }
                @if !differences.is_empty() {
                    details open[differences.len() <= OPEN && groups.len() + alone.len() <= OPEN] {
                        summary { "These runs are not one series. They differ in " (counted(differences.len(), "setting")) "." }
                        ul.fine { @for line in &differences { li { (line) } } }
                    }
                }
                @for group in &groups { (self.section(group, is_numbered)) }
                (self.alone(&alone))
            }
            (not_shown(self.unreadable))
        };
        site_page(&format!("History of {}", self.folder), &body)
    }

    fn introduction(&self) -> Markup {
        let (what, other, words) = match self.shows_cells {
            true => (
                "Each point is the median of a cell's replicates in one run.",
                "/history",
                "Show the mean of each engine",
            ),
            false => (
                "Each point is one run: the geometric mean over the cells that all complete runs of the engine have, of the \
                 medians of their replicates.",
                "/history?cells=1",
                "Show every cell",
            ),
        };
        html! {
            p.fine {
                (what) " Less is better. A point links to its run's report. Each panel has its own scale, which need not \
                begin at 0. A vertical line marks the first run of a new level, and dashes are the levels." }
            p { a href=(other) { (words) } }
        }
    }

    /// The groups of several runs, the latest first, and those of a single run.
    fn groups(&self) -> (Vec<SeriesGroup<'_>>, Vec<SeriesGroup<'_>>) {
        let mut by_number: IndexMap<usize, Vec<&Series>> = IndexMap::new();
        for series in self.history.series.iter().filter(|series| series.size.is_some() == self.shows_cells) {
            by_number.entry(series.group).or_default().push(series);
        }
        let group = |(number, series): (usize, Vec<_>)| SeriesGroup {
            number,
            entries: entries(&series),
            series,
            panels_before: 0,
        };
        let (mut groups, alone): (Vec<_>, Vec<_>) =
            by_number.into_iter().map(group).partition(|group| group.entries.len() > 1);
        let latest = |group: &SeriesGroup<'_>| {
            group.series.iter().flat_map(|one| &one.runs).map(|run| run.started.clone()).max()
        };
        groups.sort_by_key(|group| std::cmp::Reverse(latest(group)));
        let mut panels = 0;
        for group in &mut groups {
            group.panels_before = panels;
            panels += group.series.len();
        }
        (groups, alone)
    }

    /// Runs that share no series with another.
    fn alone(&self, groups: &[SeriesGroup<'_>]) -> Markup {
        html! {
            @if !groups.is_empty() {
                section id="alone" {
                    h2 { "Runs without another to compare with" }
                    ul.fine {
                        @for group in groups {
                            @let run = &group.series[0].runs[0];
                            li {
                                "(" (group.number) ") " (one_line(&group.series[0].heading)) ": "
                                @match self.names.get(run.entry).and_then(Option::as_ref) {
                                    Some(name) => a href=(link(name)) { bdi { (one_line(name)) } },
                                    None => (self.revision(run)),
                                }
                                ", " (minute(&run.started))
                                (scripted(group))
                            }
                        }
                    }
                }
            }
        }
    }

    fn section(&self, group: &SeriesGroup<'_>, is_numbered: bool) -> Markup {
        let first = group.series[0];
        let metrics = Metric::ALL.into_iter().filter_map(|metric| {
            let series: Vec<&Series> =
                group.series.iter().copied().filter(|series| series.metric == metric).collect();
            (!series.is_empty()).then_some((metric, series))
        });
        html! {
            section id=(format!("g{}", group.number)) {
                h2 { @if is_numbered { "(" (group.number) ") " } (one_line(&first.heading)) }
                p.fine {
                    (counted(group.entries.len(), "run")) " · machine " code { (short_machine(&first.machine)) }
                    (scripted(group))
                }
                (self.changes(group))
                div.metrics { @for (metric, series) in metrics { (self.figure(group, metric, &series)) } }
            }
        }
    }

    /// The changes of level in words: a line per run and engine, the newest first.
    fn changes(&self, group: &SeriesGroup<'_>) -> Markup {
        let mut by_run: IndexMap<RunAndEngine<'_>, Vec<(&Series, &Shift)>> = IndexMap::new();
        for one in &group.series {
            for change in &one.shifts {
                let run = &one.runs[change.run];
                by_run.entry((&run.started, run.entry, &one.engine)).or_default().push((one, change));
            }
        }
        by_run.sort_unstable_by(|one, _, other, _| other.cmp(one));
        html! {
            h3 { "Level changes" }
            @if group.entries.len() < Shift::FEWEST_RUNS { p.fine { "They are found from " (Shift::FEWEST_RUNS) " runs on." } }
            @else if by_run.is_empty() { p.fine { "None of more than " (self.history.threshold()) "." } }
            ul.changes {
                @for ((_, _, engine), changes) in &by_run {
                    @let run = &changes[0].0.runs[changes[0].1.run];
                    @let worse = changes.iter().filter(|(_, change)| change.ratio > 1.0).count();
                    li.worse[worse == changes.len()].better[worse == 0] {
                        b { bdi { (one_line(engine)) } } " since " (self.revision(run)) ", " (minute(&run.started))
                        ul { @for (series, change) in changes { li { (words(series, change)) } } }
                    }
                }
            }
        }
    }

    /// The revision of a run, as a link to its report where there is one.
    fn revision(&self, run: &HistoryRun) -> Markup {
        let revision = html! { code { bdi { (short_revision(&run.revision)) } } };
        match self.link(run) {
            Some(address) => html! { a href=(address) { (revision) } },
            None => revision,
        }
    }

    fn link(&self, run: &HistoryRun) -> Option<String> {
        self.names.get(run.entry)?.as_deref().map(link)
    }

    fn figure(&self, group: &SeriesGroup<'_>, metric: Metric, series: &[&Series]) -> Markup {
        let engines: IndexSet<&str> = group.series.iter().map(|one| one.engine.as_str()).collect();
        let unit = history_unit(metric, series);
        let id = format!("g{}-{}", group.number, metric.name());
        let is_drawn = |one: &&&Series| {
            let place = group.series.iter().position(|other| std::ptr::eq(*other, **one));
            place.is_some_and(|place| group.panels_before + place < MOST_PANELS)
        };
        let longest = series.iter().map(|one| one.runs.len()).max().unwrap_or(0);
        html! {
            figure.plot.single[series.len() == 1] id=(id) {
                h3 { (metric.title()) }
                div.panels {
                    @for one in series.iter().filter(is_drawn) {
                        @let slot = engines.get_index_of(one.engine.as_str()).unwrap_or_default();
                        @let panel = history_panel(one, slot, unit, |run| self.link(run));
                        (PreEscaped(svg_of_panel(&panel)))
                    }
                }
                @if longest > RUNS { p.fine { "Only the last " (RUNS) " of " (longest) " runs are drawn." } }
                details.data {
                    summary { "Data" }
                    (self.table(metric, series))
                }
            }
        }
    }

    /// The figures: a row per run, the newest first, and a column per series.
    fn table(&self, metric: Metric, series: &[&Series]) -> Markup {
        html! {
            div.scroll tabindex="0" role="region" aria-label=(metric.title()) {
                table {
                    thead { tr {
                        @for head in ["Run", "Started (UTC)", "Revision"] { th scope="col" { (head) } }
                        @for one in series { th scope="col" { bdi { (series_name(one)) } } }
                    } }
                    tbody {
                        @for entry in entries(series).into_iter().rev() {
                            @let run = series.iter().flat_map(|one| &one.runs).find(|run| run.entry == entry);
                            @if let Some(run) = run {
                                tr {
                                    td.x {
                                        @if let Some(name) = self.names.get(entry).and_then(Option::as_ref) {
                                            a href=(link(name)) { bdi { (one_line(name)) } }
                                        } @else { "not in this folder" }
                                    }
                                    td { (minute(&run.started)) }
                                    td { bdi { (short_revision(&run.revision)) } }
                                    @for one in series {
                                        td {
                                            @if let Some(run) = one.runs.iter().find(|run| run.entry == entry) {
                                                (metric.format(run.value))
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The engines whose latencies are scripted.
fn scripted(group: &SeriesGroup<'_>) -> Markup {
    let scripted = group.series.iter().filter(|one| one.is_scripted);
    let engines: IndexSet<String> = scripted.map(|one| one_line(&one.engine)).collect();
    html! {
        @if !engines.is_empty() {
            " · " span.caveat { (engines.into_iter().collect::<Vec<_>>().join(", ")) ": scripted, not measured" }
        }
    }
}

/// The entries of the series' runs, in the order of time.
fn entries(series: &[&Series]) -> Vec<usize> {
    let mut entries: Vec<(&str, usize)> =
        series.iter().flat_map(|one| &one.runs).map(|run| (run.started.as_str(), run.entry)).collect();
    entries.sort_unstable();
    entries.dedup();
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// A change of level in words.
fn words(series: &Series, change: &Shift) -> String {
    let size = series.size.map(|size| format!(" {size}")).unwrap_or_default();
    format!(
        "{}{size}: {}, from {} to {}",
        series.metric.title(),
        percent(change.ratio),
        series.metric.format(change.before),
        series.metric.format(change.before * change.ratio)
    )
}
