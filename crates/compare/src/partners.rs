//! Which table of one subject is compared with which of the other, and what has no partner.

use protocol::CellSize;
use results::{HeadingPrecision, Metric, ResultTable};

use crate::{Refused, Subject};

/// What one side has and the other lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The side that has it is the baseline.
    pub is_of_baseline: bool,
    /// What it is.
    pub what: Lone,
    /// The run that lacks it is not complete: it may still come.
    pub may_come: bool,
}

/// Something that one side alone has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lone {
    /// A table, by its heading.
    Table(String),
    /// A cell.
    Cell(String, CellSize),
    /// A metric of a cell.
    Metric(String, CellSize, Metric),
}

/// Tables that are compared, the baseline's first.
pub(crate) type TablePair<'t> = (&'t ResultTable<'t>, &'t ResultTable<'t>);

/// Pairs tables of the same model and precision, both of it whole or both of the same rank alone; and the tables that have no
/// partner. Where a precision was chosen for each side, the two may differ.
///
/// # Errors
/// Where there is no such pair.
pub(crate) fn matched<'t>(
    baseline: &'t Subject<'_>,
    candidate: &'t Subject<'_>,
) -> Result<(Vec<TablePair<'t>>, Vec<Missing>), Refused> {
    let (baselines, candidates) = (baseline.compared_tables(), candidate.compared_tables());
    let mut free: Vec<&ResultTable<'_>> = candidates.iter().collect();
    let mut partners: Vec<Option<&ResultTable<'_>>> = vec![None; baselines.len()];
    let are_chosen = baseline.chosen_precision.is_some() && candidate.chosen_precision.is_some();
    let same = |one: &ResultTable<'_>, other: &ResultTable<'_>| match (identity(one), identity(other)) {
        (Ok(one), Ok(other)) if are_chosen => (one.0, one.2) == (other.0, other.2),
        (one, other) => one == other,
    };
    // A file can have several tables of a model, for generations of several lengths: the same length counts before all.
    let unlikeness = |one: &ResultTable<'_>, other: &ResultTable<'_>| {
        let has_length = generation_length(one) == generation_length(other);
        let is_alike = match (&one.heading, &other.heading) {
            (Ok(one), Ok(other)) if are_chosen => one.without_precision() == other.without_precision(),
            _ => one.title == other.title,
        };
        match (has_length, is_alike) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        }
    };
    for unlike in 0..=3 {
        for (table, partner) in baselines.iter().zip(&mut partners).filter(|(_, partner)| partner.is_none()) {
            let fits = |other: &ResultTable<'_>| same(table, other) && unlikeness(table, other) == unlike;
            let distance =
                |other: &ResultTable<'_>| generation_length(other).abs_diff(generation_length(table));
            let places = free.iter().enumerate().filter(|(_, other)| fits(other));
            let nearest = places.min_by_key(|(_, other)| distance(other)).map(|(place, _)| place);
            *partner = nearest.map(|place| free.remove(place));
        }
    }
    let lone = |table: &ResultTable<'_>, is_of_baseline| Missing {
        is_of_baseline,
        what: Lone::Table(table.title.to_string()),
        may_come: is_of_baseline && candidate.missing > 0 && candidate.has_model_of(table),
    };
    let (mut pairs, mut missing) = (Vec::new(), Vec::new());
    for (table, partner) in baselines.iter().zip(partners) {
        match partner {
            Some(partner) => pairs.push((table, partner)),
            None => missing.push(lone(table, true)),
        }
    }
    missing.extend(free.into_iter().map(|table| lone(table, false)));
    if !pairs.is_empty() {
        return Ok((pairs, missing));
    }
    let titles = |subject: &Subject<'_>| {
        let titles: Vec<&str> = subject.tables.iter().map(|table| &*table.title).collect();
        if titles.is_empty() { "nothing".into() } else { titles.join(", ") }
    };
    let (names, titles) = ([baseline.name, candidate.name], [titles(baseline), titles(candidate)]);
    let ranks_differ = |table| candidate.tables.iter().any(|other| differ_in_ranks(table, other));
    Err(Refused(if baseline.tables.iter().any(ranks_differ) {
        format!(
            "can't compare {} with {}: one is rank 0 only, the other the whole model or another number of ranks: {} and {}",
            names[0], names[1], titles[0], titles[1]
        )
    } else {
        let hint = other_precisions(baseline, candidate).map_or_else(String::new, |[one, other]| {
            let [one, other] = [one, other].map(|precision| precision.to_string().to_lowercase());
            format!("; compare these precisions with --precision {one},{other}")
        });
        format!(
            "{} and {} have no model and precision in common: {} and {}{hint}",
            names[0], names[1], titles[0], titles[1]
        )
    }))
}

/// What two tables must share to be compared: model, precision and the ranks of which it is rank 0's part alone; the title
/// where the heading does not say them.
fn identity<'t>(table: &'t ResultTable<'_>) -> Result<(&'t str, HeadingPrecision, Option<u32>), &'t str> {
    let heading = table.heading.as_ref().map_err(|_| &*table.title)?;
    Ok((&heading.model, heading.precision, heading.one_rank_of))
}

/// The precisions of the first two tables that differ in nothing else.
fn other_precisions(baseline: &Subject<'_>, candidate: &Subject<'_>) -> Option<[HeadingPrecision; 2]> {
    let pair = |table: &ResultTable<'_>, other: &ResultTable<'_>| {
        let (one, other) = (identity(table).ok()?, identity(other).ok()?);
        ((one.0, one.2) == (other.0, other.2) && one.1 != other.1).then_some([one.1, other.1])
    };
    let others = |table| candidate.tables.iter().find_map(|other| pair(table, other));
    baseline.tables.iter().find_map(others)
}

/// The generation length of a table, which all of its rows have.
fn generation_length(table: &ResultTable<'_>) -> u32 {
    table.rows.first().map_or(0, |row| row.generation_length.tokens)
}

/// Whether two tables differ only in the ranks of which they are the first alone.
fn differ_in_ranks(table: &ResultTable<'_>, other: &ResultTable<'_>) -> bool {
    match (identity(table), identity(other)) {
        (Ok((model, precision, ranks)), Ok((other_model, other_precision, other_ranks))) => {
            (model, precision) == (other_model, other_precision) && ranks != other_ranks
        }
        _ => false,
    }
}
