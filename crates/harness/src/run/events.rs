//! What happens in a sweep, for whoever shows it.

use std::path::Path;
use std::time::Duration;

use protocol::{Device, MeasuredPeaks, Measurement, Progress, Verification};

use crate::Cell;

/// Something that is said before a session's first cell.
#[derive(Debug)]
pub enum Notice<'a> {
    /// An engine's worker is about to be started, to hear who it is.
    Greeting {
        /// The engine.
        engine: &'a str,
    },
    /// An engine is about to measure peaks.
    MeasuringPeaks {
        /// The engine.
        engine: &'a str,
    },
    /// Other programs use the GPU that computes: figures may be theirs, too.
    SharedGpu {
        /// The GPU.
        device: Device,
        /// Their processes, in words.
        others: &'a str,
    },
    /// Other processes use the machine, and are waited for.
    WaitingForIdle {
        /// The longest that it is waited for.
        limit: Duration,
        /// What they use, in words.
        busy: &'a str,
    },
    /// An earlier version did not record everything that a resumed run is checked against; which, in words.
    Unrecorded(&'a str),
    /// An engine measured no peaks.
    NoPeaks {
        /// The device.
        device: Device,
        /// The engine.
        engine: &'a str,
        /// Why.
        why: &'a str,
    },
    /// The peaks were measured.
    Peaks(&'a MeasuredPeaks),
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The folders are ready; so many of their cells are measured already.
    Opened {
        /// The folder of each side.
        dirs: &'a [&'a Path],
        /// Cells of all of them.
        cells: usize,
        /// Of them, measured in an earlier run.
        done: usize,
    },
    /// An engine is about to generate a few tokens, which are compared with what others generate.
    Verifying {
        /// The engine whose turn it is.
        engine: &'a str,
        /// The model.
        model: &'a str,
    },
    /// How the engines stand to each other: all of them, or so far, where one differs.
    Verified(&'a Verification),
    /// Not all engines of a model can be loaded together: this one takes turns with fewer, or none.
    MeasuredApart {
        /// The model.
        model: &'a str,
        /// The engine.
        engine: &'a str,
        /// Which engines it is apart from, and why.
        note: &'a str,
    },
    /// A cell's turn begins.
    CellStarted {
        /// The cell.
        cell: Cell<'a>,
        /// Its place in the sweep, from 0.
        index: usize,
        /// Which side's it is, from 0.
        side: usize,
    },
    /// A worker said where it stands.
    Progress(&'a Progress),
    /// A worker did not end in order after its cells were measured.
    Farewell {
        /// Its engine.
        engine: &'a str,
        /// What it did.
        error: &'a str,
    },
    /// A run's folder was moved or deleted: where its records go now.
    FolderGone {
        /// What happened, with both folders.
        what: &'a str,
    },
    /// The GPU throttled for a reason other than its power limit while the cell was measured: it is measured again.
    MeasuredAgain {
        /// The cell.
        cell: Cell<'a>,
        /// Which try follows, from 2.
        attempt: u32,
        /// How many there may be.
        attempts: u32,
        /// Why clocks were lower, with the share of the time.
        why: &'a str,
    },
    /// A phase lasted much longer than the worker's figures: the cell is measured once more, with another number of forwards, to tell a wrong
    /// clock from a slow warm-up. The figures of the first are kept.
    AskedAgain {
        /// The cell.
        cell: Cell<'a>,
        /// What was claimed, and how long it lasted.
        why: &'a str,
    },
    /// A further try of a cell did not end well: the one before it is kept.
    RetryFailed {
        /// The cell.
        cell: Cell<'a>,
        /// Why, in one line.
        why: &'a str,
    },
    /// A cell ended, and its record is on disk.
    CellEnded {
        /// The cell.
        cell: Cell<'a>,
        /// Its place in the sweep, from 0.
        index: usize,
        /// Its record.
        measurement: &'a Measurement,
    },
}
