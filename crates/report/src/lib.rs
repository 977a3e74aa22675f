//! Tables as text: [`markdown`], [`csv`], [`json`] and [`terminal`] write them; a published table beside a run's
//! ([`reproduction`]), and what it leaves for collectives ([`CollectivesLeft`]).

mod collectives_left;
pub mod csv;
pub mod json;
pub mod markdown;
pub mod reproduction;
pub mod terminal;

pub use collectives_left::{CollectivesLeft, Left, LeftRow};
