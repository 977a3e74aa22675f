//! What a reader of a table must know, as data: nothing weighs a note by its words.

/// How much a note weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteSeverity {
    /// A figure can't be true, or an engine computes something else.
    Wrong,
    /// Figures may not be what they seem.
    Caveat,
    /// For information.
    Info,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// Latencies are scripted, not measured.
    Scripted,
    /// Rank 0's part alone was measured.
    OneRank,
    /// Device memory was limited.
    DeviceMemoryLimit,
    /// Generations are shorter or longer than the published ones.
    GenerationLength,
    /// Prompt latencies are of more or fewer forwards than the published ones.
    PromptRuns,
    /// Replicates stopped once their mean was known.
    StoppedEarly,
    /// Engines took turns.
    Turns,
    /// A mean is known less well than was asked for.
    NotConverged,
    /// An engine computes something else, or chooses other tokens from the same logits.
    Disagreement,
    /// Engines generated different tokens.
    DifferentTokens,
    /// Cells without figures.
    Failure,
    /// Cells whose end was inferred from another cell's.
    Inferred,
    /// The time in collectives.
    Collectives,
    /// Cells faster than the device's measured peak.
    AbovePeak,
    /// A GPU's clocks were lower than usual.
    Throttled,
    /// A cell was measured again because the GPU throttled.
    MeasuredAgain,
    /// The host's clock and the GPU's disagree.
    ClocksDisagree,
    /// Memory that a worker did not give back.
    MemoryLeft,
    /// Other programs, or other guests, used the machine while cells or peaks were measured.
    BusyMachine,
    /// The GPU's clocks were locked.
    LockedClocks,
    /// Replicates of one cell that were measured differently.
    MixedReplicates,
    /// Cells that were measured differently from the heading's.
    Provenance,
    /// What an engine's worker said of how it built the model.
    Engine,
    /// A finding of the audit.
    Audit,
}

/// One line under a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// How much it weighs.
    pub severity: NoteSeverity,
    /// Its text, one line.
    pub text: String,
}

impl Note {
    pub(super) fn new(kind: NoteKind, text: String) -> Self {
        let severity = match kind {
            NoteKind::Scripted | NoteKind::Disagreement => NoteSeverity::Wrong,
            NoteKind::Throttled
            | NoteKind::ClocksDisagree
            | NoteKind::BusyMachine
            | NoteKind::MixedReplicates => NoteSeverity::Caveat,
            _ => NoteSeverity::Info,
        };
        Self { kind, severity, text }
    }
}
