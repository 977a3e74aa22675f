//! A worker process: spawn, ask, wait with a deadline, kill, reap. Linux.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::{Hello, PROTOCOL, Phase, Progress, Reply, Request};

use crate::classify::{Evidence, WorkerEnd};
use crate::{EngineCommand, interrupted};

/// Bounds on a worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Its private memory, in bytes (`RLIMIT_DATA`).
    pub memory_bytes: Option<u64>,
    /// The time of one request.
    pub request: Duration,
}

/// A request that was not answered as it should be.
#[derive(Debug)]
pub enum WorkerError {
    /// What is known of the failure; the worker is dead, or reported it and can be asked again.
    Evidence(Evidence),
    /// The user asked to stop; the worker is dead.
    Interrupted,
}

/// A reply of this size holds the logits of a batch; more is not this protocol.
const LONGEST_LINE: u64 = 1 << 30;
const STDERR_KEPT: usize = 64 << 10;
/// How often a waiting harness looks whether the user asked to stop.
const INTERRUPT_PERIOD: Duration = Duration::from_millis(200);
const HELLO_DEADLINE: Duration = Duration::from_secs(120);
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

enum Line {
    Reply(Box<Reply>),
    Garbage(String),
}

/// A running worker. Dropping it kills it, its children with it.
pub struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Line>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    request_deadline: Duration,
    reaped: bool,
    /// What it said of itself.
    pub hello: Hello,
}

impl Worker {
    /// Starts the worker of an engine and waits for its hello.
    ///
    /// The worker leads a process group of its own and dies with this thread's process, however that ends.
    pub fn spawn(command: &EngineCommand, limits: Limits) -> Result<Self, WorkerError> {
        let mut process = Command::new(&command.program);
        process
            .args(&command.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let parent = std::process::id();
        let memory = limits.memory_bytes;
        // SAFETY: between fork and exec only async-signal-safe calls are made.
        unsafe { process.pre_exec(move || restrain(parent, memory)) };
        let mut child = process.spawn().map_err(|error| {
            let program = command.program.display();
            let what = if error.kind() == std::io::ErrorKind::NotFound {
                format!("no program {program}: run `make build`")
            } else {
                format!("{program}: {error}")
            };
            WorkerError::Evidence(Evidence {
                phase: Phase::Load,
                end: WorkerEnd::NotStarted(what),
                stderr: String::new(),
            })
        })?;

        let (sender, lines) = sync_channel(64);
        let stdout = child.stdout.take().map(|pipe| std::thread::spawn(move || read_replies(pipe, &sender)));
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stderr);
        let drain = child.stderr.take().map(|pipe| std::thread::spawn(move || keep_tail(pipe, &kept)));
        let hello = Hello { protocol: 0, engine: String::new(), libraries: Vec::new(), devices: Vec::new() };
        let mut worker = Self {
            stdin: child.stdin.take(),
            child,
            lines,
            stderr,
            readers: stdout.into_iter().chain(drain).collect(),
            request_deadline: limits.request,
            reaped: false,
            hello,
        };
        match worker.receive(HELLO_DEADLINE, Phase::Load, &mut |_| ())? {
            Reply::Hello(hello) if hello.protocol == PROTOCOL => worker.hello = hello,
            Reply::Hello(hello) => {
                let what = format!("the worker speaks protocol {}, expected {PROTOCOL}", hello.protocol);
                return Err(worker.protocol_error(Phase::Load, what));
            }
            other => {
                return Err(
                    worker.protocol_error(Phase::Load, format!("expected hello, found {}", name(&other)))
                );
            }
        }
        Ok(worker)
    }

    /// Asks, and waits for the answer; progress goes to `progress` meanwhile.
    pub fn ask(
        &mut self,
        request: &Request,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Reply, WorkerError> {
        let phase = if matches!(request, Request::Load(_)) { Phase::Load } else { Phase::Prompt };
        let mut line = serde_json::to_vec(request).expect("a request is plain JSON");
        line.push(b'\n');
        // A worker that died or closed its end is described by its end, not by this write.
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(&line).and_then(|()| stdin.flush());
        }
        match self.receive(self.request_deadline, phase, progress)? {
            Reply::Failed(failure) => Err(WorkerError::Evidence(Evidence {
                phase: failure.phase,
                end: WorkerEnd::Reported(failure.message),
                stderr: String::new(),
            })),
            reply => Ok(reply),
        }
    }

