//! The history of a folder's runs, as a web page that `serve` shows.

use compare::history::{History, LevelChange, Series};
use maud::{Markup, html};
use results::{Metric, counted, one_line};

use super::runs::{
    UnreadableFolder, link, minute, navigation, not_shown, short_machine, short_revision, site_page,
};

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

/// Runs with cells in common: a heading, a machine, a procedure.
struct SeriesGroup<'a> {
    number: usize,
    /// Those that are shown.
    series: Vec<&'a Series>,
}

impl HistoryPage<'_> {
    /// The page as HTML.
    pub fn html(&self) -> String {
        let groups = self.groups();
        let differences = self.history.difference_lines();
        let (other, words) = match self.shows_cells {
            true => ("/history", "Show the mean of each engine"),
            false => ("/history?cells=1", "Show every cell"),
        };
        let body = html! {
            (navigation("/history"))
            h1 { "History of " bdi { (one_line(self.folder)) } }
            @if groups.is_empty() {
                p { "There are no figures: the folder has no run with a measured cell." }
            } @else {
                p { (self.introduction()) }
                p { a href=(other) { (words) } }
                @if !differences.is_empty() {
                    p { "These runs are not one series. They differ in:" }
                    ul.fine { @for line in &differences { li { (line) } } }
                }
                @for group in &groups { (self.section(group, groups.len() > 1)) }
            }
            (not_shown(self.unreadable))
        };
        site_page(&format!("History of {}", self.folder), &body)
    }

    fn introduction(&self) -> &'static str {
        match self.shows_cells {
            true => "Each figure is the median of a cell's replicates; less is better.",
            false => {
                "Each figure is an engine's geometric mean over the cells that all of its runs have, of the medians of \
                 their replicates; less is better."
            }
        }
    }

    fn groups(&self) -> Vec<SeriesGroup<'_>> {
        let mut groups: Vec<SeriesGroup<'_>> = Vec::new();
        for series in self.history.series.iter().filter(|series| series.size.is_some() == self.shows_cells) {
            match groups.iter_mut().find(|group| group.number == series.group) {
                Some(group) => group.series.push(series),
                None => groups.push(SeriesGroup { number: series.group, series: vec![series] }),
            }
        }
        groups
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
                    (counted(entries(&group.series).len(), "run")) " · machine " code { (short_machine(&first.machine)) }
                }
                @for (metric, series) in metrics { (self.figure(metric, &series)) }
            }
        }
    }

    fn figure(&self, metric: Metric, series: &[&Series]) -> Markup {
        html! {
            figure {
                h3 { (metric.title()) }
                (changes(series))
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
                        @for one in series { th scope="col" { bdi { (one.name()) } } }
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

/// The entries of the series' runs, in the order of time.
fn entries(series: &[&Series]) -> Vec<usize> {
    let mut entries: Vec<(&str, usize)> =
        series.iter().flat_map(|one| &one.runs).map(|run| (run.started.as_str(), run.entry)).collect();
    entries.sort_unstable();
    entries.dedup();
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// The changes of level in words.
fn changes(series: &[&Series]) -> Markup {
    let changes: Vec<(&Series, &LevelChange)> =
        series.iter().flat_map(|one| one.shifts.iter().map(move |change| (*one, change))).collect();
    html! {
        @if !changes.is_empty() {
            ul.changes {
                @for (series, change) in changes {
                    @let run = &series.runs[change.run];
                    li.better[change.ratio < 1.0].worse[change.ratio >= 1.0] {
                        b { bdi { (series.name()) } } ": " (change.percent()) ", from "
                        (series.metric.format(change.before)) " to "
                        (series.metric.format(change.before * change.ratio)) ", since revision "
                        code { bdi { (short_revision(&run.revision)) } } " (" (minute(&run.started)) ")"
                    }
                }
            }
        }
    }
}
