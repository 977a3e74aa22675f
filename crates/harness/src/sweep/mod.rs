//! What to measure, and how: read from TOML and flags, checked whole before anything is loaded.

pub(crate) mod cells;
pub(crate) mod engines;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod settings;
pub(crate) mod setup;
mod sweep;
pub(crate) mod units;
pub(crate) mod variant;

pub use sweep::{Ceilings, Isolation, QUICK_SWEEP, Sweep};