    /// Ends the worker in order; kills it where it does not end.
    pub fn shutdown(mut self) {
        let mut line = serde_json::to_vec(&Request::Shutdown).expect("a request is plain JSON");
        line.push(b'\n');
        if let Some(mut stdin) = self.stdin.take() {
            let _ = stdin.write_all(&line);
        }
        // Its end closes the pipe, which ends the channel.
        let deadline = Instant::now() + SHUTDOWN_DEADLINE;
        while self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
    }

    /// An answer of the wrong kind: the worker is killed.
    pub(crate) fn protocol_error(&mut self, phase: Phase, what: String) -> WorkerError {
        self.end(phase, Some(WorkerEnd::Garbage(what)))
    }

    fn receive(
        &mut self,
        deadline: Duration,
        mut phase: Phase,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Reply, WorkerError> {
        let start = Instant::now();
        loop {
            let left = deadline.saturating_sub(start.elapsed());
            match self.lines.recv_timeout(left.min(INTERRUPT_PERIOD)) {
                Ok(Line::Reply(reply)) => match *reply {
                    Reply::Progress(update) => {
                        phase = update.phase;
                        progress(&update);
                    }
                    reply => return Ok(reply),
                },
                Ok(Line::Garbage(what)) => return Err(self.end(phase, Some(WorkerEnd::Garbage(what)))),
                Err(RecvTimeoutError::Disconnected) => return Err(self.end(phase, None)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if interrupted() {
                self.kill();
                return Err(WorkerError::Interrupted);
            }
            if start.elapsed() >= deadline {
                return Err(self.end(phase, Some(WorkerEnd::TimedOut(deadline))));
            }
        }
    }

    /// Kills what is left of the worker and says how it ended: by `known`, else by its exit status.
    fn end(&mut self, phase: Phase, known: Option<WorkerEnd>) -> WorkerError {
        let status = if known.is_some() { self.kill() } else { self.reap_soon() };
        let end = known.unwrap_or_else(|| match status {
            Some(status) => WorkerEnd::Exited { code: status.code(), signal: status.signal() },
            None => WorkerEnd::Garbage("the worker closed its pipe and lived on".into()),
        });
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        WorkerError::Evidence(Evidence { phase, end, stderr: String::from_utf8_lossy(&stderr).into_owned() })
    }

    /// The exit status of a worker that closed its pipe; killed where it does not end by itself.
    fn reap_soon(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.kill();
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        None
    }

    /// Kills the worker's whole group and reaps the worker.
    fn kill(&mut self) -> Option<ExitStatus> {
        if self.reaped {
            return None;
        }
        let group = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: the worker is not reaped yet, so its id still names its own group.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let status = self.child.wait().ok();
        self.reaped = true;
        self.stdin = None;
        // Descriptors may be held by a grandchild that left the group: then its readers are left behind.
        let deadline = Instant::now() + Duration::from_secs(1);
        for reader in self.readers.drain(..) {
            while !reader.is_finished() && Instant::now() < deadline {
                while self.lines.try_recv().is_ok() {}
                std::thread::sleep(Duration::from_millis(1));
            }
            if reader.is_finished() {
                let _ = reader.join();
            }
        }
        status
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs in the child before `exec`.
fn restrain(parent: u32, memory: Option<u64>) -> std::io::Result<()> {
    // SAFETY: plain system calls on values of this function.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // The parent may have died before the call above.
        if libc::getppid().cast_unsigned() != parent {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        if let Some(bytes) = memory {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            if libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

fn read_replies(pipe: impl Read, lines: &SyncSender<Line>) {
    let mut pipe = BufReader::new(pipe);
    loop {
        let mut line = Vec::new();
        match (&mut pipe).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let parsed = serde_json::from_slice(&line).map(|reply| Line::Reply(Box::new(reply)));
        let parsed = parsed.unwrap_or_else(|error| {
            let start: String = String::from_utf8_lossy(&line[..line.len().min(80)]).trim_end().into();
            Line::Garbage(format!("not a reply of this protocol ({error}): {start}"))
        });
        if lines.send(parsed).is_err() {
            return;
        }
    }
}

fn keep_tail(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&buffer[..count]);
        let excess = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..excess);
    }
}

fn name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Hello(_) => "hello",
        Reply::Progress(_) => "progress",
        Reply::Loaded(_) => "loaded",
        Reply::Measured(_) => "measured",
        Reply::Generated(_) => "generated",
        Reply::Failed(_) => "failed",
    }
}
