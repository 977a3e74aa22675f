//! What a reader must know before believing a run.

use std::collections::BTreeMap;

use audit::Severity;
use protocol::{Environment, Measurement, Outcome};
use results::{Row, one_line};
use stats::{Launches, Summary, Trend, changes};

use crate::scene::Run;

/// A cell whose decode forwards vary by more than this share is named.
const SPREAD: f64 = 0.10;
/// A change within a launch, or from the first to the last, that counts.
const DRIFT: f64 = 0.05;
/// A first token that takes so many times the median is named.
const SLOW_FIRST: f64 = 2.0;
/// A machine that is busier than this share of its cores when a run begins is not ours alone.
const BUSY: f64 = 0.5;

/// How much it weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// A figure can't be true, or an engine computes something else.
    Wrong,
    /// Figures may not be what they seem.
    Doubt,
    /// To be known.
    Note,
}

/// Something that speaks against a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub(crate) weight: Weight,
    pub(crate) words: String,
}

impl Weight {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Doubt => "doubt",
            Self::Note => "note",
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Wrong => "Wrong",
            Self::Doubt => "Doubtful",
            Self::Note => "Note",
        }
    }
}

/// Everything that speaks against a run, the worst first.
pub(crate) fn of(run: &Run) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let mut say = |weight, words: String| doubts.push(Doubt { weight, words });
    for finding in &run.audit.findings {
        let weight = if finding.severity == Severity::Impossible { Weight::Wrong } else { Weight::Doubt };
        say(weight, format!("audit: {}", finding.words()));
    }
    verified(run, &mut say);
    if run.environments.len() > 1 {
        say(
            Weight::Doubt,
            format!("the run has {} parts, which were measured otherwise", run.environments.len()),
        );
    }
    if run.records.len() < run.expected {
        say(
            Weight::Doubt,
            format!(
                "{} of {} records are there: the run did not go to its end",
                run.records.len(),
                run.expected
            ),
        );
    }
    run.environments.iter().take(1).for_each(|environment| machine(environment, &mut say));
    cells(run, &mut say);
    for note in run.tables.iter().flat_map(|table| &table.notes) {
        let is_wrong = note.contains("computes something else") || note.contains("chooses other tokens");
        let is_doubt = note.contains("held down") || note.contains("own clock") || note.contains("parts");
        let weight = match () {
            () if is_wrong => Weight::Wrong,
            () if is_doubt => Weight::Doubt,
            () => Weight::Note,
        };
        say(weight, note.clone());
    }
    for note in run.tables.iter().flat_map(|table| &table.engine_notes) {
        say(Weight::Note, note.clone());
    }
    for not_checked in &run.audit.not_checked {
        say(Weight::Note, format!("audit: not checked: {}", one_line(&not_checked.what)));
    }
    doubts.sort_by_key(|doubt| doubt.weight);
    doubts
}

/// Engines that nobody held against others.
fn verified(run: &Run, say: &mut impl FnMut(Weight, String)) {
    let mut engines: Vec<&str> = run.records.iter().map(|record| record.engine.as_str()).collect();
    engines.sort_unstable();
    engines.dedup();
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
            Weight::Doubt,
            format!("nobody checked that these engines compute the same as another: {}", not.join(", ")),
        );
    }
    let scripted: Vec<&str> = run
        .environments
        .iter()
        .flat_map(|environment| &environment.engines)
        .filter(|(_, hello)| hello.virtual_clock)
        .map(|(engine, _)| engine.as_str())
        .collect();
    if !scripted.is_empty() {
        say(
            Weight::Wrong,
            format!("latencies of {} are scripted, not measured", one_line(&scripted.join(", "))),
        );
    }
}

fn machine(environment: &Environment, say: &mut impl FnMut(Weight, String)) {
    let Environment { load_average, cores, cpu_governor, .. } = environment;
    if *load_average > BUSY * f64::from(*cores) {
        say(
            Weight::Doubt,
            format!(
                "the machine was busy when the run began: load average {load_average:.2} on {cores} cores"
            ),
        );
    }
    if let Some(governor) = cpu_governor.as_deref().filter(|governor| *governor != "performance") {
        say(Weight::Note, format!("the processor's frequency governor is \"{}\"", one_line(governor)));
    }
    if environment.program.git_revision.as_deref().is_some_and(|revision| revision.ends_with("-dirty")) {
        say(Weight::Note, "the program was built from a tree with changes that no commit has".into());
    }
}

