//! Results as data: what a run's folder holds, and the published tables.
//!
//! A [`RunFolder`] is written record by record; a [`Run`] is one that was read, its records grouped into one [`Table`] a model.
//! [`published`] reads such tables back, whoever wrote them. A [`Source`] is either, and its [`ResultTable`]s are the one kind
//! that comparisons and audits read. An [`Exporter`] is an output format.

mod column;
mod csv_of_json;
mod exporter;
mod figure;
mod generation_length;
pub mod hardware;
mod heading;
mod heading_precision;
mod import;
mod joined;
mod markdown;
mod metric;
mod number;
pub mod published;
mod result_table;
mod run;
pub mod screen;
mod source;
mod table;
mod text;

pub use column::{COLUMNS, Column};
pub use csv_of_json::{csv_of_json, csv_of_rows};
pub use exporter::{Csv, Exported, Exporter, Json, Markdown, Terminal};
pub use figure::{Figure, Statistic, Value};
pub use generation_length::{GenerationBasis, GenerationLength};
pub use heading::{DeviceKind, Heading, Machine, UnreadableHeading};
pub use heading_precision::{HeadingPrecision, UnknownPrecision};
pub use joined::joined;
pub use markdown::{escape_html_in_markdown, escape_markdown};
pub use metric::{Metric, UnknownMetric};
pub use number::{format_g10, format_short, format_size};
pub use result_table::{ResultRow, ResultTable};
pub use run::{
    Differing, KnownRecords, Merged, RecordReader, Run, RunFolder, StoreError, differing, merge,
    refuse_foreign, refuse_non_empty,
};
pub use screen::counted;
pub use source::{PublishedFile, Source, SourceError};
pub use table::{
    Efficiency, Figures, Grid, GridColumn, Note, NoteKind, NoteSeverity, Row, Table, busy_machine_words,
    fidelity_words, scripted_words, share_used_by_others, tables,
};
pub use text::{csv_field, escaped_json, one_line, plain};
