//! A run as a page to look at: one HTML file with everything in it, and its plots as files of their own.
//!
//! [`Page::new`] draws the plots of one or several runs as SVG; [`Html`] puts them between what a reader wants
//! first and the tables. Nothing in the page comes from elsewhere, and the same records make the same bytes.

mod caveats;
mod html;
mod plot;
mod plots;
mod roofline_cost;
mod scene;

pub use html::{HistoryPage, Html, ListedRun, Page, UnreadableFolder, message_page, runs_page};
pub use plot::{DataTable, Plot};
pub use scene::{AuditedRun, Comparison};

/// An image of a plot could not be made.
#[cfg(feature = "png")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The plot, and why.
    #[error("image of {0}")]
    Image(String),
}
