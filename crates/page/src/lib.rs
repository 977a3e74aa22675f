//! A run as a page to look at: one HTML file with everything in it, and its plots as files of their own.
//!
//! [`Page::new`] draws the plots of one or several runs with plotters; [`Page::html`] puts them between what a reader wants
//! first and the tables. Nothing in the page comes from elsewhere, and the same records make the same bytes.

mod caveats;
mod html;
mod plot;
mod plots;
mod roofline_cost;
mod scene;

pub use html::Page;
pub use plot::{DataTable, Plot};
pub use scene::{AuditedRun, Comparison};

/// A page, or a plot of it, could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A panel could not be drawn.
    #[error("drawing {0}")]
    Drawing(String),
    /// An image could not be made.
    #[error("image of {0}")]
    Image(String),
}
