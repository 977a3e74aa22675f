//! The commands: settings in, harness and report called, results printed.

pub(crate) mod against;
pub(crate) mod audit;
pub(crate) mod check_worker;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod history;
pub(crate) mod man;
pub(crate) mod merge;
pub(crate) mod noise;
pub(crate) mod peaks;
pub(crate) mod profile;
pub(crate) mod quantize;
pub(crate) mod ratios;
pub(crate) mod report;
pub(crate) mod reproduce;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod synth;
pub(crate) mod table;
pub(crate) mod verify;

use anyhow::{Error, anyhow};
use harness::{WorkerError, classify};

/// Turns an engine's failure into the command's error.
pub(crate) fn worker_error(engine: &str, error: &WorkerError) -> Error {
    match error {
        WorkerError::Interrupted => anyhow!("interrupted"),
        WorkerError::Evidence(evidence) => {
            let failure = classify(evidence);
            let phase = failure.phase.map(|phase| format!(" in {phase}")).unwrap_or_default();
            anyhow!("{engine}: {}{phase}: {}", failure.kind.word(), failure.error)
        }
    }
}
