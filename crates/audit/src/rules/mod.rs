//! The rules. Each is one function in one place, and an entry of [`RULES`].

mod consistency;
mod copies;
mod identities;
mod physics;
mod shape;
mod speed;

use results::{Figure, GenerationLength, ResultRow};

use crate::Finding;
use crate::checked_table::CheckedTable;

/// A rule.
pub struct Rule {
    /// Its name in findings.
    pub name: &'static str,
    /// What must hold, and with which tolerance.
    pub about: &'static str,
    /// What [`Finding::times`] is a multiple of, as in `1.17–1.54 × the sum of its parts`.
    pub measure: &'static str,
    pub(crate) check: fn(&[CheckedTable<'_>]) -> Vec<Finding>,
}

/// Every rule, in the order of findings about one line.
pub const RULES: [Rule; 21] = [
    identities::THROUGHPUT,
    identities::THROUGHPUT_AS_LATENCY,
    consistency::WALL_CLOCK_SHORT,
    consistency::WALL_CLOCK_LONG,
    consistency::GENERATION_LENGTH,
    consistency::HALVES,
    physics::TOKEN_BANDWIDTH,
    physics::PROMPT_BANDWIDTH,
    physics::TOKEN_COMPUTE,
    physics::PROMPT_COMPUTE,
    physics::WALL_CLOCK_PEAK,
    speed::FP32_ACCUMULATION,
    physics::MEMORY,
    speed::FAR_BELOW_PEAK,
    shape::LARGER_MODEL,
    copies::REPEATED_ROWS,
    copies::COPIED_ROWS,
    shape::FALLING_LATENCY,
    shape::OUT_OF_MEMORY_ORDER,
    shape::MISSING_CELLS,
    shape::DUPLICATE_CELLS,
];

/// The largest difference between two measurements of one thing: means of a hundred forwards or more lie within one or two
/// percent of each other from run to run, on a shared machine within a few.
const NOISE: f64 = 0.05;

/// The factor in bytes to read from which a model counts as larger: less could be lost in noise and launch times.
const LARGER: f64 = 1.25;

/// A finding for every row of every table for which `check` has one.
fn each_row(
    tables: &[CheckedTable<'_>],
    check: impl Fn(&CheckedTable<'_>, &ResultRow<'_>) -> Option<Finding>,
) -> Vec<Finding> {
    let rows = tables.iter().flat_map(|table| table.source.rows.iter().map(move |row| (table, row)));
    rows.filter_map(|(table, row)| check(table, row)).collect()
}

/// A number for a message: four digits.
fn short(number: f64) -> String {
    results::format_short(number)
}

/// Bytes or operations for a message, the unit left to the caller: `25.68 G`, `2039 G` as datasheets say it, `312.0 T`.
fn large(number: f64) -> String {
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M")];
    let (step, prefix) = steps.into_iter().find(|(step, _)| number >= 10.0 * step).unwrap_or((1.0, ""));
    format!("{} {prefix}", short(number / step))
}

/// A share for a message: `1.8 %`.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Significant digits of a figure as it was printed; very many for one that was not.
fn digits(figure: Figure) -> f64 {
    if figure.value > 0.0 { (figure.value / (2.0 * figure.half_width)).log10().floor() + 1.0 } else { 0.0 }
}

/// The remark behind a figure that depends on an unknown generation length.
fn assumed(length: GenerationLength) -> &'static str {
    if length.is_known() { "" } else { " (assuming 256 tokens: set --generation-length)" }
}
