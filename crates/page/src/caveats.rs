//! Caveats: reasons to doubt the figures of a run.

use indexmap::{IndexMap, IndexSet};
use protocol::{Environment, Measured, Measurement};
use results::{NoteKind, NoteSeverity, Row, Run, counted, one_line};
use stats::{Replicates, Summary, Trend, changes};

use crate::plot::{FigureQuantity, in_unit};
use crate::scene::{AuditedRun, is_noted};

/// The largest variation of decode forwards without a caveat, as a share of their mean.
const SPREAD: f64 = 0.10;
/// The smallest change within a replicate, or from the first to the last, that is drift.
const DRIFT: f64 = 0.05;
/// The largest ratio of the first token to the median without a caveat.
const SLOW_FIRST: f64 = 2.0;
/// The largest ratio of memory bandwidths that were measured with cells without a caveat.
const BANDWIDTH_SPREAD: f64 = 1.25;
/// The most characters of a note that stands unfolded.
const LEAD: usize = 160;
/// The largest load average at the start of a run without a caveat, as a share of the cores.
const BUSY: f64 = 0.5;

/// A reason to doubt the figures of a run, or a note on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caveat {
    pub(crate) severity: NoteSeverity,
    /// What it is about, in one line.
    pub(crate) lead: String,
    /// Each case, where there are several or one takes more words.
    pub(crate) details: Vec<String>,
}

impl Caveat {
    pub(crate) fn class(&self) -> &'static str {
        match self.severity {
            NoteSeverity::Wrong => "wrong",
            NoteSeverity::Caveat => "caveat",
            NoteSeverity::Info => "note",
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.severity {
            NoteSeverity::Wrong => "Wrong",
            NoteSeverity::Caveat => "Caveat",
            NoteSeverity::Info => "Note",
        }
    }
}

/// All caveats and notes of a run, the most serious first.
pub(crate) fn caveats(AuditedRun { run, audit }: &AuditedRun) -> Vec<Caveat> {
    let mut caveats = Vec::new();
    let mut say = |severity, lead: String| caveats.push(Caveat { severity, lead, details: Vec::new() });
    if run.missing() > 0 {
        let (expected, there) = (run.expected, run.expected - run.missing());
        say(NoteSeverity::Caveat, format!("the run is incomplete: {there} of {expected} records"));
    }
    verified(run, &mut say);
    let parts = run.environments.len();
    if parts > 1 {
        say(NoteSeverity::Caveat, format!("the run has {parts} parts, measured under different conditions"));
    }
    run.environments.iter().take(1).for_each(|environment| machine(environment, &mut say));
    cells(run, &mut say);
    let groups = audit.groups();
    let is_new =
        |group: &&audit::FindingGroup<'_>| !is_noted(group, run.tables.get(group.findings[0].table_index));
    for group in groups.iter().filter(is_new) {
        let severity = match group.severity {
            audit::Severity::Impossible => NoteSeverity::Wrong,
            audit::Severity::Remarkable => NoteSeverity::Caveat,
        };
        let details = group.findings.iter().map(|finding| finding.detail()).collect();
        caveats.push(Caveat { severity, lead: group.lead(), details });
    }
    caveats.extend(noted(run));
    caveats.extend(audit.not_checked.iter().map(|not_checked| Caveat {
        severity: NoteSeverity::Info,
        lead: format!("audit: not checked: {}", one_line(&not_checked.what)),
        details: Vec::new(),
    }));
    caveats.sort_by_key(|caveat| caveat.severity);
    caveats
}

/// The notes under the tables, those of one kind together.
fn noted(run: &Run) -> Vec<Caveat> {
    let mut kinds: IndexMap<(NoteKind, NoteSeverity), IndexSet<&str>> = IndexMap::new();
    let notes = run.tables.iter().flat_map(|table| &table.notes);
    // The audit's own findings are grouped above.
    for note in notes.filter(|note| note.kind != NoteKind::Audit) {
        kinds.entry((note.kind, note.severity)).or_default().insert(&note.text);
    }
    let caveat = |((kind, severity), texts): ((NoteKind, NoteSeverity), IndexSet<&str>)| {
        let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
        match &texts[..] {
            [one] if one.chars().count() <= LEAD => {
                Caveat { severity, lead: one.clone(), details: Vec::new() }
            }
            [_] => Caveat { severity, lead: kind.title().to_owned(), details: texts },
            _ => Caveat {
                severity,
                lead: format!("{}: {}", kind.title(), counted(texts.len(), "note")),
                details: texts,
            },
        }
    };
    kinds.into_iter().map(caveat).collect()
}

/// Engines that were not verified against another.
fn verified(run: &Run, say: &mut impl FnMut(NoteSeverity, String)) {
    let rows = run.tables.iter().flat_map(|table| &table.rows);
    let mut engines: IndexSet<&str> = rows.map(|row| row.key.engine.as_str()).collect();
    engines.sort_unstable();
    let of_engine = |engine: &str| {
        let agreements = run.verifications.iter().flat_map(|one| &one.agreements);
        let answered = agreements.clone().any(|one| one.engine == engine && one.error.is_none());
        let held_against = run
            .verifications
            .iter()
            .any(|one| one.against.as_deref() == Some(engine) && !one.agreements.is_empty());
        answered || held_against
    };
    let not: Vec<String> =
        engines.iter().filter(|engine| !of_engine(engine)).map(|engine| one_line(engine)).collect();
    if !not.is_empty() {
        say(NoteSeverity::Caveat, format!("not verified against another engine: {}", not.join(", ")));
    }
}

