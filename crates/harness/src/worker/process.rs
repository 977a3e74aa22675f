//! A worker process: spawn, ask, wait with deadlines, kill, reap. Linux.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::{Hello, PROTOCOL, Phase, Progress, Reply, Request};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::sweep::limits::HELLO_DEADLINE;
use crate::worker::children::{adopt_orphans, sweep};
use crate::worker::classify::{Deadline, Evidence, WorkerEnd};
use crate::worker::launch::Launch;
use crate::worker::pipes::{WorkerLine, keep_tail, read_replies, write_requests};
use crate::worker::{guard, ranks};
use crate::{EngineCommand, Limits, WorkerProcesses, interrupted};
use machine::OomKills;

/// A request without a proper answer.
#[derive(Debug)]
pub enum WorkerError {
    /// The evidence of the failure. The worker is dead, or reported it and can be asked again.
    Evidence(Box<Evidence>),
    /// The user asked to stop; the worker is dead.
    Interrupted,
}

impl WorkerError {
    pub(crate) fn evidence(evidence: Evidence) -> Self {
        Self::Evidence(Box::new(evidence))
    }
}

/// Bytes of a reply that is neither figures nor logits.
pub(crate) const PLAIN_REPLY: usize = 1 << 20;
/// How often a waiting harness checks whether the user asked to stop.
const INTERRUPT_PERIOD: Duration = Duration::from_millis(200);
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);
/// How long a line without a request is waited for, and how many are read.
const UNASKED_PERIOD: Duration = Duration::from_millis(20);
const MOST_UNASKED: usize = 100;
const AFTER_SHUTDOWN: &str = "it sent something after the request to shut down";
/// Time limit of a guard, which has killed everything long before.
const GUARD_DEADLINE: Duration = Duration::from_secs(30);
/// Time limit of a process that closed its pipe: it may have much memory to unmap, or a device to close.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// Extra time to read an answer that came in time while this program was stopped (Ctrl-Z).
const GRACE: Duration = Duration::from_millis(200);

/// A running worker. Dropping it kills it, and everything that it started.
pub struct Worker {
    /// The worker's guard, which ends as the worker does.
    child: Child,
    /// A separate thread writes the requests, so that a worker that does not read can't block this side.
    requests: Option<Sender<Vec<u8>>>,
    lines: Receiver<WorkerLine>,
    /// The longest next line in bytes.
    longest_line: Arc<AtomicUsize>,
    /// Its output on stderr since the last request.
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Its output on stderr between the last two requests.
    earlier_stderr: Vec<u8>,
    threads: Vec<JoinHandle<()>>,
    limits: Limits,
    /// The counters at the time of the request.
    oom_kills_before: OomKills,
    /// Whether the pipe ended inside a line.
    torn_line: bool,
    /// Number of answered requests.
    answers: u32,
    /// Whether it sent anything valid since the last request.
    is_heard: bool,
    reaped: bool,
    /// The first line that it sent without a request, or that can't be the answer.
    pub(super) unasked: Option<String>,
    /// The number of its ranks.
    world_size: u32,
    /// Its description of itself.
    pub hello: Hello,
}

impl Worker {
    /// Starts the worker of an engine, as one process, and waits for its hello.
    pub fn spawn(command: &EngineCommand, limits: Limits) -> Result<Self, WorkerError> {
        Self::spawn_ranks(command, limits, &WorkerProcesses::ONE)
    }

