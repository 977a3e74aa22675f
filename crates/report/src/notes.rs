//! What stands under a table: findings that its columns can't show.

use protocol::{Outcome, Verification};

use crate::Row;

/// Everything that a reader of these rows must know.
pub(crate) fn of_table(rows: &[Row], verification: Option<&Verification>) -> Vec<String> {
    let mut notes: Vec<String> = verification.into_iter().flat_map(disagreements).collect();
    notes.extend(different_tokens(rows));
    notes.extend(failures(rows));
    notes
}

/// Engines that compute something else than the one they were held against.
fn disagreements(verification: &Verification) -> Vec<String> {
    let against = verification.against.as_deref().unwrap_or("nothing");
    let differing =
        verification.agreements.iter().filter(|one| one.error.is_none() && !verification.agrees(one));
    differing
        .map(|one| {
            let (engine, error, tolerance) = (&one.engine, one.largest_error, verification.tolerance);
            if error <= tolerance {
                return format!("{engine} chooses other tokens than {against}, from the same logits");
            }
            format!("{engine} computes something else than {against}: a logit differs by {error:.2e}, tolerance {tolerance:.2e}")
        })
        .collect()
}

/// Cells whose greedy tokens are not those of the other engines.
fn different_tokens(rows: &[Row]) -> Vec<String> {
    let mut notes = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let same_cell =
            |other: &&Row| other.batch_size == row.batch_size && other.prompt_length == row.prompt_length;
        let hashed = |row: &Row| row.tokens_sha256.is_some();
        if !hashed(row) || rows[..index].iter().filter(same_cell).any(hashed) {
            continue;
        }
        let cell: Vec<&Row> = rows.iter().filter(same_cell).filter(|row| hashed(row)).collect();
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for row in cell {
            let hash = row.tokens_sha256.as_deref().unwrap_or_default();
            match groups.iter_mut().find(|(other, _)| *other == hash) {
                Some((_, engines)) => engines.push(&row.engine),
                None => groups.push((hash, vec![&row.engine])),
            }
        }
        if groups.len() > 1 {
            let engines: Vec<String> = groups.iter().map(|(_, engines)| engines.join(", ")).collect();
            notes.push(format!(
                "batch {} × prompt {}: the greedy tokens differ: {}",
                row.batch_size,
                row.prompt_length,
                engines.join(" ≠ ")
            ));
        }
    }
    notes
}

/// Cells that have no figures, with what was reported; equal reports of one engine in one note.
fn failures(rows: &[Row]) -> Vec<String> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows.iter().filter(|row| row.outcome != Outcome::Ok) {
        let phase = row.phase.map(|phase| format!(" in {phase}")).unwrap_or_default();
        let error = row.error.as_deref().unwrap_or("no report");
        let what = format!("{}: {}{phase}: {error}", row.engine, row.outcome_text());
        let cell = format!("{}×{}", row.batch_size, row.prompt_length);
        match groups.iter_mut().find(|(other, _)| *other == what) {
            Some((_, cells)) => cells.push(cell),
            None => groups.push((what, vec![cell])),
        }
    }
    groups.into_iter().map(|(what, cells)| format!("{}: {what}", cells.join(", "))).collect()
}
