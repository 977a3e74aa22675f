//! What the device can do at most: each engine's worker is asked, before any model is loaded.

use std::path::PathBuf;
use std::time::Duration;

use protocol::{CeilingsRequest, Phase, Precision, Reached, Reply, Request};

use crate::process::PLAIN_REPLY;
use crate::{Engines, Limits, Setup, Worker, WorkerError, classify};

/// Far longer than it takes.
const DEADLINE: Duration = Duration::from_secs(120);

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