/// Spread, drift and slow first tokens, with the cells that have them.
fn cells(run: &Run, say: &mut impl FnMut(Weight, String)) {
    /// The table's place, engine, batch size, prompt length.
    type Key<'a> = (usize, &'a str, u32, u32);
    let mut launches: BTreeMap<Key<'_>, Vec<&Measurement>> = BTreeMap::new();
    for (place, table) in run.tables.iter().enumerate() {
        for record in run.records_of(table).into_iter().filter(|record| record.outcome == Outcome::Ok) {
            let key = (place, record.engine.as_str(), record.batch_size, record.prompt_length);
            launches.entry(key).or_default().push(record);
        }
    }
    let rows: Vec<&Row> = run.tables.iter().flat_map(|table| &table.rows).collect();
    let measured = rows.iter().filter(|row| row.figures.is_some()).count();

    let unsteady = rows.iter().filter_map(|row| {
        let variation = row.figures.as_ref()?.token.variation();
        (variation > SPREAD).then(|| (variation, cell(&row.engine, row.batch_size, row.prompt_length)))
    });
    if let Some((count, worst, name)) = worst(unsteady) {
        say(
            Weight::Doubt,
            format!(
                "token latencies vary by more than {:.0} % of their mean in {count} of {measured} cells; most in {name}: {:.0} %",
                SPREAD * 100.0,
                worst * 100.0
            ),
        );
    }

    let slow = launches.iter().filter_map(|((_, engine, batch, prompt), records)| {
        let generations = records.iter().flat_map(|record| &record.generations);
        let firsts: Vec<f64> =
            generations.clone().filter_map(|one| one.token_seconds.first().copied()).collect();
        let all: Vec<f64> = generations.flat_map(|one| &one.token_seconds).copied().collect();
        let ratio = Summary::of(&firsts)?.median / Summary::of(&all)?.median;
        (ratio > SLOW_FIRST).then(|| (ratio, cell(engine, *batch, *prompt)))
    });
    if let Some((count, worst, name)) = worst(slow) {
        say(
            Weight::Note,
            format!(
                "the first token takes more than {SLOW_FIRST:.0} times the median in {count} of {measured} cells; most in {name}: {worst:.1} times"
            ),
        );
    }

    let drifts = launches.iter().filter_map(|((_, engine, batch, prompt), records)| {
        let series: Vec<Vec<f64>> = records
            .iter()
            .map(|record| record.generations.iter().flat_map(|one| &one.token_seconds).copied().collect())
            .collect();
        let slices: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
        let within =
            changes(&slices).into_iter().filter(|change| change.exceeds(DRIFT)).map(|change| change.ratio);
        let side = Launches::of(slices.iter().copied());
        let across = side
            .and_then(|side| Trend::of(&side))
            .filter(|trend| trend.is_drift(DRIFT))
            .map(|trend| trend.ratio);
        let most = within.chain(across).max_by(|one, other| one.ln().abs().total_cmp(&other.ln().abs()))?;
        Some((most, cell(engine, *batch, *prompt)))
    });
    let drifts: Vec<(f64, String)> = drifts.collect();
    if let Some((most, name)) =
        drifts.iter().max_by(|one, other| one.0.ln().abs().total_cmp(&other.0.ln().abs()))
    {
        say(
            Weight::Doubt,
            format!(
                "latencies drift in {} of {measured} cells; most in {name}: {:+.1} %",
                drifts.len(),
                (most - 1.0) * 100.0
            ),
        );
    }
}

fn cell(engine: &str, batch: u32, prompt: u32) -> String {
    format!("{} {batch}×{prompt}", one_line(engine))
}

/// How many there are, and the largest.
fn worst(cells: impl Iterator<Item = (f64, String)>) -> Option<(usize, f64, String)> {
    let cells: Vec<(f64, String)> = cells.collect();
    let count = cells.len();
    let (most, name) = cells.into_iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
    Some((count, most, name))
}
