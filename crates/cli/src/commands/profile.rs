//! `run --profile`: one prefill and one decode forward of a cell, for nsys and ncu.

use anyhow::Result;
use harness::{Interrupt, Variant, WorkerError, interrupted, lock_clocks};
use protocol::CellSize;

use crate::commands::worker_error;
use crate::exit_status::ExitStatus;
use crate::printer;
use crate::slow_steps::SlowSteps;

/// Profiles the cell with every model and engine of the sweep. Nothing is timed or kept.
pub(crate) fn run(mut variant: Variant, cell: CellSize) -> Result<ExitStatus> {
    variant.sweep.narrow_to(cell, "--profile")?;
    let slow = SlowSteps::start();
    harness::greet_all(&variant, &mut |notice| slow.hear(&notice))?;
    drop(slow);
    let _clocks = lock_clocks(&variant.sweep)?;
    let _interrupt = Interrupt::install();
    let mut status = ExitStatus::Done;
    for model in &variant.sweep.models {
        for engine in &variant.sweep.engines {
            let name = format!("{} {engine} {cell}", model.label);
            match harness::profile(&variant, model, engine, cell) {
                Ok(notes) => {
                    printer::line(&format!("{name}: ran one prefill, one selection and one decode forward"));
                    notes.iter().for_each(|note| printer::line(&format!("{name}: {note}")));
                }
                Err(WorkerError::Interrupted) => return Ok(ExitStatus::Interrupted),
                Err(error) => {
                    printer::error(&worker_error(engine, &error));
                    status = ExitStatus::Finding;
                }
            }
            if interrupted() {
                return Ok(ExitStatus::Interrupted);
            }
        }
    }
    Ok(status)
}
