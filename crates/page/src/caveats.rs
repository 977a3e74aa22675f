//! What a reader must know before believing a run.

use indexmap::IndexSet;
use protocol::{Environment, Measured, Measurement};
use results::{NoteKind, NoteSeverity, Row, Run, one_line};
use stats::{Replicates, Summary, Trend, changes};

use crate::scene::AuditedRun;

/// A cell whose decode forwards vary by more than this share is named.
const SPREAD: f64 = 0.10;
/// A change within a replicate, or from the first to the last, that counts.
const DRIFT: f64 = 0.05;
/// A first token that takes so many times the median is named.
const SLOW_FIRST: f64 = 2.0;
/// A machine that is busier than this share of its cores when a run begins is not ours alone.
const BUSY: f64 = 0.5;

/// A reason to doubt a run's figures, or something to know of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caveat {
    pub(crate) severity: NoteSeverity,
    pub(crate) words: String,
}

impl Caveat {
    pub(crate) fn class(&self) -> &'static str {
        match self.severity {
            NoteSeverity::Wrong => "wrong",
            NoteSeverity::Caveat => "doubt",
            NoteSeverity::Info => "note",
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.severity {
            NoteSeverity::Wrong => "Wrong",
            NoteSeverity::Caveat => "Doubtful",
            NoteSeverity::Info => "Note",
        }
    }
}

/// Everything that a reader must know of a run, the worst first.
pub(crate) fn caveats(AuditedRun { run, audit }: &AuditedRun) -> Vec<Caveat> {
    let mut caveats = Vec::new();
    let mut say = |severity, words: String| caveats.push(Caveat { severity, words });
    for group in audit.groups() {
        let is_wrong = group.severity == audit::Severity::Impossible;
        let severity = if is_wrong { NoteSeverity::Wrong } else { NoteSeverity::Caveat };
        say(severity, format!("audit: {}", group.words()));
    }
    verified(run, &mut say);
    let parts = run.environments.len();
    if parts > 1 {
        say(NoteSeverity::Caveat, format!("the run has {parts} parts, which were measured otherwise"));
    }
    if run.missing() > 0 {
        let (expected, there) = (run.expected, run.expected - run.missing());
        say(
            NoteSeverity::Caveat,
            format!("{there} of {expected} records are there: the run did not go to its end"),
        );
    }
    run.environments.iter().take(1).for_each(|environment| machine(environment, &mut say));
    cells(run, &mut say);
    let notes = || run.tables.iter().flat_map(|table| &table.notes);
    for note in notes().filter(|note| !matches!(note.kind, NoteKind::Audit | NoteKind::Engine)) {
        say(note.severity, note.text.clone());
    }
    for note in notes().filter(|note| note.kind == NoteKind::Engine) {
        say(note.severity, note.text.clone());
    }
    for not_checked in &audit.not_checked {
        say(NoteSeverity::Info, format!("audit: not checked: {}", one_line(&not_checked.what)));
    }
    caveats.sort_by_key(|caveat| caveat.severity);
    caveats
}

/// Engines that nobody held against others.
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
        say(
            NoteSeverity::Caveat,
            format!("nobody checked that these engines compute the same as another: {}", not.join(", ")),
        );
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
        say(NoteSeverity::Info, format!("the processor's frequency governor is \"{}\"", one_line(governor)));
    }
    if environment.program.git_revision.as_deref().is_some_and(|revision| revision.ends_with("-dirty")) {
        say(NoteSeverity::Info, "the program was built from a tree with changes that no commit has".into());
    }
}

/// Spread, drift and slow first tokens, with the cells that have them.
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
                "token latencies vary by more than {:.0} % of their mean in {count} of {measured} cells; most in {name}: {:.0} %",
                SPREAD * 100.0,
                worst * 100.0
            ),
        );
    }

    let slow = rows.iter().filter_map(|row| {
        let generations = series(row).flat_map(|series| &series.generations);
        let firsts: Vec<f64> =
            generations.clone().filter_map(|one| one.token_seconds.first().copied()).collect();
        let all: Vec<f64> = generations.flat_map(|one| &one.token_seconds).copied().collect();
        let ratio = Summary::of(&firsts)?.median / Summary::of(&all)?.median;
        (ratio > SLOW_FIRST).then(|| (ratio, name(row)))
    });
    if let Some((count, worst, name)) = worst(slow) {
        say(
            NoteSeverity::Info,
            format!(
                "the first token takes more than {SLOW_FIRST:.0} times the median in {count} of {measured} cells; most in {name}: {worst:.1} times"
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
            .and_then(|side| Trend::of(&side))
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
                "latencies drift in {} of {measured} cells; most in {name}: {:+.1} %",
                drifts.len(),
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
