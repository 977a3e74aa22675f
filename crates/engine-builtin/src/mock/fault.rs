//! Faults, each as real as a process can make it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Moment {
    /// Strikes before the hello; only the command line can ask for it (`--fault-at-hello KIND`).
    Hello,
    Load,
    Prompt,
    Decode,
    /// Strikes after a cell's answer was written, before the next request is read.
    Answer,
    /// Strikes when the worker was told to end.
    Goodbye,
}

/// A fault: its kind, its moment and its cells.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    kind: FaultKind,
    phase: Moment,
    /// Only cells of at least this batch size.
    #[serde(default)]
    min_batch_size: usize,
    /// Only cells of at least this prompt length.
    #[serde(default)]
    min_prompt_length: usize,
    /// The only rank that it strikes, of several.
    #[serde(default)]
    rank: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum FaultKind {
    /// The engine reports that memory ran out, in C++'s words.
    OutOfMemory,
    /// The same in CUDA's words.
    CudaOutOfMemory,
    /// An impossible allocation: Rust's allocator aborts.
    Allocation,
    /// The engine reports another error, of several lines.
    Error,
    /// The engine panics.
    Panic,
    /// SIGABRT.
    Abort,
    /// SIGSEGV.
    Segfault,
    /// SIGKILL, from an unknown sender.
    Kill,
    /// The process exits with code 3.
    Exit,
    /// The process exits with code 0.
    ExitZero,
    /// The process hangs.
    Hang,
    /// The process hangs and ignores SIGTERM, SIGINT and SIGHUP.
    HangDeaf,
    /// The process hangs with two children: one in its group, one that left it.
    HangWithChildren,
    /// Half a reply, then the process exits.
    Truncated,
    /// JSON that is no reply.
    WrongSchema,
    /// A line of 100 MB.
    LongLine,
    /// A library that prints into the pipe.
    StrayText,
    /// A library that prints to stdout.
    Stdout,
    /// The process closes the pipe and lives on.
    ClosedPipe,
    /// A child leaves the group and lives on; the worker goes on.
    Orphan,
}

impl Fault {
    /// A fault before the hello, named as in a sweep.
    pub(crate) fn at_hello(kind: &str, rank: Option<usize>) -> Result<Self> {
        let kind = serde_json::from_value(kind.into())?;
        Ok(Self { kind, phase: Moment::Hello, min_batch_size: 0, min_prompt_length: 0, rank })
    }

    /// Causes the fault, if this is its moment and cell. `pipe` is where the replies are written.
    pub(crate) fn strike(
        &self,
        moment: Moment,
        [batch_size, prompt_length]: [usize; 2],
        rank: usize,
        pipe: &OwnedFd,
    ) -> Result<()> {
        let met = batch_size >= self.min_batch_size && prompt_length >= self.min_prompt_length;
        if moment != self.phase || !met || self.rank.is_some_and(|faulty_rank| faulty_rank != rank) {
            return Ok(());
        }
        let write = |bytes: &[u8]| -> Result<()> {
            Ok(File::from(pipe.as_fd().try_clone_to_owned()?).write_all(bytes)?)
        };
        match self.kind {
            FaultKind::OutOfMemory => bail!("std::bad_alloc"),
            FaultKind::CudaOutOfMemory => bail!("CUDA out of memory. Tried to allocate 2.00 GiB."),
            FaultKind::Allocation => {
                let layout = std::alloc::Layout::from_size_align(1 << 46, 1)?;
                std::alloc::handle_alloc_error(layout)
            }
            FaultKind::Error => bail!("scripted error\nwith a second line\n   at a backtrace"),
            FaultKind::Panic => panic!("scripted panic"),
            FaultKind::Abort => std::process::abort(),
            FaultKind::Segfault => {
                let _ = io::stderr().write_all(b"about to touch address 0\n");
                // SAFETY: none: this is the fault. Address 0 is never mapped.
                unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
            }
            FaultKind::Kill => {
                // SAFETY: a plain call on this process.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            }
            FaultKind::Exit => std::process::exit(3),
            FaultKind::ExitZero => std::process::exit(0),
            FaultKind::Hang => hang(),
            FaultKind::HangDeaf => {
                for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                    // SAFETY: no handler is installed.
                    unsafe { libc::signal(signal, libc::SIG_IGN) };
                }
                hang();
            }
            FaultKind::HangWithChildren => {
                sleeper(false)?;
                sleeper(true)?;
                hang();
            }
            FaultKind::Truncated => {
                write(b"{\"reply\":\"measured\",\"prompt_sec")?;
                std::process::exit(0);
            }
            FaultKind::WrongSchema => write(b"{\"reply\":\"measured\",\"latency_ms\":[1,2,3]}\n")?,
            FaultKind::LongLine => write(&vec![b'1'; 100_000_000])?,
            FaultKind::StrayText => write(b"Downloading: 100%\n")?,
            FaultKind::Stdout => io::stdout().write_all(b"a word on stdout\n")?,
            FaultKind::ClosedPipe => {
                close_all_like(pipe)?;
                hang();
            }
            FaultKind::Orphan => sleeper(true)?,
        }
        Ok(())
    }
}

fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// A child that sleeps for an hour, in a session of its own where it is to leave the group.
fn sleeper(leave: bool) -> Result<()> {
    let mut command = Command::new("sleep");
    command.arg("3600").stdin(Stdio::null());
    // SAFETY: `setsid` is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if leave {
                libc::setsid();
            }
            Ok(())
        });
    }
    command.spawn()?;
    Ok(())
}

/// Closes every descriptor of what `pipe` is one of.
fn close_all_like(pipe: &OwnedFd) -> Result<()> {
    use std::os::fd::AsRawFd;
    let link = |fd: &str| fs::read_link(format!("/proc/self/fd/{fd}"));
    let target = link(&pipe.as_raw_fd().to_string())?;
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if link(&name).is_ok_and(|file| file == target) {
            // SAFETY: this is the fault: the descriptor's owner finds it closed.
            unsafe { libc::close(name.parse()?) };
        }
    }
    Ok(())
}
