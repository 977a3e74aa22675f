//! The process that tokenizes: this program, started again.
//!
//! It bounds its own memory, and is killed when it takes too long, when the user stops the program, or when the program ends.
//! Question and answer are one line of JSON each, on its stdin and stdout.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{
    Resource, Rlimit, Signal, getpid, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::checked::TOKENIZER_FILE;
use crate::prompt_tokenizer::{PromptTokenizer, TokenizedPrompt};

/// The first argument of a program that is to tokenize; then the id of the program that started it, and the checkpoint's folder.
const TOKENIZE: &str = "__tokenize";
/// The most that it may allocate.
const MEMORY: u64 = 2 << 30;
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

#[derive(Serialize, Deserialize)]
enum TokenizerRequest {
    Encode(String),
    Decode(Vec<Vec<u32>>),
}

/// The token ids of a prompt, by the tokenizer of the checkpoint in `dir`.
///
/// # Errors
/// Fails where its files can't be read or followed, or the tokenizer does not end as it should.
pub fn encode(dir: &Path, text: &str, give_up: GiveUp) -> Result<TokenizedPrompt> {
    ask(dir, &TokenizerRequest::Encode(text.into()), give_up)
}

/// The text of each row of tokens, without special ones.
///
/// # Errors
/// Fails as [`encode`] does.
pub fn decode(dir: &Path, rows: &[Vec<u32>], give_up: GiveUp) -> Result<Vec<String>> {
    ask(dir, &TokenizerRequest::Decode(rows.into()), give_up)
}

fn ask<T: DeserializeOwned>(dir: &Path, question: &TokenizerRequest, give_up: GiveUp) -> Result<T> {
    let file = dir.join(TOKENIZER_FILE).display().to_string();
    let mut child = Command::new("/proc/self/exe")
        .args([TOKENIZE.into(), getpid().to_string().into(), dir.as_os_str().to_owned()])
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("the process that tokenizes")?;
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
        let gib = memory() as f64 / f64::from(1 << 30);
        return format!("tokenizing needs more than {gib} GiB of memory");
    }
    let last: String = stderr.trim_end().lines().last().unwrap_or_default().chars().take(200).collect();
    match status.signal() {
        _ if !last.is_empty() => format!("the tokenizer crashed: {last}"),
        Some(signal) => format!("the tokenizer was killed by signal {signal}"),
        None => "the tokenizer ended without an answer".into(),
    }
}

/// What a program that tokenizes does first in its `main`: where it was started to tokenize for itself, it does that, and ends
/// with this code.
#[expect(clippy::print_stderr, reason = "the program that starts this process reads its stderr")]
pub fn process_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != TOKENIZE {
        return None;
    }
    Some(match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why:#}");
            ExitCode::FAILURE
        }
    })
}

#[expect(clippy::print_stderr, reason = "the program that starts this process reads its stderr")]
fn serve(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let (Some(parent), Some(dir)) = (arguments.next(), arguments.next()) else {
        bail!("{TOKENIZE} is for llama2-bench alone");
    };
    restrain(&parent)?;
    // The hook's own words are several lines.
    std::panic::set_hook(Box::new(|panic| eprintln!("{}", panic.payload_as_str().unwrap_or("a panic"))));
    let question: TokenizerRequest = serde_json::from_reader(std::io::stdin().lock())?;
    let tokenizer = PromptTokenizer::read(Path::new(&dir));
    let answer = tokenizer.and_then(|tokenizer| match &question {
        TokenizerRequest::Encode(text) => Ok(serde_json::to_value(tokenizer.encode(text)?)?),
        TokenizerRequest::Decode(rows) => {
            let texts: Vec<String> = rows.iter().map(|row| tokenizer.decode(row)).collect::<Result<_>>()?;
            Ok(serde_json::to_value(texts)?)
        }
    });
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, &answer.map_err(|error| format!("{error:#}")))?;
    Ok(stdout.flush()?)
}

/// [`MEMORY`], or what this process was given if that is less.
fn memory() -> u64 {
    getrlimit(Resource::Data).maximum.map_or(MEMORY, |most| most.min(MEMORY))
}

/// Bounds this process's memory, and has the kernel end it with its parent.
fn restrain(parent: &OsString) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the call above.
    ensure!(getppid().is_some_and(|pid| *parent == *pid.to_string()), "llama2-bench has ended");
    // When memory runs out, the kernel should take this process rather than somebody else's.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    setrlimit(Resource::Data, Rlimit { current: Some(memory()), maximum: Some(memory()) })?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}
