//! Tables as text. An [`Exporter`] writes runs or published tables in one format: [`Markdown`], [`Csv`], [`Json`] and [`Terminal`].
//! Beside them a published table held against a run's ([`reproduction`]), and
//! what it leaves for collectives ([`CollectivesLeft`]).

mod collectives_left;
pub mod csv;
mod exporter;
pub mod json;
pub mod markdown;
pub mod reproduction;
pub mod terminal;

pub use collectives_left::{CollectivesLeft, Left, LeftRow};
pub use csv::Csv;
pub use exporter::{ExportInput, Exported, Exporter};
pub use json::Json;
pub use markdown::Markdown;
pub use terminal::Terminal;
