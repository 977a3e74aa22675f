//! Tables as text. A [`TableExporter`] writes runs or published tables in one format: `Markdown`, `Csv`, `Json` and `Terminal` of
//! `results` as tables, the formats here as other tools read figures. It also compares a published table with a run's
//! ([`reproduction`]), and says what it leaves for collectives ([`CollectivesLeft`]).

mod bencher;
mod benchmarks;
mod cells;
mod collectives_left;
pub mod csv;
mod export_input;
mod github_action_benchmark;
mod go_benchmark;
pub mod json;
mod llama_bench;
pub mod markdown;
pub mod reproduction;
pub mod summary;
pub mod terminal;

pub use bencher::Bencher;
pub use collectives_left::{CollectivesLeft, Left, LeftRow};
pub use export_input::{ExportInput, TableExporter};
pub use github_action_benchmark::GithubActionBenchmark;
pub use go_benchmark::GoBenchmark;
pub use llama_bench::LlamaBench;