    /// Starts the worker of an engine as these ranks, and waits for the hello of all of them; `limits` are each rank's.
    pub fn spawn_ranks(
        command: &EngineCommand,
        limits: Limits,
        ranks: &WorkerProcesses,
    ) -> Result<Self, WorkerError> {
        adopt_orphans();
        let not_started = |why| WorkerError::evidence(Evidence::new(Phase::Load, WorkerEnd::NotStarted(why)));
        let launch = Launch::new(command, ranks).map_err(not_started)?;
        let mut child = guard::command(&launch, limits.memory_bytes)
            .spawn()
            .map_err(|error| not_started(error.to_string()))?;
        let longest_line = Arc::new(AtomicUsize::new(PLAIN_REPLY));
        let longest = Arc::clone(&longest_line);
        let (sender, lines) = sync_channel(64);
        let stdout =
            child.stdout.take().map(|pipe| std::thread::spawn(move || read_replies(pipe, &longest, &sender)));
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stderr);
        let drain = child.stderr.take().map(|pipe| std::thread::spawn(move || keep_tail(pipe, &kept)));
        let (requests, queue) = channel();
        let writer = child.stdin.take().map(|pipe| std::thread::spawn(move || write_requests(pipe, &queue)));
        let mut worker = Self {
            requests: Some(requests),
            child,
            lines,
            longest_line,
            stderr,
            earlier_stderr: Vec::new(),
            threads: stdout.into_iter().chain(drain).chain(writer).collect(),
            limits,
            oom_kills_before: OomKills::now(),
            torn_line: false,
            answers: 0,
            is_heard: false,
            reaped: false,
            unasked: None,
            world_size: ranks.world_size,
            hello: Hello::default(),
        };
        let deadline = HELLO_DEADLINE.min(worker.limits.request);
        let end = match worker.receive(Deadline::Hello, deadline, Phase::Load, &mut |_, _| ())? {
            (Reply::Hello(hello), _) if hello.protocol == PROTOCOL => {
                worker.hello = hello;
                return Ok(worker);
            }
            (Reply::Hello(hello), _) => WorkerEnd::Garbage(format!(
                "the worker speaks protocol {}, expected {PROTOCOL}",
                hello.protocol
            )),
            (Reply::Failed(failure), _) => WorkerEnd::NotStarted(failure.message),
            (other, _) => WorkerEnd::Garbage(format!("expected hello, found {}", name(&other))),
        };
        Err(worker.end(Phase::Load, Some(end)))
    }

    /// Asks and waits for the answer of at most `longest` bytes; `progress` gets the progress meanwhile.
    pub fn ask(
        &mut self,
        request: &Request,
        longest: usize,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Reply, WorkerError> {
        self.ask_timed(request, longest, &mut |update, _| progress(update)).map(|(reply, _)| reply)
    }

    /// [`ask`](Self::ask) with the time at which each line was read.
    pub(crate) fn ask_timed(
        &mut self,
        request: &Request,
        longest: usize,
        progress: &mut dyn FnMut(&Progress, Instant),
    ) -> Result<(Reply, Instant), WorkerError> {
        let phase = if matches!(request, Request::Load(_)) { Phase::Load } else { Phase::Prompt };
        let answer = match request {
            Request::Load(_) => "loaded",
            Request::Measure(_) => "measured",
            Request::Generate(_) => "generated",
            Request::Peaks(_) => "peaks",
            Request::Profile(_) => "profiled",
            Request::Shutdown => "nothing",
        };
        self.ask_line(line_of(request), answer, phase, longest, progress)
    }

    /// Asks with this line, which need not be a request. A reply that is neither `answer` nor `failed` is no answer to it.
    pub(super) fn ask_line(
        &mut self,
        line: Vec<u8>,
        answer: &str,
        phase: Phase,
        longest: usize,
        progress: &mut dyn FnMut(&Progress, Instant),
    ) -> Result<(Reply, Instant), WorkerError> {
        self.earlier_stderr =
            std::mem::take(&mut *self.stderr.lock().unwrap_or_else(PoisonError::into_inner));
        self.oom_kills_before = OomKills::now();
        self.is_heard = false;
        self.check_silence(phase)?;
        self.longest_line.store(longest, Ordering::Relaxed);
        self.send(line);
        let reply = self.receive(Deadline::Request, self.limits.request, phase, progress)?;
        let found = name(&reply.0);
        if found != answer && found != "failed" {
            let what = format!("expected {answer}, found {found}");
            self.unasked.get_or_insert(unrequested(&reply.0));
            return Err(self.end(phase, Some(WorkerEnd::Garbage(what))));
        }
        self.is_heard = true;
        self.answers += 1;
        match reply {
            (Reply::Failed(failure), _) => {
                if self.world_size > 1 {
                    // The ranks may be at different places, so they can't be asked again.
                    self.kill();
                }
                Err(WorkerError::evidence(Evidence::new(failure.phase, WorkerEnd::Reported(failure.message))))
            }
            answer => Ok(answer),
        }
    }

    /// Fails if it sent something without a request, since the next answer would belong to another question.
    fn check_silence(&mut self, phase: Phase) -> Result<(), WorkerError> {
        while let Ok(line) = self.lines.try_recv() {
            let end = match line {
                WorkerLine::Reply(reply, _) if matches!(*reply, Reply::Progress(_)) => continue,
                WorkerLine::Reply(reply, _) => Some(WorkerEnd::Garbage(unrequested(&reply))),
                WorkerLine::Garbage(what) => Some(WorkerEnd::Garbage(what)),
                WorkerLine::Torn => {
                    self.torn_line = true;
                    None
                }
            };
            return Err(self.end(phase, end));
        }
        Ok(())
    }

    /// Reads what came without a request, so that the next answer belongs to its question. The first line stays in [`unasked`](Self::unasked).
    pub(super) fn hear_unasked(&mut self) {
        for _ in 0..MOST_UNASKED {
            match self.lines.recv_timeout(UNASKED_PERIOD) {
                Ok(WorkerLine::Reply(reply, _)) if matches!(*reply, Reply::Progress(_)) => {}
                Ok(WorkerLine::Reply(reply, _)) => {
                    self.unasked.get_or_insert(unrequested(&reply));
                }
                Ok(WorkerLine::Garbage(what)) => {
                    self.unasked.get_or_insert(what);
                }
                Ok(WorkerLine::Torn) => self.torn_line = true,
                Err(_) => return,
            }
        }
    }

    /// Lets the worker end in its own time, whatever a request may take.
    pub(super) fn allow_time_to_end(&mut self) {
        self.limits.request = self.limits.request.max(SHUTDOWN_DEADLINE);
    }

    /// Shuts the worker down, and kills it if it does not end. Returns evidence of an unclean end.
    pub fn shutdown(self) -> Result<(), Box<Evidence>> {
        self.finish(true)
    }

    /// Ends the worker like [`shutdown`](Self::shutdown), by the request of that name or only by the end of its stdin.
    pub(super) fn finish(mut self, is_told: bool) -> Result<(), Box<Evidence>> {
        if self.reaped {
            return Ok(());
        }
        if is_told {
            self.send(line_of(&Request::Shutdown));
        }
        self.requests = None;
        let limit = SHUTDOWN_DEADLINE.min(self.limits.request);
        let deadline = Instant::now() + limit;
        let mut said = 0;
        let end = loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(WorkerLine::Reply(reply, _)) if matches!(*reply, Reply::Progress(_)) => {}
                Ok(_) if said == MOST_UNASKED => break Some(WorkerEnd::Garbage(AFTER_SHUTDOWN.into())),
                Ok(_) => said += 1,
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) => break Some(WorkerEnd::TimedOut(Deadline::Shutdown, limit)),
            }
        };
        match self.end(Phase::Decode, end) {
            WorkerError::Evidence(evidence)
                if evidence.end != (WorkerEnd::Exited { code: Some(0), signal: None }) =>
            {
                Err(evidence)
            }
            _ if said > 0 => {
                Err(Box::new(Evidence::new(Phase::Decode, WorkerEnd::Garbage(AFTER_SHUTDOWN.into()))))
            }
            _ => Ok(()),
        }
    }

    /// Sends a line. The end of a worker that died shows later, not in this write.
    fn send(&self, line: Vec<u8>) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(line);
        }
    }

    /// The error of a wrong answer; kills the worker.
    pub(crate) fn protocol_error(&mut self, phase: Phase, what: String) -> WorkerError {
        self.end(phase, Some(WorkerEnd::Garbage(what)))
    }

    fn receive(
        &mut self,
        what: Deadline,
        limit: Duration,
        mut phase: Phase,
        progress: &mut dyn FnMut(&Progress, Instant),
    ) -> Result<(Reply, Instant), WorkerError> {
        let start = Instant::now();
        // Loading begins with its request; the phases of a cell begin when the worker says so.
        let mut phase_start = (what == Deadline::Request && phase == Phase::Load).then_some(start);
        loop {
            if interrupted() {
                self.kill();
                return Err(WorkerError::Interrupted);
            }
            let elapsed = |start: Option<Instant>| start.map_or(Duration::ZERO, |start| start.elapsed());
            let phase_limit = self.limits.phases.timeout_for(phase).filter(|_| phase_start.is_some());
            let bounds = [(Deadline::Phase, phase_limit, phase_start), (what, Some(limit), Some(start))];
            let mut wait = INTERRUPT_PERIOD;
            for (deadline, limit, start) in bounds {
                let Some(limit) = limit else { continue };
                match limit.checked_sub(elapsed(start)) {
                    Some(left) if !left.is_zero() => wait = wait.min(left),
                    _ => {
                        let end = WorkerEnd::TimedOut(deadline, limit);
                        return self.late_reply().ok_or_else(|| self.end(phase, Some(end)));
                    }
                }
            }
            match self.lines.recv_timeout(wait) {
                Ok(WorkerLine::Reply(reply, read_at)) => match *reply {
                    Reply::Progress(update) => {
                        self.is_heard = true;
                        if phase_start.is_none() || update.phase != phase {
                            phase_start = Some(Instant::now());
                        }
                        phase = update.phase;
                        progress(&update, read_at);
                    }
                    reply => return Ok((reply, read_at)),
                },
                Ok(WorkerLine::Garbage(what)) => return Err(self.end(phase, Some(WorkerEnd::Garbage(what)))),
                Ok(WorkerLine::Torn) => {
                    self.torn_line = true;
                    return Err(self.end(phase, None));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.end(phase, None)),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The answer that is in the pipe although its deadline has passed.
    fn late_reply(&self) -> Option<(Reply, Instant)> {
        let deadline = Instant::now() + GRACE;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(wait).ok()? {
                WorkerLine::Reply(reply, _) if matches!(*reply, Reply::Progress(_)) => {}
                WorkerLine::Reply(reply, read_at) => return Some((*reply, read_at)),
                WorkerLine::Garbage(_) | WorkerLine::Torn => return None,
            }
        }
    }

    /// Asks every rank to report on stderr where it is.
    fn ask_ranks(&self) {
        const DEADLINE: Duration = Duration::from_secs(1);
        let size = self.hello.ranks.len();
        if size == 0 || self.reaped {
            return;
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::USR1);
        let start = Instant::now();
        let said = || {
            let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
            ranks::answers(&String::from_utf8_lossy(&stderr), size)
        };
        while said() < size && start.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills what is left of the worker and returns the evidence: `known`, else its exit status.
    fn end(&mut self, phase: Phase, known: Option<WorkerEnd>) -> WorkerError {
        let is_late = matches!(known, Some(WorkerEnd::TimedOut(..)));
        if is_late {
            self.ask_ranks();
        }
        let status = if known.is_some() { self.kill() } else { self.reap_soon() };
        let end = known.unwrap_or_else(|| match status {
            Some(status) => WorkerEnd::Exited { code: status.code(), signal: status.signal() },
            None => WorkerEnd::ClosedPipe,
        });
        let origins = &self.limits.origins;
        let limit_origin = match &end {
            WorkerEnd::TimedOut(Deadline::Phase, _) => origins.origin_for(phase),
            WorkerEnd::TimedOut(_, limit) if *limit == self.limits.request => &origins.request,
            _ => "",
        };
        let limit_origin = limit_origin.to_owned();
        let oom_kills = OomKills::now().since(self.oom_kills_before);
        let is_not_taken_up = self.answers > 1 && !self.is_heard && !is_late;
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have written the reason of its end before this request.
        let earlier: &[u8] = if is_not_taken_up { &self.earlier_stderr } else { &[] };
        let stderr = String::from_utf8_lossy(&[earlier, &stderr].concat()).into_owned();
        WorkerError::evidence(Evidence {
            stderr,
            oom_kills,
            torn_line: self.torn_line,
            is_not_taken_up,
            world_size: self.world_size,
            ranks: self.hello.ranks.clone(),
            limit_origin,
            ..Evidence::new(phase, end)
        })
    }

    /// The exit status of a worker that closed its pipe; kills it if it does not end by itself.
    fn reap_soon(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + END_DEADLINE.min(self.limits.request);
        while Instant::now() < deadline {
            if self.has_exited() {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        None
    }

    /// Whether the worker has ended, without reaping it.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&self.child)), options).is_ok_and(|ended| ended.is_some())
    }

    /// Has the guard kill everything below it, and reaps the guard.
    fn kill(&mut self) -> Option<ExitStatus> {
        if self.reaped {
            return None;
        }
        // The guard is not reaped yet, so its id is still its own.
        let guard = Pid::from_child(&self.child);
        let _ = kill_process(guard, Signal::TERM);
        let _ = kill_process(guard, Signal::CONT);
        let deadline = Instant::now() + GUARD_DEADLINE;
        while !self.has_exited() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Without its guard the worker dies, too; what it started may not.
        let _ = kill_process(guard, Signal::KILL);
        let status = self.child.wait().ok();
        if status.is_some_and(|status| status.signal() == Some(libc::SIGKILL)) {
            sweep();
        }
        self.reaped = true;
        self.requests = None;
        // A process that can't be killed yet may hold the pipes; their threads are then left behind.
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

/// A request as the worker reads it.
pub(super) fn line_of(request: &Request) -> Vec<u8> {
    let mut line = serde_json::to_vec(request).expect("a request is plain JSON");
    line.push(b'\n');
    line
}

fn unrequested(reply: &Reply) -> String {
    format!("an unrequested reply ({})", name(reply))
}

/// The word that a reply has on the pipe.
pub(super) fn name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Hello(_) => "hello",
        Reply::Progress(_) => "progress",
        Reply::Loaded(_) => "loaded",
        Reply::Measured(_) => "measured",
        Reply::Generated(_) => "generated",
        Reply::Peaks(_) => "peaks",
        Reply::Profiled(_) => "profiled",
        Reply::Failed(_) => "failed",
    }
}
