//! Limits on a worker's memory and time.

use std::time::Duration;

use protocol::Phase;

/// Time limit of a worker's hello.
pub(crate) const HELLO_DEADLINE: Duration = Duration::from_secs(120);

/// Limits on a worker.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Private memory in bytes (`RLIMIT_DATA`).
    pub memory_bytes: Option<u64>,
    /// Time of one request, and of the hello, which has two minutes at most.
    pub request: Duration,
    /// Time of each phase of a request, if set.
    pub phases: PhaseLimits,
    /// The flag or key that set each time, as the user writes it.
    pub origins: LimitOrigins,
}

/// The flag or key that set each time limit, as the user writes it: `--timeout-seconds 5`, `timeout_seconds = 5`. Empty where the program
/// sets the time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitOrigins {
    /// The time of a request.
    pub request: String,
    /// The time of loading.
    pub load: String,
    /// The time of the prefills.
    pub prompt: String,
    /// The time of the generations.
    pub decode: String,
}

impl LimitOrigins {
    pub(crate) fn origin_for(&self, phase: Phase) -> &str {
        match phase {
            Phase::Load => &self.load,
            Phase::Prompt => &self.prompt,
            Phase::Decode => &self.decode,
        }
    }
}

impl Default for Limits {
    /// Two minutes per request.
    fn default() -> Self {
        Self {
            memory_bytes: None,
            request: HELLO_DEADLINE,
            phases: PhaseLimits::default(),
            origins: LimitOrigins::default(),
        }
    }
}

/// Time limits of the phases of a request.
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
    pub(crate) fn timeout_for(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Load => self.load,
            Phase::Prompt => self.prompt,
            Phase::Decode => self.decode,
        }
    }
}
