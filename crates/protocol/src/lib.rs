//! The types that cross a pipe or a file.
//!
//! [`Request`] and [`Reply`] are the two directions of the pipe between the harness and a worker, one JSON
//! object a line; [`Measurement`] is the record of a cell, one line of `measurements.jsonl`; [`Environment`] and
//! [`Verification`] are the other files of a run's folder that nothing can make again. docs/reference/protocol.md describes the
//! pipe for those who write a worker in another language.

mod bounds;
mod cell;
mod device_clock;
mod environment;
mod gpu;
mod latency;
mod machine_load;
mod measurement;
mod message;
mod peaks;
mod precision;
mod processor;
mod read_measurement;
#[cfg(test)]
mod schema;
mod share;
mod texts;
mod verification;
mod words;

pub use cell::{CellKey, CellSize, Ranks, TableKey};
pub use environment::{EngineProgram, EnginesFile, Environment, ModelFacts, Pair, ProgramVersion};
pub use gpu::{Gpu, GpuPhase, GpuSeries, LockedClock, Throttle};
pub use machine_load::MachineLoad;
pub use measurement::{
    CellFailure, CollectiveShares, DeviceSeconds, FailureKind, Generation, MeasuredCell, Measurement, Memory,
    Outcome, SCHEMA,
};
pub use message::{
    Failure, GenerateRequest, Generated, Hello, Library, LoadRequest, Loaded, Logits, MeasureRequest,
    Measured, ModelSource, Options, Procedure, Profiled, Progress, RankPlace, Reply, Request, UsableDevice,
};
pub use peaks::{MeasuredPeak, MeasuredPeaks, PeaksRequest, Reached, SustainedPeak};
pub use precision::{Dtype, Precision, ProductInputs, Quantization};
pub use processor::ProcessorState;
pub use share::Share;
pub use texts::LONGEST_NAME;
pub use verification::{Agreement, Fidelity, Verification};
pub use words::{Device, Phase, UnknownWord};

/// The version of the pipe's protocol; a worker says it in its [`Hello`].
pub const PROTOCOL: u32 = 1;
