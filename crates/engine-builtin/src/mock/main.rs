//! `llama2-bench-mock`: a worker whose latencies, tokens and faults are scripted by its options.
//!
//! `--gpu` claims to have a GPU, whose memory can be limited.
//! `--fault-at-hello KIND` causes a fault before hello; with `--rank N` behind it, only in that rank.

mod engine;
mod fault;
mod script;

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::engine::{Mock, VirtualClock};
use crate::fault::{Fault, Moment};

#[expect(clippy::print_stderr, reason = "stderr is the log of a worker")]
fn main() -> ExitCode {
    let run = || -> Result<ExitCode> {
        let pipe = std::io::stdout().as_fd().try_clone_to_owned().context("stdout")?;
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let has_gpu = words == ["--gpu"];
        let fault = match words[..] {
            [] | ["--gpu"] => None,
            ["--fault-at-hello", kind] => Some(Fault::at_hello(kind, None)?),
            ["--fault-at-hello", kind, "--rank", rank] => Some(Fault::at_hello(kind, Some(rank.parse()?))?),
            _ => bail!("expected no argument, --gpu or --fault-at-hello KIND, found {arguments:?}"),
        };
        let world = match worker::join() {
            Ok(world) => world,
            Err(code) => return Ok(code),
        };
        if let Some(fault) = fault {
            fault.strike(Moment::Hello, [0, 0], world.rank(), &pipe)?;
        }
        let clock = VirtualClock::default();
        let own_pipe = pipe.try_clone().context("stdout")?;
        let mut engine = Mock::new(clock.clone(), pipe, world.clone(), has_gpu);
        let after_answer = engine.after_answer();
        let mut lines = io::stdin().lines();
        let mut requests = std::iter::from_fn(|| {
            let struck = after_answer
                .take()
                .map_or(Ok(()), |(fault, size)| fault.strike(Moment::Answer, size, world.rank(), &own_pipe));
            struck.map_err(io::Error::other).map_or_else(|error| Some(Err(error)), |()| lines.next())
        });
        let code = worker::serve_with_clock(&mut engine, &clock, &world, &mut requests);
        engine.strike(Moment::Goodbye)?;
        Ok(code)
    };
    run().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}