fn machine(environment: &Environment, say: &mut impl FnMut(NoteSeverity, String)) {
    let Environment { load_average, cores, cpu_governor, .. } = environment;
    if *load_average > BUSY * f64::from(*cores) {
        say(
            NoteSeverity::Caveat,
            format!(
                "the machine was busy when the run began: load average {load_average:.2} on {cores} cores"
            ),
        );
    }
    if let Some(governor) = cpu_governor.as_deref().filter(|governor| *governor != "performance") {
        say(NoteSeverity::Info, format!("the CPU frequency governor is \"{}\"", one_line(governor)));
    }
    if environment.program.git_revision.as_deref().is_some_and(|revision| revision.ends_with("-dirty")) {
        say(NoteSeverity::Info, "the program was built from a tree with uncommitted changes".into());
    }
}

/// Variation, drift and slow first tokens, with the worst cells.
fn cells(run: &Run, say: &mut impl FnMut(NoteSeverity, String)) {
    let rows: Vec<&Row> = run.tables.iter().flat_map(|table| &table.rows).collect();
    let measured = rows.iter().filter(|row| row.figures.is_some()).count();

    let unsteady = rows.iter().filter_map(|row| {
        let variation = row.figures.as_ref()?.token.variation();
        (variation > SPREAD).then(|| (variation, name(row)))
    });
    if let Some((count, worst, name)) = worst(unsteady) {
        say(
            NoteSeverity::Caveat,
            format!(
                "token latencies vary by more than {:.0} % of their mean in {count} of {} (worst: {:.0} % in {name})",
                SPREAD * 100.0,
                counted(measured, "cell"),
                worst * 100.0
            ),
        );
    }

    let beside: Vec<f64> = rows
        .iter()
        .flat_map(|row| &row.replicates)
        .filter_map(|record| record.read_bytes_per_second)
        .collect();
    if let Some(all) = Summary::from_series(&beside).filter(|all| all.largest > BANDWIDTH_SPREAD * all.least)
    {
        say(
            NoteSeverity::Caveat,
            format!(
                "the bandwidth measured with each cell is between {} and {}: shares of it differ as much",
                in_unit(FigureQuantity::ByteRate, all.least),
                in_unit(FigureQuantity::ByteRate, all.largest)
            ),
        );
    }

    let slow = rows.iter().filter_map(|row| {
        let generations = series(row).flat_map(|series| &series.generations);
        let firsts: Vec<f64> =
            generations.clone().filter_map(|one| one.token_seconds.first().copied()).collect();
        let all: Vec<f64> = generations.flat_map(|one| &one.token_seconds).copied().collect();
        let ratio = Summary::from_series(&firsts)?.median / Summary::from_series(&all)?.median;
        (ratio > SLOW_FIRST).then(|| (ratio, name(row)))
    });
    if let Some((count, worst, name)) = worst(slow) {
        say(
            NoteSeverity::Info,
            format!(
                "the first token takes more than {SLOW_FIRST:.0}× the median in {count} of {} (worst: {worst:.1}× in {name})",
                counted(measured, "cell")
            ),
        );
    }

    let drifts = rows.iter().filter_map(|row| {
        let tokens = |series: &Measured| {
            series.generations.iter().flat_map(|one| &one.token_seconds).copied().collect::<Vec<f64>>()
        };
        let series: Vec<Vec<f64>> = series(row).map(tokens).collect();
        let slices: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
        let within =
            changes(&slices).into_iter().filter(|change| change.exceeds(DRIFT)).map(|change| change.ratio);
        let side = Replicates::medians((0..).zip(slices.iter().copied()));
        let across = side
            .and_then(|side| Trend::fit(&side))
            .filter(|trend| trend.is_drift(DRIFT))
            .map(|trend| trend.ratio);
        let most = within.chain(across).max_by(|one, other| one.ln().abs().total_cmp(&other.ln().abs()))?;
        Some((most, name(row)))
    });
    let drifts: Vec<(f64, String)> = drifts.collect();
    if let Some((most, name)) =
        drifts.iter().max_by(|one, other| one.0.ln().abs().total_cmp(&other.0.ln().abs()))
    {
        say(
            NoteSeverity::Caveat,
            format!(
                "latencies drift in {} of {} (worst: {:+.1} % in {name})",
                drifts.len(),
                counted(measured, "cell"),
                (most - 1.0) * 100.0
            ),
        );
    }
}

fn series(row: &Row) -> impl Iterator<Item = &Measured> + Clone {
    row.replicates.iter().filter_map(Measurement::series)
}

fn name(row: &Row) -> String {
    format!("{} {}", one_line(&row.key.engine), row.key.size())
}

/// How many there are, and the largest.
fn worst(cells: impl Iterator<Item = (f64, String)>) -> Option<(usize, f64, String)> {
    let cells: Vec<(f64, String)> = cells.collect();
    let count = cells.len();
    let (most, name) = cells.into_iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
    Some((count, most, name))
}
