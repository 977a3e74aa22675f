//! The pipe's loop: one JSON object a line, requests on stdin, replies on what was stdout at the start.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use collective::World;
use protocol::{Failure, PROTOCOL, Phase, Profiled, Reply, Request};

use crate::nvtx::Profilers;
use crate::profile::profile;
use crate::ranks::{introduce, settle};
use crate::timing::{Clock, Job, MonotonicClock, measure};
use crate::{Engine, Prompt, Reporter};

/// Serves requests until `shutdown` or the end of stdin.
pub fn serve(engine: &mut dyn Engine) -> ExitCode {
    serve_ranks(engine, &World::alone())
}

/// [`serve`], as one of the ranks of `world`: rank 0 has the pipe.
pub fn serve_ranks(engine: &mut dyn Engine, world: &World) -> ExitCode {
    serve_with_clock(engine, &MonotonicClock::start(), world, &mut io::stdin().lines())
}

/// [`serve_ranks`], with another clock and other lines than stdin's: for engines that are scripted.
#[expect(clippy::print_stderr, reason = "stderr is the log of a worker")]
pub fn serve_with_clock(
    engine: &mut dyn Engine,
    clock: &dyn Clock,
    world: &World,
    requests: &mut dyn Iterator<Item = io::Result<String>>,
) -> ExitCode {
    let served = Replies::take_stdout(world.rank() == 0)
        .context("taking stdout")
        .and_then(|replies| serve_requests(engine, clock, world, &replies, requests));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            if !world.is_alone() {
                world.abort();
            }
            ExitCode::FAILURE
        }
    }
}

/// Where replies go: what was stdout at the start, or nowhere for a rank that does not speak.
#[derive(Clone)]
pub struct Replies(Arc<Mutex<File>>, bool);

impl Replies {
    /// Takes stdout for replies alone: whatever a library prints to stdout from now on goes to stderr.
    ///
    /// # Errors
    /// Fails where the descriptor can't be duplicated.
    pub fn take_stdout(speaks: bool) -> io::Result<Self> {
        let stdout = io::stdout().as_raw_fd();
        // SAFETY: both descriptors are open for the whole life of the process, and `dup`'s result is owned by nobody else.
        let pipe = unsafe {
            let pipe = libc::fcntl(stdout, libc::F_DUPFD_CLOEXEC, 3);
            if pipe < 0 || libc::dup2(io::stderr().as_raw_fd(), stdout) < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(pipe)
        };
        Ok(Self(Arc::new(Mutex::new(pipe)), speaks))
    }

    /// Says instead of hello that this worker can't start.
    ///
    /// # Errors
    /// Fails where the harness is gone.
    pub fn fail(&self, message: String) -> Result<()> {
        self.send(&Reply::Failed(Failure { phase: Phase::Load, message }))
    }

    /// [`serve`] for a caller that has taken stdout already: `requests` are stdin's lines.
    ///
    /// # Errors
    /// Fails where the harness is gone.
    pub fn serve(
        &self,
        engine: &mut dyn Engine,
        requests: &mut dyn Iterator<Item = io::Result<String>>,
    ) -> Result<()> {
        serve_requests(engine, &MonotonicClock::start(), &World::alone(), self, requests)
    }

    fn send(&self, reply: &Reply) -> Result<()> {
        if !self.1 {
            return Ok(());
        }
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.write_all(&line).context("writing a reply: the harness is gone")
    }
}

fn serve_requests(
    engine: &mut dyn Engine,
    clock: &dyn Clock,
    world: &World,
    replies: &Replies,
    requests: &mut dyn Iterator<Item = io::Result<String>>,
) -> Result<()> {
    replies.send(&Reply::Hello(introduce(world, engine.hello())?))?;
    let mut weights_bytes = None;
    loop {
        let line =
            if world.rank() == 0 { requests.next().transpose().context("reading a request")? } else { None };
        // Rank 0's end of stdin ends every rank.
        let Some(line) = world.broadcast(line)? else { break };
        let own = match serde_json::from_str(&line) {
            Ok(Request::Shutdown) => break,
            Ok(request) => own_answer(engine, clock, world, request, replies)?,
            Err(error) => {
                let message = format!("not a request of protocol {PROTOCOL}: {error}");
                Reply::Failed(Failure { phase: Phase::Load, message })
            }
        };
        if let Reply::Loaded(loaded) = &own {
            weights_bytes = Some(loaded.weights_bytes);
        }
        replies.send(&settle(world, own, weights_bytes)?)?;
    }
    world.finish();
    Ok(())
}

