//! The list of the runs of a folder, as a web page that `serve` shows.

use indexmap::IndexSet;
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::{Environment, FailureKind};
use results::{Run, counted, one_line};

use super::document;

const STYLE: &str = include_str!("site.css");

/// Characters of a run's name that stand in a link as they are.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Characters of a revision that are shown.
const REVISION: usize = 12;
/// Characters of a machine's hash that are shown.
const MACHINE: usize = 8;

/// A run in the list of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRun {
    /// Its path below the folder of runs.
    pub name: String,
    /// When it began, UTC.
    pub started: String,
    /// The measured revision.
    pub revision: String,
    /// The hash of the machine, where it is known.
    pub machine: Option<String>,
    /// Device and precision of each table, each once.
    pub devices: Vec<String>,
    /// Its models.
    pub models: Vec<String>,
    /// Its engines.
    pub engines: Vec<String>,
    /// Cells that have records.
    pub cells: usize,
    /// Cells that ran out of memory.
    pub out_of_memory: usize,
    /// Cells that ended otherwise without a figure.
    pub failed: usize,
    /// Records that its sweep asks for and that it lacks.
    pub missing: usize,
    /// Records that its sweep asks for.
    pub expected: usize,
    /// Whether latencies of it are scripted, not measured.
    pub is_scripted: bool,
}

/// A folder or file that is listed with the reason why it is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableFolder {
    /// Its name.
    pub name: String,
    /// Why it can't be read.
    pub reason: String,
}

impl ListedRun {
    /// How many of its records are missing; `None` for a complete run.
    pub fn incomplete(&self) -> Option<String> {
        let expected = counted(self.expected, "record");
        (self.missing > 0).then(|| format!("incomplete: {} of {expected} missing", self.missing))
    }

    /// Summarizes a run.
    pub fn new(name: &str, run: &Run) -> Self {
        let rows = || run.tables.iter().flat_map(|table| &table.rows);
        let ended: Vec<FailureKind> = rows().filter_map(|row| Some(row.failure()?.kind)).collect();
        let out_of_memory = ended.iter().filter(|kind| **kind == FailureKind::OutOfMemory).count();
        let first = run.environments.first();
        let revision = |environment: &Environment| environment.program.git_revision.clone();
        let each =
            |texts: &mut dyn Iterator<Item = String>| texts.collect::<IndexSet<_>>().into_iter().collect();
        let headings = || run.tables.iter().map(|table| &table.heading);
        Self {
            name: name.to_owned(),
            started: first.map_or_else(String::new, |environment| environment.started.clone()),
            revision: first.and_then(revision).unwrap_or_else(|| "unknown".into()),
            machine: first.and_then(|environment| environment.machine.clone()),
            devices: each(&mut headings().map(|heading| {
                let count = if heading.count > 1 { format!("{} × ", heading.count) } else { String::new() };
                let cores = heading.cores.map(|cores| format!(", {}", counted(cores as usize, "core")));
                format!("{count}{}{}", heading.device, cores.unwrap_or_default())
            })),
            models: each(&mut headings().map(|heading| format!("{} {}", heading.model, heading.precision))),
            engines: each(&mut rows().map(|row| row.key.engine.clone())),
            cells: rows().count(),
            out_of_memory,
            failed: ended.len() - out_of_memory,
            missing: run.missing(),
            expected: run.expected,
            is_scripted: rows().any(|row| row.is_scripted),
        }
    }
}

/// The list of runs in the order given, with a form to compare two of them.
pub fn runs_page(folder: &str, runs: &[ListedRun], unreadable: &[UnreadableFolder]) -> String {
    let body = html! {
        (navigation("/"))
        h1 { "Runs in " bdi { (one_line(folder)) } }
        @if runs.is_empty() {
            p { "There is no run in this folder. Measure one: " code { "llama2-bench run --out DIR/NAME" } }
        } @else {
            form action="/compare" method="get" {
                table.runs {
                    thead { tr {
                        th.pick scope="col" { "Baseline" }
                        th.pick scope="col" { "Candidate" }
                        th scope="col" { "Run" }
                        th scope="col" { "Started (UTC)" }
                        th scope="col" { "Revision" }
                        th scope="col" { "Machine" }
                        th scope="col" { "Models" }
                        th scope="col" { "Engines" }
                        th scope="col" { "Cells" }
                    } }
                    tbody { @for run in runs { (row(run)) } }
                }
                @if runs.len() > 1 {
                    div.bar {
                        button type="submit" { "Compare" }
                        span.fine { "Choose a baseline and a candidate above." }
                    }
                }
            }
        }
        (not_shown(unreadable))
    };
    site_page(&format!("Runs in {folder}"), &body)
}

