//! What two columns of a row say of each other.

use results::{Column, ResultRow};

use super::{Rule, percent, short};
use crate::checked_table::{CheckedTable, seconds};
use crate::{Finding, Severity};

/// Columns may be means of different kinds (the mean of throughputs is not the throughput of the mean): a percent.
const TOLERANCE: f64 = 0.01;

pub(super) const THROUGHPUT: Rule = Rule {
    name: "throughput",
    about: "throughput · latency = tokens, within 1 % and the rounding of the printed digits: B·P for the prompt, B for a \
            token, B·(P + G) for the wall clock",
    check: throughput,
};

fn throughput(tables: &[CheckedTable<'_>]) -> Vec<Finding> {
    let rows = tables.iter().flat_map(|table| table.source.rows.iter().map(move |row| (table, row)));
    rows.flat_map(|(table, row)| identities(table, row).into_iter().flatten()).collect()
}

fn identities(table: &CheckedTable<'_>, row: &ResultRow<'_>) -> [Option<Finding>; 4] {
    let [batch, prompt] = [row.size.batch_size, row.size.prompt_length].map(f64::from);
    let (b, p, g) = (row.size.batch_size, row.size.prompt_length, table.source.generation_length);
    [
        (Column::PromptLatency, Column::PromptThroughput, batch * prompt, format!("{b} × {p}")),
        (Column::First128Latency, Column::First128Throughput, batch, b.to_string()),
        (Column::First256Latency, Column::First256Throughput, batch, b.to_string()),
        (
            Column::WallLatency,
            Column::WallThroughput,
            batch * (prompt + f64::from(g)),
            format!("{b} × ({p} + {g})"),
        ),
    ]
    .map(|(latency_column, column, tokens, formula)| {
        let (latency, throughput) = (seconds(row, latency_column)?, seconds(row, column)?);
        let product = [latency.least() * throughput.least(), latency.most() * throughput.most()];
        if product[1] >= tokens * (1.0 - TOLERANCE) && product[0] <= tokens * (1.0 + TOLERANCE) {
            return None;
        }
        // A latency that is printed as 0 was at least less than the first digit that is not printed.
        let expected = tokens / if latency.value > 0.0 { latency.value } else { latency.most() };
        let off = throughput.value / expected - 1.0;
        let direction = if off < 0.0 { "less" } else { "more" };
        let message = format!(
            "{} tps is {} {direction} than {formula} / {} {} = {} tps",
            short(throughput.value),
            percent(off.abs()),
            short(latency.value / latency_column.seconds()),
            latency_column.unit(),
            short(expected),
        );
        Some(table.figure_finding((Severity::Impossible, THROUGHPUT.name), row, column, expected, message))
    })
}
