//! A process that tokenizes is started, asked, and killed when it takes too long or the user stops the program.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::getpid;
use serde::de::DeserializeOwned;

use crate::protocol::{TOKENIZE, TOKENIZER_FILE, TokenizedPrompt, TokenizerRequest, memory_limit};

/// How long it may take. Llama 3's takes a second.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of an answer: 4096 tokens of 256 rows, at 16 bytes each, take a quarter of this.
const LONGEST_ANSWER: u64 = 64 << 20;
/// What to do without a tokenizer.
const ADVICE: &str = "--prompt-ids takes the prompt as token ids";
/// How often a waiting program looks whether the user asked to stop.
const INTERRUPT_PERIOD: Duration = Duration::from_millis(100);

/// When tokenizing is given up.
#[derive(Debug, Clone, Copy)]
pub struct GiveUp {
    /// Gives up after this time; after 10 s at most.
    pub after: Duration,
    /// Gives up when the user asked to stop.
    pub when: fn() -> bool,
}

/// The token ids of a prompt, by the tokenizer of the checkpoint in `dir`; `program` is the one that tokenizes.
///
/// # Errors
/// Fails where its files can't be read or followed, or the tokenizer does not end as it should.
pub fn encode(program: &Path, dir: &Path, text: &str, give_up: GiveUp) -> Result<TokenizedPrompt> {
    ask(program, dir, &TokenizerRequest::Encode(text.into()), give_up)
}

/// The text of each row of tokens, without special ones.
///
/// # Errors
/// Fails as [`encode`] does.
pub fn decode(program: &Path, dir: &Path, rows: &[Vec<u32>], give_up: GiveUp) -> Result<Vec<String>> {
    ask(program, dir, &TokenizerRequest::Decode(rows.into()), give_up)
}

fn ask<T: DeserializeOwned>(
    program: &Path,
    dir: &Path,
    question: &TokenizerRequest,
    give_up: GiveUp,
) -> Result<T> {
    let file = dir.join(TOKENIZER_FILE).display().to_string();
    let mut child = Command::new(program)
        .args([TOKENIZE.into(), getpid().to_string().into(), dir.as_os_str().to_owned()])
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("{}: no such program: run `make build`, or {ADVICE}", program.display())
            }
            _ => anyhow!("{}: {error}", program.display()),
        })?;
    let stderr = child.stderr.take().map(|pipe| spawn(|| start_of(pipe)));
    let answer = answer(&mut child, question, give_up);
    // It has ended, or its answer counts no more.
    let _ = child.kill();
    let status = child.wait().context("the process that tokenizes")?;
    let stderr = stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let answer = answer.with_context(|| file.clone())?;
    match serde_json::from_slice::<Result<T, String>>(&answer) {
        Ok(answer) => answer.map_err(|why| anyhow!(why)),
        Err(_) => Err(anyhow!("{file}: {}: {ADVICE}", why_no_answer(&answer, status, &stderr))),
    }
}

/// What the process writes to stdout until it ends.
///
/// # Errors
/// Fails where the deadline passes, or the user asks to stop.
fn answer(child: &mut Child, question: &TokenizerRequest, give_up: GiveUp) -> Result<Vec<u8>> {
    let question = serde_json::to_vec(question)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A process that does not read must not block this side; how it ends says why.
        spawn(move || pipe.write_all(&question));
    }
    let (sender, receiver) = channel();
    if let Some(pipe) = child.stdout.take() {
        spawn(move || {
            let mut answer = Vec::new();
            let _ = pipe.take(LONGEST_ANSWER + 1).read_to_end(&mut answer);
            sender.send(answer)
        });
    }
    let (start, most) = (Instant::now(), give_up.after.min(DEADLINE));
    loop {
        match receiver.recv_timeout(INTERRUPT_PERIOD) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Disconnected) => return Ok(Vec::new()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        ensure!(!(give_up.when)(), "interrupted");
        ensure!(start.elapsed() < most, "tokenizing took more than {} s: {ADVICE}", most.as_secs_f64());
    }
}

/// The start of what comes; the rest is read, too.
fn start_of(mut pipe: impl Read) -> String {
    let mut start = Vec::new();
    let _ = pipe.by_ref().take(64 << 10).read_to_end(&mut start);
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    String::from_utf8_lossy(&start).into_owned()
}

fn why_no_answer(answer: &[u8], status: ExitStatus, stderr: &str) -> String {
    if answer.len() as u64 > LONGEST_ANSWER {
        return format!("tokenizing gives more than {} MiB of output", LONGEST_ANSWER >> 20);
    }
    // What Rust's allocator says before it aborts.
    if stderr.contains("memory allocation of ") {
        let gib = memory_limit() as f64 / f64::from(1 << 30);
        return format!("tokenizing needs more than {gib} GiB of memory");
    }
    let last: String = stderr.trim_end().lines().last().unwrap_or_default().chars().take(200).collect();
    match status.signal() {
        _ if !last.is_empty() => format!("the tokenizer crashed: {last}"),
        Some(signal) => format!("the tokenizer was killed by signal {signal}"),
        None => "the tokenizer ended without an answer".into(),
    }
}
