//! Lines for a session's events.

use std::path::Path;

use harness::{Cell, Event, REFERENCE};
use protocol::{CellFailure, Measurement};
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
        Event::Verified(verification) => describe_verification(verification),
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

/// What a verification does now.
pub(crate) fn verifying(engine: &str, model: &str) -> String {
    if engine == REFERENCE {
        format!("computing the reference's logits of {model}")
    } else {
        format!("verifying {engine} on {model}")
    }
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

/// The header of the growing table.
pub(crate) const GROWING_HEADER: &str = "engine           batch prompt    prompt ms    TPOT ms    wall s";

/// The row of a measured cell, under [`GROWING_HEADER`].
pub(crate) fn growing_row(cell: &Cell<'_>, measurement: &Measurement) -> String {
    let name = format!("{:<16} {:>5} {:>6}", cell.engine, cell.batch_size, cell.prompt_length);
    match (Figures::new(std::slice::from_ref(measurement)), measurement.failure()) {
        (Some(figures), _) => {
            let milliseconds = |seconds: f64| format_short(seconds * 1e3);
            let [prompt, token] = [figures.prompt.mean, figures.tpot.mean].map(milliseconds);
            format!("{name} {prompt:>12} {token:>10} {:>9}", format_short(figures.wall.mean))
        }
        (None, Some(CellFailure { kind, error, .. })) => {
            format!("{name} {:>12}  {error}", kind.table_word())
        }
        (None, None) => format!("{name} {:>12}  no figures", measurement.outcome_word()),
    }
}

/// The name of a cell: model, engine, sizes and replicate.
pub(crate) fn cell_name(cell: &Cell<'_>) -> String {
    let Cell { model, engine, batch_size, prompt_length, replicate } = cell;
    let replicate = if *replicate > 0 { format!(" #{}", replicate + 1) } else { String::new() };
    format!("{} {engine} {batch_size}×{prompt_length}{replicate}", model.label)
}
