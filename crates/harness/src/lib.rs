//! Sweeps over engine × batch size × prompt length.
//!
//! A [`Sweep`] is read from TOML and the command line and checked whole before anything is loaded; [`run()`] has each
//! [`Cell`] measured by a [`Worker`] process and keeps every record in a [`RunFolder`](results::RunFolder). Nothing here prints: what
//! happens is told as [`Event`]s.

mod run;
mod sweep;
mod worker;

pub use run::ceilings::{CeilingsPlan, MeasuredReach, measure_ceilings, sustained_seconds};
pub use run::measure::{Contender, RunSummary, greet_all, greet_each, run};
pub use run::verify::verify;
pub use sweep::cells::SweepRow;
pub use sweep::engines::{DEFAULT_ENGINES, EngineCommand, Engines};
pub use sweep::models::{Model, NAMED_MODELS};
pub use sweep::plan::{Cell, footprint, interleaved, plan};
pub use sweep::settings::{Settings, SettingsError};
pub use sweep::setup::{PhaseTimeouts, Setup};
pub use sweep::units::{format_bytes, parse_bytes};
pub use sweep::{Ceilings, Isolation, QUICK_SWEEP, Sweep};
pub use worker::classify::{CellFailure, Deadline, Evidence, WorkerEnd, classify};
pub use worker::clock_lock::{ClockLock, ClockSetting};
pub use worker::events::Event;
pub use worker::helper::helper_if_asked;
pub use worker::interrupt::{Interrupt, before_abrupt_end, interrupt, interrupted};
pub use worker::launch::Ranks;
pub use worker::pipes::parse_reply;
pub use worker::process::{Limits, PhaseLimits, Worker, WorkerError};
pub use worker::slot::{generate, greet, profile};
pub use worker::time_breakdown::{Spent, clocked};
