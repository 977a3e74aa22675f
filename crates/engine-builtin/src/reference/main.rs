//! `llama2-bench-reference`: a worker that computes LLaMA in plain Rust, slowly and in double precision.
//!
//! It shares no tensor code with the engines that are timed: `verify` compares them with it.

mod engine;
mod model;

use std::process::ExitCode;

fn main() -> ExitCode {
    worker::serve(&mut engine::Reference::default())
}
