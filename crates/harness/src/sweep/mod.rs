//! What to measure, and how: read from TOML and flags, checked whole before anything is loaded.

pub(crate) mod cells;
pub(crate) mod engines;
pub(crate) mod keys;
pub(crate) mod layer;
pub(crate) mod limits;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod ranks;
#[cfg(test)]
mod reference;
pub(crate) mod resolve;
pub(crate) mod setting;
pub(crate) mod setup;
pub(crate) mod suggest;
pub(crate) mod units;
pub(crate) mod values;
pub(crate) mod variant;
