//! Worker processes: how they are started, asked, bounded and ended, and what their end means.

pub(crate) mod classify;
pub(crate) mod clock_lock;
pub(crate) mod guard;
pub(crate) mod interrupt;
pub(crate) mod launch;
pub(crate) mod process;
pub(crate) mod ranks;
pub(crate) mod slot;
pub(crate) mod validate;
