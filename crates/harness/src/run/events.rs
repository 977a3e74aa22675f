//! Notices and events of a session, for the code that shows them.

use std::path::Path;
use std::time::Duration;

use protocol::{Device, MeasuredPeaks, Measurement, Progress, Verification};

use crate::Cell;

/// A notice before a session's first cell.
#[derive(Debug)]
pub enum Notice<'a> {
    /// An engine's worker is about to start, to identify itself.
    Greeting {
        /// The engine.
        engine: &'a str,
    },
    /// Peaks are about to be measured, about so long.
    PeaksBegin {
        /// An estimate of the time.
        about: Duration,
    },
    /// Peaks that an earlier run measured are reused.
    KeptPeaks(&'a MeasuredPeaks),
    /// Kept peaks can't be read, and are measured again; why.
    DamagedPeaks(&'a str),
    /// An engine is about to measure peaks.
    MeasuringPeaks {
        /// The engine.
        engine: &'a str,
    },
    /// Other programs use the GPU that computes, and may slow it down.
    SharedGpu {
        /// The GPU.
        device: Device,
        /// Their processes, as text.
        others: &'a str,
    },
    /// Other processes use the machine; the session waits for them.
    WaitingForIdle {
        /// The longest wait.
        limit: Duration,
        /// What they use, as text.
        busy: &'a str,
    },
    /// An earlier version did not record everything that a resumed run is checked against; the text names it.
    Unrecorded(&'a str),
    /// An engine did not measure peaks.
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

/// An event of a session.
#[derive(Debug)]
pub enum Event<'a> {
    /// The folders are open.
    Opened {
        /// The folder of each side.
        dirs: &'a [&'a Path],
        /// Number of cells of all folders.
        cells: usize,
        /// Number of cells that an earlier run measured.
        done: usize,
    },
    /// An engine is about to generate a few tokens, which are compared with those of other engines.
    Verifying {
        /// The engine whose turn it is.
        engine: &'a str,
        /// The model.
        model: &'a str,
    },
    /// The comparison of the engines: of all, or of those so far where one differs.
    Verified(&'a Verification),
    /// An engine that can't be loaded together with all others, and takes turns with fewer or none.
    MeasuredApart {
        /// The model.
        model: &'a str,
        /// The engine.
        engine: &'a str,
        /// The engines that it does not take turns with, and why.
        note: &'a str,
    },
    /// The measurement of a cell begins.
    CellStarted {
        /// The cell.
        cell: Cell<'a>,
        /// Its place in the sweep, from 0.
        index: usize,
        /// Its side, from 0.
        side: usize,
    },
    /// A worker reported its progress.
    Progress(&'a Progress),
    /// A worker did not shut down cleanly after its cells were measured.
    Farewell {
        /// Its engine.
        engine: &'a str,
        /// What happened.
        error: &'a str,
    },
    /// A run's folder was moved or deleted, and records go elsewhere.
    FolderGone {
        /// What happened, with both folders.
        what: &'a str,
    },
    /// The GPU throttled for a reason other than its power limit while the cell was measured: it is measured again.
    MeasuredAgain {
        /// The cell.
        cell: Cell<'a>,
        /// Number of the next try, from 2.
        attempt: u32,
        /// The most tries.
        attempts: u32,
        /// Why clocks were lower, with the share of the time.
        why: &'a str,
    },
    /// A phase lasted much longer than the worker's figures. The cell is measured once more with a different number of forwards, to tell a
    /// wrong clock from a slow warm-up. The figures of the first measurement are kept.
    AskedAgain {
        /// The cell.
        cell: Cell<'a>,
        /// The claimed time, and how long the phase lasted.
        why: &'a str,
    },
    /// A retry of a cell failed, and the earlier measurement is kept.
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
