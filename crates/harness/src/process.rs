//! A worker process: spawn, ask, wait with a deadline, kill, reap. Linux.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
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
    /// A thread of its own writes the requests: a worker that does not read must not block this side.
    requests: Option<Sender<Vec<u8>>>,
    lines: Receiver<Line>,
    stderr: Arc<Mutex<Vec<u8>>>,
    threads: Vec<JoinHandle<()>>,
    request_deadline: Duration,
    /// `oom_kill` of `/proc/vmstat` when the request was sent.
    oom_kills_before: u64,
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
            let end = WorkerEnd::NotStarted(what);
            WorkerError::Evidence(Evidence {
                phase: Phase::Load,
                end,
                stderr: String::new(),
                kernel_oom_kills: 0,
            })
        })?;

        let (sender, lines) = sync_channel(64);
        let stdout = child.stdout.take().map(|pipe| std::thread::spawn(move || read_replies(pipe, &sender)));
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stderr);
        let drain = child.stderr.take().map(|pipe| std::thread::spawn(move || keep_tail(pipe, &kept)));
        let (requests, queue) = channel();
        let writer = child.stdin.take().map(|pipe| std::thread::spawn(move || write_requests(pipe, &queue)));
        let mut worker = Self {
            requests: Some(requests),
            child,
            lines,
            stderr,
            threads: stdout.into_iter().chain(drain).chain(writer).collect(),
            request_deadline: limits.request,
            oom_kills_before: kernel_oom_kills(),
            reaped: false,
            hello: Hello::default(),
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
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.oom_kills_before = kernel_oom_kills();
        self.send(request);
        match self.receive(self.request_deadline, phase, progress)? {
            Reply::Failed(failure) => Err(WorkerError::Evidence(Evidence {
                phase: failure.phase,
                end: WorkerEnd::Reported(failure.message),
                stderr: String::new(),
                kernel_oom_kills: 0,
            })),
            reply => Ok(reply),
        }
    }

    /// Ends the worker in order; kills it where it does not end.
    pub fn shutdown(mut self) {
        self.send(&Request::Shutdown);
        self.requests = None;
        // Its end closes the pipe, which ends the channel, unless a child of its own holds it open.
        let deadline = Instant::now() + SHUTDOWN_DEADLINE;
        while Instant::now() < deadline {
            match self.lines.recv_timeout(INTERRUPT_PERIOD) {
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) if self.has_exited() => return,
                _ => {}
            }
        }
    }

    /// A worker that died or closed its end is described by its end, not by this write.
    fn send(&self, request: &Request) {
        let mut line = serde_json::to_vec(request).expect("a request is plain JSON");
        line.push(b'\n');
        if let Some(requests) = &self.requests {
            let _ = requests.send(line);
        }
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
                // A child of the worker may hold the pipe open.
                Err(RecvTimeoutError::Timeout)
                    if self.has_exited() && self.lines.recv_timeout(INTERRUPT_PERIOD).is_err() =>
                {
                    return Err(self.end(phase, None));
                }
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
        let kernel_oom_kills = kernel_oom_kills().saturating_sub(self.oom_kills_before);
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        WorkerError::Evidence(Evidence { phase, end, stderr, kernel_oom_kills })
    }

    /// The exit status of a worker that closed its pipe; killed where it does not end by itself.
    fn reap_soon(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if self.has_exited() {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        None
    }

    /// Whether the worker has ended; it is not reaped by this.
    fn has_exited(&self) -> bool {
        // SAFETY: an all-zero `siginfo_t` is valid, and the call only writes to it.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PID, self.child.id(), &raw mut info, options) == 0 && info.si_pid() != 0
        }
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
        self.requests = None;
        // Descriptors may be held by a grandchild that left the group: then their threads are left behind.
        let deadline = Instant::now() + Duration::from_secs(1);
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < deadline {
                while self.lines.try_recv().is_ok() {}
                std::thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                let _ = thread.join();
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

fn write_requests(mut pipe: ChildStdin, requests: &Receiver<Vec<u8>>) {
    for line in requests {
        if pipe.write_all(&line).is_err() {
            return;
        }
    }
}

/// Processes that the kernel killed for want of memory since it started.
fn kernel_oom_kills() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = counters.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
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
