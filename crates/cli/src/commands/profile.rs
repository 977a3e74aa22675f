//! `run --profile`: one forward of each kind of one cell, for nsys and ncu.

use anyhow::Result;
use harness::{Engines, Interrupt, Sweep, WorkerError, interrupted};
use protocol::CellSize;

use crate::commands::run::lock_clocks;
use crate::commands::worker_error;
use crate::{Ending, printer};

/// Profiles the cell with every model and engine of the sweep. Nothing is timed or kept.
pub(crate) fn run(mut sweep: Sweep, engines: &Engines, cell: CellSize) -> Result<Ending> {
    sweep.narrow_to(cell, "--profile")?;
    harness::greet_all(&sweep, engines)?;
    let _clocks = lock_clocks(&sweep)?;
    let _interrupt = Interrupt::install();
    let mut ending = Ending::Done;
    for model in &sweep.models {
        for engine in &sweep.engines {
            let name = format!("{} {engine} {cell}", model.name);
            match harness::profile(&sweep, engines, model, engine, cell) {
                Ok(notes) => {
                    printer::line(&format!("{name}: ran one prefill, one selection and one decode forward"));
                    notes.iter().for_each(|note| printer::line(&format!("{name}: {note}")));
                }
                Err(WorkerError::Interrupted) => return Ok(Ending::Interrupted),
                Err(error) => {
                    printer::error(&worker_error(engine, &error));
                    ending = Ending::Finding;
                }
            }
            if interrupted() {
                return Ok(Ending::Interrupted);
            }
        }
    }
    Ok(ending)
}
