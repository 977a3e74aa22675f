//! Sweeps over engine × batch size × prompt length.
//!
//! A [`Sweep`] is read from TOML and the command line and checked whole before anything is loaded; [`run()`] has each
//! [`Cell`] measured by a [`Worker`] process and keeps every record in a [`RunFolder`]. Nothing here prints: what
//! happens is told as [`Event`]s.

mod classify;
mod engines;
mod environment;
mod events;
mod interrupt;
mod models;
mod plan;
mod process;
mod run;
mod settings;
mod setup;
mod store;
mod sweep;
mod units;
mod verify;

pub use classify::{Evidence, WorkerEnd, classify};
pub use engines::{DEFAULT_ENGINES, EngineCommand, Engines};
pub use environment::read_environment;
pub use events::{CellFailure, Event};
pub use interrupt::{Interrupt, interrupted};
pub use models::{Model, NAMED_MODELS};
pub use plan::{Cell, footprint, plan};
pub use process::{Limits, Worker, WorkerError};
pub use run::{RunSummary, generate, greet, greet_all, run};
pub use settings::{Settings, SettingsError};
pub use setup::Setup;
pub use store::{RunFolder, StoreError, read_run};
pub use sweep::{Isolation, QUICK_SWEEP, Sweep};
pub use units::{format_bytes, parse_bytes};
pub use verify::verify;
