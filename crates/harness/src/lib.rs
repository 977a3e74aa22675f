//! Sweeps over engine × batch size × prompt length.
//!
//! A [`Sweep`] is read from TOML and the command line, and is checked as a whole before anything is loaded. A [`Session`] has each
//! [`Cell`] of a [`Variant`] measured by a [`Worker`] process and keeps every record in a run's folder. Nothing here prints: events
//! are reported as [`Event`]s.

mod run;
mod sweep;
mod worker;

pub use run::environment::{check_options, greet_all, greet_each};
pub use run::error::SessionError;
pub use run::events::{Event, Notice};
pub use run::idle_machine::require_idle;
pub use run::kept_peaks::latest_kept_peaks;
pub use run::measure::RunSummary;
pub use run::peaks::{MeasuredReach, PeaksReport, measure_peaks, sustained_seconds};
pub use run::session::{Destination, PeaksOfSession, Session, SessionOptions, Verify, lock_clocks};
pub use run::time_breakdown::TimeBreakdown;
pub use run::verify::{MOCK, REFERENCE, verify};
pub use sweep::engines::{DEFAULT_ENGINES, EngineCommand, Engines, find_program};
pub use sweep::keys::{EngineOptions, PhaseTimeoutKeys, ProcedureKeys, SweepKeys};
pub use sweep::layer::{Flag, Key};
pub use sweep::limits::{LimitOrigins, Limits, PhaseLimits};
pub use sweep::loading::LoadNeed;
pub use sweep::models::Model;
pub use sweep::plan::{Cell, footprint, interleaved, plan};
pub use sweep::ranks::WorkerProcesses;
pub use sweep::resolve::{QUICK_SWEEP, Sweep};
pub use sweep::selection::Selection;
pub use sweep::setting::{Origin, Setting, SettingsError};
pub use sweep::setup::{PhaseTimeouts, Setup};
pub use sweep::suggest::{nearest, suggestion};
pub use sweep::units::{format_bytes, parse_bytes};
pub use sweep::values::{
    Bytes, CellOrder, FlagKind, Isolation, PauseSeconds, PeaksPolicy, Percentage, Precisions, Seconds,
    SweepRow, Whole,
};
pub use sweep::variant::Variant;
pub use worker::check::{Check, CheckError, CheckOutcome, CheckSetup, check_worker};
pub use worker::classify::{Deadline, Evidence, WorkerEnd, classify};
pub use worker::clock_lock::ClockLock;
pub use worker::helper::helper_if_asked;
pub use worker::interrupt::{Interrupt, before_abrupt_end, interrupt, interrupted};
pub use worker::pipes::parse_reply;
pub use worker::process::{Worker, WorkerError};
pub use worker::requests::{generate, greet, profile};
