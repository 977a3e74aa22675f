//! What a command has to say when it ends.

/// What a command has to say when it ends, as in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Nothing wrong.
    Done = 0,
    /// A regression, a cell that failed, or an engine that computes something else.
    Finding = 1,
    /// Bad input or a broken set-up, of which a worker has told the user already.
    Refused = 2,
    /// The noise does not say, or nothing could be compared.
    Inconclusive = 3,
    /// Ctrl-C.
    Interrupted = 130,
}
