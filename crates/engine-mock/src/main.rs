//! `llama2-bench-mock`: a worker whose latencies, tokens and faults are scripted by its options.

mod engine;
mod fault;
mod script;

use std::process::ExitCode;

fn main() -> ExitCode {
    let clock = engine::VirtualClock::default();
    let mut engine = engine::Mock::new(clock.clone());
    worker::serve_with_clock(&mut engine, &clock)
}
