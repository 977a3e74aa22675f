//! Hostile input for everything that the program parses and that comes from elsewhere. A file of this crate's `tests/` is a
//! target.
//!
//! An input is a valid sample after some edits, sometimes noise. A target checks three things of the code that reads
//! it: it does not panic, it does not trust a size before it has checked it ([`bounded`]), and what it accepts it can
//! write and read again.
//!
//! `make test` tries some hundred inputs a target. A million of each, of all targets or of one:
//!
//! ```sh
//! PROPTEST_CASES=1000000 cargo test --profile fuzz -p testing
//! PROPTEST_CASES=1000000 cargo test --profile fuzz -p testing --test checkpoint
//! ```
//!
//! A finding is printed as small as it could be made, and becomes a test of the crate that it was found in. To add a
//! target: a [`Corpus`] of samples, and a closure for [`check`].

mod alloc;
mod corpus;
mod edit;
mod json;
mod words;

use std::path::PathBuf;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

pub use alloc::{BoundedAllocator, bounded};
pub use corpus::{Corpus, Input};

/// What a target says of a case.
pub type CaseResult = Result<(), TestCaseError>;

/// Runs `target` on inputs of `strategy`: on as many as `PROPTEST_CASES` says, else on `short`.
///
/// # Panics
/// Panics with the input where the target fails, panics or allocates too much.
pub fn check<S: Strategy>(short: u32, strategy: S, target: impl Fn(S::Value) -> CaseResult) {
    check_share(short, 1, strategy, target);
}

/// Runs `target` as [`check`] does, on one in `share` of the inputs that `PROPTEST_CASES` says: a target that is slow.
///
/// # Panics
/// Panics as [`check`] does.
pub fn check_share<S: Strategy>(
    short: u32,
    share: u32,
    strategy: S,
    target: impl Fn(S::Value) -> CaseResult,
) {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let config = Config::default();
    let cases = if asked { config.cases.div_ceil(share) } else { short };
    let config = Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..config };
    if let Err(failure) = TestRunner::new(config).run(&strategy, |input| bounded(|| target(input))) {
        panic!("{failure}");
    }
}

/// The path of a file or folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../..", path].iter().collect()
}

/// The text of a file of the repository.
///
/// # Panics
/// Where it can't be read.
pub fn sample(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// JSON on one line, so that edits of values find it.
///
/// # Panics
/// Where it is not JSON.
pub fn one_line(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json).expect("a sample is JSON").to_string()
}
