//! Worker processes: start, requests, limits, end, and the meaning of their end.

pub(crate) mod check;
pub(crate) mod children;
pub(crate) mod claimed_time;
pub(crate) mod classify;
pub(crate) mod clock_lock;
pub(crate) mod guard;
pub(crate) mod helper;
pub(crate) mod interrupt;
pub(crate) mod launch;
pub(crate) mod pipes;
pub(crate) mod process;
pub(crate) mod ranks;
pub(crate) mod requests;
mod signals;
pub(crate) mod validate;
