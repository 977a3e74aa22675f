//! Hostile input for everything that the program parses and that comes from elsewhere.
//!
//! A [`FuzzTarget`] checks three things of the code that reads an input: it does not panic, it does not trust a size before
//! it has checked it ([`bounded`]), and what it accepts it can write and read again.
//!
//! `corpus/NAME/` keeps inputs that reach different code of the target NAME. `make test` runs all of them, and then
//! edited ones. `make fuzz TARGET=NAME` looks for new ones with libFuzzer (`fuzz_targets/`), which keeps an input that
//! reaches new code and goes on from there; half of its changes are the edits of [`Mutator`].
//!
//! A finding becomes a file of the corpus, and a test of the crate that it was found in. To add a target: a module of
//! `targets/`, a program in `fuzz_targets/` and `Cargo.toml`, a line of `tests/targets.rs`.

mod alloc;
mod corpus;
mod edit;
mod json;
mod mutator;
mod sections;
mod targets;
mod vocabulary;

use std::fmt;
use std::path::PathBuf;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tempfile::TempDir;

pub use alloc::{BoundedAllocator, bounded};
pub use corpus::{Corpus, Input};
pub use mutator::Mutator;
pub use sections::Sections;
pub use targets::{checkpoint, config, history, page, published, records, reply, sweep, tokenizer, words};

/// What a target says of a case.
pub type CaseResult = Result<(), TestCaseError>;

/// Something that is parsed, and what is promised of it.
pub struct FuzzTarget {
    /// Its name, which is also that of its corpus and its program.
    pub name: &'static str,
    /// Valid inputs, which edits begin with.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Words of its language, with spaces between them.
    pub words: &'static str,
    /// Reads an input, and fails or panics where a promise is broken.
    pub run: fn(&[u8]) -> CaseResult,
}

impl fmt::Debug for FuzzTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FuzzTarget {
    /// Runs an input, and fails where it needs more memory than its size explains, too.
    ///
    /// # Errors
    /// Where a promise is broken.
    pub fn run_bounded(&self, input: &[u8]) -> CaseResult {
        bounded(|| (self.run)(input))
    }

    /// The files of the kept corpus, in the order of their names.
    ///
    /// # Panics
    /// Where they can't be read.
    pub fn kept(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let dir = repository("crates/fuzz/corpus").join(self.name);
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("a file of the corpus"));
        paths.into_iter().map(read).collect()
    }
}

/// Runs `target` on `cases` inputs of `strategy`.
///
/// # Panics
/// Panics with the input, as small as it could be made, where the target fails, panics or allocates too much.
pub fn check<S: Strategy>(cases: u32, strategy: S, target: impl Fn(S::Value) -> CaseResult) {
    let config = Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    if let Err(failure) = TestRunner::new(config).run(&strategy, |input| bounded(|| target(input))) {
        panic!("{failure}");
    }
}

/// The whole of a program that lets libFuzzer run a target.
#[macro_export]
macro_rules! libfuzzer_target {
    ($target:ident) => {
        #[global_allocator]
        static ALLOCATOR: $crate::BoundedAllocator = $crate::BoundedAllocator;

        thread_local! {
            static MUTATOR: $crate::Mutator = $crate::Mutator::new(&$crate::$target::TARGET);
        }

        libfuzzer_sys::fuzz_target!(|input: &[u8]| {
            if let Err(failure) = $crate::$target::TARGET.run_bounded(input) {
                panic!("{failure}");
            }
        });

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            MUTATOR.with(|mutator| {
                mutator
                    .mutate(data, size, max_size, seed)
                    .unwrap_or_else(|| libfuzzer_sys::fuzzer_mutate(data, size, max_size))
            })
        });
    };
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

/// A new folder in memory, where the machine has a place for that.
///
/// # Panics
/// Where it can't be made.
pub fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder")
}
