//! Exit codes of commands.

/// The exit code of a command, as in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Success.
    Done = 0,
    /// A regression, a failed cell, or engines that disagree.
    Finding = 1,
    /// Inconclusive, or nothing to compare.
    Inconclusive = 3,
    /// Interrupted by Ctrl-C.
    Interrupted = 130,
}
