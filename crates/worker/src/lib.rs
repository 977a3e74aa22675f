//! The worker's side of the pipe.
//!
//! An engine's `main` is one line, [`serve`], with a type that implements [`Engine`]. The loop that times it is
//! [`measure`](timing::measure): there is no other, so engines differ only in what they compute.

mod engine;
mod generate;
mod huge_pages;
mod memory;
pub mod nvidia;
mod nvtx;
mod options;
pub mod peaks;
mod pipe;
mod profile;
mod progress;
mod ranks;
pub mod timing;

pub use engine::{Engine, PeakMemory, Prompt};
pub use huge_pages::{ask_for_huge_pages, huge_pages_variable, move_to_huge_pages};
pub use memory::OutOfMemory;
pub use options::{OptionError, describe_options, resolve_options, take_flag, take_word, unknown_options};
pub use pipe::{Replies, serve, serve_ranks, serve_with_clock};
pub use progress::Reporter;
pub use ranks::join;
