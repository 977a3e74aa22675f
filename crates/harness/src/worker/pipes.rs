//! The pipes of a worker, each with its own thread: it writes requests, reads lines of replies, or keeps the end of stderr.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::ChildStdin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use protocol::Reply;

/// Bytes of stderr that are kept.
const STDERR_KEPT: usize = 64 << 10;

/// A line that a worker wrote.
pub(super) enum WorkerLine {
    /// An answer, or progress, and when it was read.
    Reply(Box<Reply>, Instant),
    /// A line that breaks the protocol; why.
    Garbage(String),
    /// The pipe ended inside a line.
    Torn,
}

/// Writes requests to a worker until it stops reading.
pub(super) fn write_requests(mut pipe: ChildStdin, requests: &Receiver<Vec<u8>>) {
    for line in requests {
        if pipe.write_all(&line).is_err() {
            return;
        }
    }
}

/// Reads lines until the pipe ends or nobody listens.
pub(super) fn read_replies(pipe: impl Read, longest: &AtomicUsize, lines: &SyncSender<WorkerLine>) {
    let mut pipe = BufReader::new(pipe);
    loop {
        let line = match read_line(&mut pipe, longest) {
            Ok(None) | Err(_) => return,
            Ok(Some(line)) => line,
        };
        if lines.send(line).is_err() {
            return;
        }
    }
}

/// The next line; `None` at the pipe's end.
fn read_line(pipe: &mut impl BufRead, longest: &AtomicUsize) -> std::io::Result<Option<WorkerLine>> {
    let mut line = Vec::new();
    // A request may raise the limit while this waits for the first byte.
    pipe.fill_buf()?;
    let longest = longest.load(Ordering::Relaxed);
    pipe.take(longest as u64 + 1).read_until(b'\n', &mut line)?;
    let read_at = Instant::now();
    Ok(match line.last() {
        None => None,
        Some(b'\n') => Some(match parse_reply(&line) {
            Ok(reply) => WorkerLine::Reply(Box::new(reply), read_at),
            Err(what) => WorkerLine::Garbage(what),
        }),
        Some(_) if line.len() > longest => Some(WorkerLine::Garbage(format!(
            "a line of more than {longest} bytes, longer than any answer to this request: {}",
            start_of(&line)
        ))),
        Some(_) => Some(WorkerLine::Torn),
    })
}

/// Reads a line that a worker wrote.
///
/// # Errors
/// Why it is no reply, with the first characters of the line.
pub fn parse_reply(line: &[u8]) -> Result<Reply, String> {
    serde_json::from_slice(line)
        .map_err(|error| format!("not a reply of this protocol ({error}): {}", start_of(line)))
}

fn start_of(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).trim_end().into()
}

/// Keeps the end of what comes.
pub(super) fn keep_tail(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&buffer[..count]);
        let excess = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..excess);
    }
}
