//! Groups of flags in the help, in the order in which `run --help` shows them.

/// What is measured; `harness` puts most of a sweep's flags here.
pub(crate) const WHAT: &str = "What to measure";
/// What a command reads that measures nothing.
pub(crate) const INPUT: &str = "Input";
/// What is checked.
pub(crate) const CHECKED: &str = "What to check";
/// Which engines there are.
pub(crate) const ENGINES: &str = "Engines";
/// How it is measured.
pub(crate) const PROCEDURE: &str = "Procedure";
/// What is done with a GPU.
pub(crate) const GPU: &str = "GPU";
/// Baseline, candidate, and how they are judged.
pub(crate) const COMPARISON: &str = "Comparison";
/// What files with tables leave out.
pub(crate) const FILES: &str = "Files that leave something out";
/// What is printed, and where it is written.
pub(crate) const OUTPUT: &str = "Output";
/// What every command has.
pub(crate) const GENERAL: &str = "General";
