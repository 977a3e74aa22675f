//! A run: every cell of a sweep measured by a worker, every record kept.

pub(crate) mod ceilings;
pub(crate) mod measure;
pub(crate) mod verify;
