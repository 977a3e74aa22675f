//! Tables as text. An [`Exporter`] writes runs or published tables in one format: [`Markdown`], [`Csv`], [`Json`] and [`Terminal`]
//! as tables, the others as other tools read figures. It also compares a published table with a run's ([`reproduction`]), and says
//! what it leaves for collectives ([`CollectivesLeft`]).

mod bencher;
mod benchmarks;
mod cells;
mod collectives_left;
pub mod csv;
mod exporter;
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
pub use csv::Csv;
pub use exporter::{ExportInput, Exported, Exporter};
pub use github_action_benchmark::GithubActionBenchmark;
pub use go_benchmark::GoBenchmark;
pub use json::Json;
pub use llama_bench::LlamaBench;
pub use markdown::Markdown;
pub use terminal::Terminal;
