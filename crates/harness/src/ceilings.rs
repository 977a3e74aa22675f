//! What the device can do at most: each engine's worker is asked, before any model is loaded.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bandwidth::Reader;
use protocol::{CeilingsRequest, Device, Phase, Precision, Reached, Reply, Request};

use crate::process::PLAIN_REPLY;
use crate::{Ceilings, Engines, Limits, Setup, Sweep, Worker, WorkerError, classify};

/// Far longer than it takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// Beside a cell memory is read for this long.
const BESIDE_A_CELL: Duration = Duration::from_millis(320);

/// What reads memory beside the cells, where the sweep asks for that: it keeps its memory until the last of them.
pub(crate) fn reader(sweep: &Sweep) -> Option<Rc<Reader>> {
    let is_asked = sweep.ceilings == Ceilings::Cell && sweep.setup.device == Device::Cpu;
    // Where there is no memory for it, the run's ceiling stands.
    is_asked.then(|| Reader::new(sweep.setup.threads).ok().map(Rc::new)).flatten()
}

/// Bytes a second that the processor reads from memory at this moment.
pub(crate) fn read_beside_cell(reader: &Reader) -> f64 {
    reader.bytes_per_second(BESIDE_A_CELL)
}

/// What each of `names` reached on the device of `setup`, or why it measured nothing. Engines that are one program are asked
/// once.
pub fn measure_ceilings<'a>(
    engines: &Engines,
    names: impl IntoIterator<Item = &'a str>,
    setup: &Setup,
    precisions: &[Precision],
) -> Vec<(&'a str, Result<Reached, String>)> {
    let mut asked: Vec<PathBuf> = Vec::new();
    let mut answers = Vec::new();
    for name in names {
        let command = engines.get(name).expect("a known engine");
        if asked.contains(&command.program) {
            continue;
        }
        asked.push(command.program.clone());
        let answer = ask(engines, name, setup, precisions).map_err(|error| match error {
            WorkerError::Evidence(evidence) => classify(&evidence).error,
            WorkerError::Interrupted => "interrupted".into(),
        });
        answers.push((name, answer));
    }
    answers
}

fn ask(
    engines: &Engines,
    name: &str,
    setup: &Setup,
    precisions: &[Precision],
) -> Result<Reached, WorkerError> {
    let command = engines.get(name).expect("a known engine");
    let request = DEADLINE.min(setup.limits().request);
    let mut worker = Worker::spawn(command, Limits { request, ..Limits::default() })?;
    let request = Request::Ceilings(CeilingsRequest {
        device: setup.device,
        precisions: precisions.to_vec(),
        threads: setup.threads,
        sustained_seconds: None,
        options: setup.options_of(name),
    });
    match worker.ask(&request, PLAIN_REPLY, &mut |_| ())? {
        Reply::Ceilings(reached) => {
            // How it ends matters when it has measured a cell.
            let _ = worker.shutdown();
            Ok(reached)
        }
        _ => Err(worker.protocol_error(Phase::Load, "expected ceilings".into())),
    }
}
