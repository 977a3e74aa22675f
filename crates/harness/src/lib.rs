//! Sweeps over engine × batch size × prompt length.
//!
//! A [`Sweep`] is read from TOML and the command line and checked whole before anything is loaded; [`run()`] has each
//! [`Cell`] measured by a [`Worker`] process and keeps every record in a [`RunFolder`]. Nothing here prints: what
//! happens is told as [`Event`]s.

mod ceilings;
mod cells;
mod classify;
mod clock_lock;
mod engines;
mod environment;
mod events;
mod gpus;
mod guard;
mod interrupt;
mod launch;
mod merge;
mod models;
mod oom_kills;
mod parts;
mod plan;
mod process;
mod ranks;
mod records;
mod run;
mod seat;
mod series;
mod settings;
mod setup;
mod spent;
mod store;
mod sweep;
mod units;
mod verify;

pub use ceilings::{CeilingsPlan, MeasuredReach, measure_ceilings, sustained_seconds};
pub use cells::SweepRow;
pub use classify::{Deadline, Evidence, WorkerEnd, classify};
pub use clock_lock::{ClockLock, ClockSetting};
pub use engines::{DEFAULT_ENGINES, EngineCommand, Engines};
pub use environment::{memory_bytes, read_environment};
pub use events::{CellFailure, Event};
pub use gpus::{GpuWatch, Gpus};
pub use guard::guard_if_asked;
pub use interrupt::{Interrupt, before_abrupt_end, interrupt, interrupted};
pub use launch::Ranks;
pub use merge::{Merged, merge};
pub use models::{Model, NAMED_MODELS};
pub use oom_kills::OomKills;
pub use plan::{Cell, footprint, interleaved, plan};
pub use process::{Limits, PhaseLimits, Worker, WorkerError, parse_reply};
pub use records::RecordReader;
pub use run::{Contender, RunSummary, greet_all, greet_each, run};
pub use seat::{generate, greet, profile};
pub use settings::{Settings, SettingsError};
pub use setup::{PhaseTimeouts, Setup};
pub use spent::{Spent, clocked};
pub use store::{Run, RunFacts, RunFolder, StoreError, read_run, read_run_each};
pub use sweep::{Ceilings, Isolation, QUICK_SWEEP, Sweep};
pub use units::{format_bytes, parse_bytes};
pub use verify::verify;
