//! What can go wrong between ranks.

use std::fmt;

/// Ranks that can't be joined, or an all-reduce that fails. The text says what to do, where something can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectiveError(pub(crate) String);

impl CollectiveError {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// The loader's own words.
pub(crate) fn loader_words(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

impl fmt::Display for CollectiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CollectiveError {}
