//! `llama2-bench-mock`: a worker whose latencies, tokens and faults are scripted by its options.
//!
//! `--fault-at-hello KIND` goes wrong before it has heard of any.

mod engine;
mod fault;
mod script;

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::engine::{Mock, VirtualClock};
use crate::fault::{Fault, Moment};

fn main() -> ExitCode {
    let run = || -> Result<ExitCode> {
        let pipe = std::io::stdout().as_fd().try_clone_to_owned().context("stdout")?;
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => {}
            ["--fault-at-hello", kind] => Fault::at_hello(kind)?.strike(Moment::Hello, [0, 0], &pipe)?,
            _ => bail!("expected no argument, or --fault-at-hello KIND, found {arguments:?}"),
        }
        let clock = VirtualClock::default();
        let mut engine = Mock::new(clock.clone(), pipe);
        let code = worker::serve_with_clock(&mut engine, &clock);
        engine.strike(Moment::Goodbye)?;
        Ok(code)
    };
    run().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}
