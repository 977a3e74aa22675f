//! The sweep: what to measure, and how. It is read from TOML and flags, and checked as a whole before anything is loaded.

pub(crate) mod cells;
pub(crate) mod engines;
pub(crate) mod keys;
pub(crate) mod layer;
pub(crate) mod limits;
pub(crate) mod loading;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod ranks;
#[cfg(test)]
mod reference;
pub(crate) mod resolve;
pub(crate) mod selection;
pub(crate) mod setting;
pub(crate) mod setup;
pub(crate) mod suggest;
pub(crate) mod units;
pub(crate) mod values;
pub(crate) mod variant;
