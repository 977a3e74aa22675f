//! A run: every cell of a sweep measured by a worker, every record kept.

pub(crate) mod agreement;
pub(crate) mod cache;
pub(crate) mod environment;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod fidelity;
pub(crate) mod idle;
pub(crate) mod idle_machine;
pub(crate) mod kept_answers;
pub(crate) mod kept_peaks;
pub(crate) mod measure;
pub(crate) mod model_files;
pub(crate) mod peaks;
pub(crate) mod session;
pub(crate) mod time_breakdown;
pub(crate) mod turn_groups;
pub(crate) mod variant_run;
pub(crate) mod verify;
pub(crate) mod worker_slot;
pub(crate) mod workers;
