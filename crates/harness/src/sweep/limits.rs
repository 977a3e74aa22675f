//! Bounds on a worker's memory and time.

use std::time::Duration;

use protocol::Phase;

/// The most time until a worker says hello.
pub(crate) const HELLO_DEADLINE: Duration = Duration::from_secs(120);

/// Bounds on a worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Its private memory, in bytes (`RLIMIT_DATA`).
    pub memory_bytes: Option<u64>,
    /// The time of one request; of the hello too, which has two minutes at most.
    pub request: Duration,
    /// The time of a phase of it, where one is set.
    pub phases: PhaseLimits,
}

impl Default for Limits {
    /// Two minutes a request.
    fn default() -> Self {
        Self { memory_bytes: None, request: HELLO_DEADLINE, phases: PhaseLimits::default() }
    }
}

/// The most time of each phase of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PhaseLimits {
    /// Loading.
    pub load: Option<Duration>,
    /// The prefills.
    pub prompt: Option<Duration>,
    /// The generations.
    pub decode: Option<Duration>,
}

impl PhaseLimits {
    pub(crate) fn of(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Load => self.load,
            Phase::Prompt => self.prompt,
            Phase::Decode => self.decode,
        }
    }
}
