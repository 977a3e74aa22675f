//! Notes under a table, as data: their severity never depends on their words.

/// How serious a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteSeverity {
    /// A figure can't be true, or an engine's results are wrong.
    Wrong,
    /// A reason to doubt a figure.
    Caveat,
    /// Information.
    Info,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// Latencies are scripted, not measured.
    Scripted,
    /// Only rank 0 was measured.
    OneRank,
    /// Device memory was limited.
    DeviceMemoryLimit,
    /// Generations are shorter or longer than the published ones.
    GenerationLength,
    /// Prompt latencies come from more or fewer forwards than the published ones.
    PromptRuns,
    /// Replicates stopped once their mean was known well enough.
    StoppedEarly,
    /// Engines took turns.
    Turns,
    /// A mean did not reach the confidence interval that was asked for.
    NotConverged,
    /// An engine's logits or tokens do not match.
    Disagreement,
    /// How far quantized weights are from the unquantized ones.
    Fidelity,
    /// Engines generated different tokens.
    DifferentTokens,
    /// Cells that failed.
    Failure,
    /// Cells whose end was inferred from another cell's.
    Inferred,
    /// The time in collectives.
    Collectives,
    /// Cells faster than the device's measured peak.
    AbovePeak,
    /// A GPU throttled its clocks.
    Throttled,
    /// A cell was measured again because the GPU throttled.
    MeasuredAgain,
    /// The host's clock and the GPU's disagree.
    ClocksDisagree,
    /// Memory that a worker did not free.
    MemoryLeft,
    /// The peaks were measured by an earlier run.
    KeptPeaks,
    /// Other programs or guests used the machine during the measurement.
    BusyMachine,
    /// The GPU's clocks were locked.
    LockedClocks,
    /// Replicates of one cell that come from different parts of a run.
    MixedReplicates,
    /// Cells of a part of the run that differs from the heading's.
    Provenance,
    /// What an engine's worker said of how it built the model.
    Engine,
    /// A finding of the audit.
    Audit,
}

impl NoteKind {
    /// What several notes of this kind are about, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Scripted => "scripted latencies",
            Self::OneRank => "only one rank was measured",
            Self::DeviceMemoryLimit => "device memory was limited",
            Self::GenerationLength => "generation length differs from the published tables",
            Self::PromptRuns => "prompt latencies of another number of forwards than the published tables",
            Self::StoppedEarly => "replicates stopped early",
            Self::Turns => "engines took turns",
            Self::NotConverged => "means that are not known well enough",
            Self::Disagreement => "engines disagree",
            Self::Fidelity => "quantized weights",
            Self::DifferentTokens => "greedy tokens differ",
            Self::Failure => "cells that failed",
            Self::Inferred => "cells that were not tried",
            Self::Collectives => "time in collectives",
            Self::AbovePeak => "faster than the measured peak",
            Self::Throttled => "the GPU throttled its clocks",
            Self::MeasuredAgain => "measured again after throttling",
            Self::ClocksDisagree => "the clocks of host and GPU disagree",
            Self::MemoryLeft => "memory that was not freed",
            Self::KeptPeaks => "peaks of an earlier run",
            Self::BusyMachine => "busy machine",
            Self::LockedClocks => "locked GPU clocks",
            Self::MixedReplicates => "replicates of different parts of the run",
            Self::Provenance => "cells measured under other conditions",
            Self::Engine => "how the engines built the model",
            Self::Audit => "audit",
        }
    }
}

/// One line under a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// How serious it is.
    pub severity: NoteSeverity,
    /// Its text, one line.
    pub text: String,
}

impl Note {
    pub(super) fn new(kind: NoteKind, text: String) -> Self {
        let severity = match kind {
            NoteKind::Scripted | NoteKind::Disagreement => NoteSeverity::Wrong,
            NoteKind::AbovePeak
            | NoteKind::Throttled
            | NoteKind::ClocksDisagree
            | NoteKind::BusyMachine
            | NoteKind::MixedReplicates => NoteSeverity::Caveat,
            _ => NoteSeverity::Info,
        };
        Self { kind, severity, text }
    }
}
