//! Lines for a session's events.

use std::path::Path;

use harness::{Cell, Event};
use protocol::{CellFailure, FailureKind, Measurement};
use results::{Figures, format_short};

use crate::format::describe_verification;
use crate::words::count;

/// The line of an event that the plain and the live view show alike; `None` for others.
pub(crate) fn line(event: &Event<'_>) -> Option<String> {
    Some(match *event {
        Event::Opened { dirs, cells, done } => {
            let resumed = if done > 0 { format!(", {done} already measured") } else { String::new() };
            format!("{}: {}{resumed}", joined(dirs), count(cells, "cell"))
        }
        Event::Verified(verification) => format!("verified {}", describe_verification(verification)),
        Event::MeasuredApart { model, engine, note } => format!("{model} {engine}: {note}"),
        Event::Farewell { engine, error } => {
            format!("warning: {engine}: the worker did not shut down cleanly: {error}")
        }
        Event::FolderGone { what } => format!("warning: {what}"),
        Event::MeasuredAgain { cell, attempt, attempts, why } => format!(
            "{}: the GPU throttled ({why}): measuring the cell again, attempt {attempt} of {attempts}",
            cell_name(&cell)
        ),
        Event::AskedAgain { cell, why } => format!(
            "{}: {why}: measuring once more with a different number of forwards, to tell a wrong clock from a slow warm-up",
            cell_name(&cell)
        ),
        Event::RetryFailed { cell, why } => format!(
            "{}: the retry failed: {why}: keeping the earlier measurement, marked as throttled",
            cell_name(&cell)
        ),
        _ => return None,
    })
}

/// The folders of a session.
pub(crate) fn joined(dirs: &[&Path]) -> String {
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// The name of a side, after a space; nothing where there is only one.
pub(crate) fn side_word(side: usize, sides: usize) -> &'static str {
    match side {
        _ if sides == 1 => "",
        0 => " baseline",
        _ => " candidate",
    }
}

/// The row of a measured cell, under the header of the growing table.
pub(crate) fn growing_row(cell: &Cell<'_>, measurement: &Measurement) -> String {
    let name = format!("{:<16} {:>5} {:>6}", cell.engine, cell.batch_size, cell.prompt_length);
    match (Figures::new(std::slice::from_ref(measurement)), measurement.failure()) {
        (Some(figures), _) => {
            let [prompt, _, first_128, _, first_256, _, wall, _] =
                figures.columns().map(|figure| figure.map_or_else(|| "N/A".into(), format_short));
            format!("{name} {prompt:>12} {first_128:>13} {first_256:>13} {wall:>9}")
        }
        (None, Some(CellFailure { kind, error, .. })) => {
            let word = if *kind == FailureKind::OutOfMemory { kind.table_word() } else { kind.word() };
            format!("{name} {word:>12}  {error}")
        }
        (None, None) => format!("{name} {:>12}  no figures", measurement.outcome_word()),
    }
}

/// The name of a cell: model, engine, sizes and replicate.
pub(crate) fn cell_name(cell: &Cell<'_>) -> String {
    let Cell { model, engine, batch_size, prompt_length, replicate } = cell;
    let replicate = if *replicate > 0 { format!(" #{}", replicate + 1) } else { String::new() };
    format!("{} {engine} {batch_size}×{prompt_length}{replicate}", model.name)
}
