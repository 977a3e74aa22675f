//! Ways to go wrong, each as real as a process can make it.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use protocol::Phase;
use serde::{Deserialize, Serialize};

/// What goes wrong in which phase of which cells.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    kind: Kind,
    phase: Phase,
    /// Only cells of at least this batch size.
    #[serde(default)]
    min_batch_size: usize,
    /// Only cells of at least this prompt length.
    #[serde(default)]
    min_prompt_length: usize,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// The engine reports that memory ran out.
    OutOfMemory,
    /// The engine reports another error, of several lines.
    Error,
    /// The engine panics.
    Panic,
    /// SIGABRT.
    Abort,
    /// SIGSEGV.
    Segfault,
    /// The process exits with code 3.
    Exit,
    /// The forward never returns.
    Hang,
    /// A line that is not JSON where a reply should be.
    Garbage,
}

impl Fault {
    /// Goes wrong, where it is told to.
    pub(crate) fn strike(&self, phase: Phase, batch_size: usize, prompt_length: usize) -> Result<()> {
        let met = batch_size >= self.min_batch_size && prompt_length >= self.min_prompt_length;
        if phase != self.phase || !met {
            return Ok(());
        }
        match self.kind {
            Kind::OutOfMemory => bail!("std::bad_alloc"),
            Kind::Error => bail!("scripted error\nwith a second line\n   at a backtrace"),
            Kind::Panic => panic!("scripted panic"),
            Kind::Abort => std::process::abort(),
            Kind::Segfault => {
                let _ = std::io::stderr().write_all(b"about to touch address 0\n");
                // SAFETY: none: this is the fault. Address 0 is never mapped.
                unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
                Ok(())
            }
            Kind::Exit => std::process::exit(3),
            Kind::Hang => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
            Kind::Garbage => {
                // The pipe is the one descriptor above stderr that is open for writing: 3.
                let _ = std::fs::OpenOptions::new()
                    .write(true)
                    .open("/proc/self/fd/3")
                    .and_then(|mut pipe| pipe.write_all(b"{\"reply\":\"measured\",\"prompt_sec\n"));
                Ok(())
            }
        }
    }
}
