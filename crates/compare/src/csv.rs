//! A comparison as csv: the figures and ends of its JSON, one a row.

use results::{Csv, Exported, Exporter, Json, csv_of_json};

use crate::Report;

/// The lists whose records are rows.
const LISTS: [&[&str]; 3] =
    [&["tables", "sections", "cells"], &["tables", "sections", "means"], &["tables", "ends"]];
/// The columns.
const COLUMNS: &str = "\
    schema baseline candidate tables.baseline tables.candidate metric unit threshold list engine \
    batch_size prompt_length baseline.value baseline.replicates candidate.value candidate.replicates \
    ratio interval.low interval.high adjusted_p pairs verdict other_median.mean other_median.median \
    other_median.median_ratio other_median.is_tail replicates_needed is_by_median is_adjusted round \
    own_threshold drift is_hidden_regression ends.baseline ends.candidate";

impl Exporter<Report> for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn write(&self, report: &Report) -> Exported {
        csv_of_json(&Json.write(report).text, &LISTS, COLUMNS).expect("it was written as JSON").into()
    }
}