/// This rank's answer; progress goes to `replies`.
fn own_answer(
    engine: &mut dyn Engine,
    clock: &dyn Clock,
    world: &World,
    request: Request,
    replies: &Replies,
) -> Result<Reply> {
    let first_phase =
        if matches!(request, Request::Load(_) | Request::Peaks(_)) { Phase::Load } else { Phase::Prompt };
    let pipe = replies.clone();
    let reporter = Reporter::start(first_phase, move |progress| {
        let _ = pipe.send(&Reply::Progress(progress.clone()));
    })
    .context("failed to spawn thread")?;
    let answer = catch_unwind(AssertUnwindSafe(|| answer(engine, clock, world, request, &reporter)));
    let phase = reporter.current_phase();
    drop(reporter);
    let failed = |message| Reply::Failed(Failure { phase, message });
    Ok(match answer {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => failed(format!("{error:#}")),
        Err(panic) => failed(format!("panic: {}", panic_message(&*panic))),
    })
}

fn answer(
    engine: &mut dyn Engine,
    clock: &dyn Clock,
    world: &World,
    request: Request,
    reporter: &Reporter,
) -> Result<Reply> {
    Ok(match request {
        Request::Load(request) => Reply::Loaded(engine.load(&request, reporter)?),
        Request::Measure(request) => {
            let generation_length = request.generation_length as usize;
            let prompt = checked_prompt(engine, &request.prompt_ids, generation_length)?;
            let (procedure, collectives) = (request.procedure, request.collectives);
            let job = Job { prompt: &prompt, generation_length, procedure, collectives };
            Reply::Measured(measure(engine, clock, &job, world, reporter)?)
        }
        Request::Profile(request) => {
            let generation_length = request.generation_length as usize;
            let prompt = checked_prompt(engine, &request.prompt_ids, generation_length)?;
            let warmup_runs = request.procedure.warmup_runs;
            let mut profilers = Profilers::find();
            profile(engine, &prompt, generation_length, warmup_runs, world, reporter, &mut profilers)?;
            Reply::Profiled(Profiled { notes: profilers.notes })
        }
        Request::Generate(request) => {
            let max_new_tokens = request.max_new_tokens as usize;
            ensure!(max_new_tokens > 0, "max_new_tokens: expected 1 or more, found 0");
            let prompt = checked_prompt(engine, &request.prompt_ids, max_new_tokens - 1)?;
            Reply::Generated(crate::generate::generate(
                engine,
                &prompt,
                max_new_tokens,
                request.logits,
                reporter,
            )?)
        }
        Request::Peaks(request) => Reply::Peaks(engine.peaks(&request)?),
        Request::Shutdown => bail!("shutdown has no answer"),
    })
}

/// Checks a prompt: some engines would read other memory for ids outside the vocabulary or positions outside the context.
fn checked_prompt(engine: &dyn Engine, rows: &[Vec<u32>], decodes: usize) -> Result<Prompt> {
    let batch_size = rows.len();
    let length = rows.first().map_or(0, Vec::len);
    ensure!(length > 0, "prompt_ids: expected one row a sequence, with at least one token");
    ensure!(rows.iter().all(|row| row.len() == length), "prompt_ids: expected rows of one length");
    let vocab_size = engine.vocab_size();
    if let Some(id) = rows.iter().flatten().find(|&&id| id as usize >= vocab_size) {
        bail!("prompt_ids: expected ids below vocab_size ({vocab_size}), found {id}");
    }
    let context = engine.max_position_embeddings();
    ensure!(
        length + decodes <= context,
        "prompt of {length} tokens and {decodes} decode forwards need {} positions: the model has {context} (max_position_embeddings)",
        length + decodes,
    );
    Ok(Prompt { batch_size, length, ids: rows.iter().flatten().map(|&id| i64::from(id)).collect() })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