fn row(run: &ListedRun) -> Markup {
    html! {
        tr {
            @for (name, word) in [("baseline", "Baseline"), ("candidate", "Candidate")] {
                td.pick { label {
                    input type="radio" name=(name) value=(run.name) required
                        aria-label=(format!("{word}: {}", one_line(&run.name)));
                    span.only-narrow aria-hidden="true" { (word) }
                } }
            }
            td.name { a href=(link(&run.name)) { bdi { (one_line(&run.name)) } } }
            td data-name="Started" { time datetime=(run.started) { (minute(&run.started)) } }
            td data-name="Revision" { code { bdi { (short_revision(&run.revision)) } } }
            td data-name="Machine" {
                bdi { (one_line(&run.devices.join(", "))) }
                @if let Some(machine) = &run.machine { small { code { (short_machine(machine)) } } }
            }
            td data-name="Models" { bdi { (one_line(&run.models.join(", "))) } }
            td.engines data-name="Engines" {
                bdi { (one_line(&run.engines.join(", "))) }
                @if run.is_scripted { small.caveat { "scripted, not measured" } }
            }
            td.cells data-name="Cells" {
                (run.cells)
                @if run.out_of_memory > 0 { small { (run.out_of_memory) " OOM" } }
                @if run.failed > 0 { small.bad { (run.failed) " failed" } }
                @if let Some(incomplete) = run.incomplete() { small.caveat { (incomplete) } }
                @else { small { "complete" } }
            }
        }
    }
}

/// What is not in a list, and why.
pub(super) fn not_shown(unreadable: &[UnreadableFolder]) -> Markup {
    html! {
        @if !unreadable.is_empty() {
            section id="not-shown" {
                h2 { "Not shown" }
                ul.changes {
                    @for UnreadableFolder { name, reason } in unreadable {
                        li { b { bdi { (one_line(name)) } } ": " (one_line(reason)) }
                    }
                }
            }
        }
    }
}

/// A page with one sentence, such as an error.
pub fn message_page(title: &str, text: &str) -> String {
    let body = html! {
        (navigation(""))
        h1 { (one_line(title)) }
        p { (one_line(text)) }
    };
    site_page(title, &body)
}

/// Links to the pages of the site, `current` among them.
pub(super) fn navigation(current: &str) -> Markup {
    html! {
        nav.site aria-label="Site" {
            @for (href, word) in [("/", "Runs"), ("/history", "History")] {
                a href=(href) aria-current=[(href == current).then_some("page")] { (word) }
            }
        }
    }
}

/// A page of the site, with its own style.
pub(super) fn site_page(title: &str, body: &Markup) -> String {
    document(&one_line(title), STYLE, body, "")
}

/// The link to a run's report.
pub(super) fn link(name: &str) -> String {
    format!("/run/{}", utf8_percent_encode(name, KEPT))
}

/// The first characters of a revision.
pub(super) fn short_revision(revision: &str) -> String {
    one_line(&revision.chars().take(REVISION).collect::<String>())
}

/// The first characters of a machine's hash.
pub(super) fn short_machine(machine: &str) -> String {
    one_line(&machine.chars().take(MACHINE).collect::<String>())
}

/// `2026-11-30T11:34:56Z` as `2026-11-30 11:34`.
pub(super) fn minute(started: &str) -> Markup {
    match started.get(..16).and_then(|minute| minute.split_once('T')) {
        Some((day, time)) => html! { (one_line(day)) " " (one_line(time)) },
        None => html! { (one_line(started)) },
    }
}
