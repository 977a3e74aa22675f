//! The side of the pipe that tokenizes. The process bounds its own memory, and the kernel ends it with the one that started it.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use tokenizer::{TOKENIZE, TokenizerRequest, memory_limit};

use crate::prompt_tokenizer::PromptTokenizer;

/// Answers one question, and returns the exit code, where this process was started to tokenize.
#[expect(clippy::print_stderr, reason = "the program that starts this process reads its stderr")]
pub fn answer_if_asked() -> Option<ExitCode> {
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

/// Bounds this process's memory, and has the kernel end it with its parent.
fn restrain(parent: &OsString) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the call above.
    ensure!(getppid().is_some_and(|pid| *parent == *pid.to_string()), "llama2-bench has ended");
    // When memory runs out, the kernel should take this process rather than somebody else's.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    setrlimit(Resource::Data, Rlimit { current: Some(memory_limit()), maximum: Some(memory_limit()) })?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}
