//! Classifies the end of a cell from the evidence that its worker left.

use std::time::Duration;

use protocol::{CellFailure, FailureKind, Phase, RankPlace};

use crate::worker::guard::is_ours;
use crate::worker::ranks::{RankEnd, first_failure, stragglers};
use machine::OomKills;

/// The end of a worker's part in a request, if not an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEnd {
    /// The worker could not be started.
    NotStarted(String),
    /// The engine reported an error.
    Reported(String),
    /// The worker exited.
    Exited {
        /// The exit code, if it exited by itself.
        code: Option<i32>,
        /// The signal, if one ended it.
        signal: Option<i32>,
    },
    /// A deadline passed, after this time.
    TimedOut(Deadline, Duration),
    /// The worker closed its pipe and kept running.
    ClosedPipe,
    /// The worker broke the protocol.
    Garbage(String),
}

/// The deadlines of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Saying hello.
    Hello,
    /// Answering a request.
    Request,
    /// Ending a phase of it.
    Phase,
    /// Exiting.
    Shutdown,
}

/// The evidence of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The last phase that the worker reported.
    pub phase: Phase,
    /// The end.
    pub end: WorkerEnd,
    /// The last lines that it wrote to stderr during the request.
    pub stderr: String,
    /// Processes that the kernel killed during the request because memory ran out.
    pub oom_kills: OomKills,
    /// Whether its pipe ended inside a line.
    pub torn_line: bool,
    /// Whether it had answered before, and ended or broke the protocol before it took up this request.
    pub is_not_taken_up: bool,
    /// The number of its ranks.
    pub world_size: u32,
    /// The places of its ranks, as far as they reported them.
    pub ranks: Vec<RankPlace>,
    /// The flag or key that set the deadline, as the user writes it; empty where the program sets it.
    pub limit_origin: String,
}

impl Evidence {
    /// Evidence of an end about which nothing else is known.
    pub fn new(phase: Phase, end: WorkerEnd) -> Self {
        Self {
            phase,
            end,
            stderr: String::new(),
            oom_kills: OomKills::default(),
            torn_line: false,
            is_not_taken_up: false,
            world_size: 1,
            ranks: Vec::new(),
            limit_origin: String::new(),
        }
    }
}

/// Messages of engines, allocators and drivers when memory runs out, in lower case.
const OUT_OF_MEMORY: [&str; 18] = [
    // Rust's and C++'s allocators
    "memory allocation of",
    "std::bad_alloc",
    "bad allocation",
    // this project's own limits, libtorch's and ONNX Runtime's CUDA errors, the kernel
    "out of memory",
    // Rust's threads, libgomp's and the dynamic loader, when there is no room for a stack or a segment
    "failed to spawn thread",
    "libgomp: thread creation failed",
    "failed to map segment from shared object",
    // ONNX Runtime (core/framework/bfc_arena.cc, allocator.cc)
    "failed to allocate memory for requested buffer",
    "is smaller than requested bytes",
    // libtorch (c10/core/impl/alloc_cpu.cpp, c10/cuda/CUDACachingAllocator.cpp)
    "can't allocate memory",
    // CUDA, cuBLAS, cuDNN, NCCL
    "cuda_error_out_of_memory",
    "cudaerrormemoryallocation",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cudnn_status_internal_error_device_allocation_failed",
    "cudnn_status_internal_error_host_allocation_failed",
    // C and Python
    "cannot allocate memory",
    "memoryerror",
];

/// The failure of a cell with this evidence.
pub fn classify(evidence: &Evidence) -> CellFailure {
    if let Some(failure) = of_a_rank(evidence) {
        return failure;
    }
    let (kind, error) = match &evidence.end {
        WorkerEnd::NotStarted(message) | WorkerEnd::Reported(message) => {
            let out_of_memory = is_out_of_memory(message);
            (if out_of_memory { FailureKind::OutOfMemory } else { FailureKind::Failed }, first_line(message))
        }
        WorkerEnd::TimedOut(deadline, after) => {
            let mut text = timed_out(*deadline, evidence.phase, after.as_secs_f64());
            if !evidence.limit_origin.is_empty() {
                text.push_str(&format!(" ({})", evidence.limit_origin));
            }
            let who = stragglers(&evidence.stderr, evidence.ranks.len());
            (FailureKind::TimedOut, who.map_or(text.clone(), |who| format!("{text}: {who}")))
        }
        WorkerEnd::Garbage(what) => (FailureKind::Failed, first_line(what)),
        WorkerEnd::ClosedPipe => match out_of_memory_words(&evidence.stderr) {
            Some(words) => (FailureKind::OutOfMemory, words),
            None => (FailureKind::Failed, "the worker closed its pipe and kept running".into()),
        },
        WorkerEnd::Exited { code, signal } => exited(*code, *signal, evidence),
    };
    CellFailure::new(kind, evidence.phase, error)
}

/// The failure of the first rank that failed, since a launcher's own end says little.
fn of_a_rank(evidence: &Evidence) -> Option<CellFailure> {
    if evidence.world_size == 1 || !matches!(evidence.end, WorkerEnd::Exited { .. } | WorkerEnd::ClosedPipe) {
        return None;
    }
    let (rank, end) = first_failure(&evidence.stderr, &evidence.ranks)?;
    let host = rank.parse().ok().and_then(|rank: usize| evidence.ranks.get(rank));
    let is_elsewhere = evidence.ranks.iter().any(|place| Some(&place.host) != host.map(|place| &place.host));
    let host = host.filter(|_| is_elsewhere).map_or_else(String::new, |place| format!(" on {}", place.host));
    let mut phase = evidence.phase;
    let (kind, error) = match end {
        RankEnd::Reported { phase: reported_phase, message } => {
            phase = reported_phase;
            let out_of_memory = is_out_of_memory(&message);
            (if out_of_memory { FailureKind::OutOfMemory } else { FailureKind::Failed }, first_line(&message))
        }
        RankEnd::Signal(signal) => match out_of_memory_words(&evidence.stderr) {
            Some(words) => (FailureKind::OutOfMemory, words),
            None => ended_by(signal, "", evidence.oom_kills),
        },
        RankEnd::Exited(code) => match out_of_memory_words(&evidence.stderr) {
            Some(words) => (FailureKind::OutOfMemory, words),
            None => (FailureKind::Failed, format!("exited with code {code} without an answer")),
        },
    };
    Some(CellFailure::new(kind, phase, format!("rank {rank}{host}: {error}")))
}

fn timed_out(deadline: Deadline, phase: Phase, seconds: f64) -> String {
    match deadline {
        Deadline::Hello => format!("no hello within {seconds} s"),
        Deadline::Request => format!("no answer within {seconds} s"),
        Deadline::Phase => format!("{phase} did not end within {seconds} s"),
        Deadline::Shutdown => format!("did not exit within {seconds} s"),
    }
}

fn exited(code: Option<i32>, signal: Option<i32>, evidence: &Evidence) -> (FailureKind, String) {
    let stderr = &evidence.stderr;
    let said = last_words(stderr);
    if let Some(signal) = signal {
        return match out_of_memory_words(stderr) {
            Some(words) => (FailureKind::OutOfMemory, words),
            None => ended_by(signal, &said, evidence.oom_kills),
        };
    }
    // A program that exits by itself may have warned of memory before, so only its last words count.
    if is_out_of_memory(&said) {
        return (FailureKind::OutOfMemory, said);
    }
    // A launcher (a shell, mpirun) reports the death of what it started.
    if code != Some(0) && evidence.oom_kills.cgroup.is_some_and(|kills| kills > 0) {
        return (
            FailureKind::OutOfMemory,
            "a process of the worker was killed by the kernel: its cgroup was out of memory".into(),
        );
    }
    if let Some(why) = unfit_library(stderr) {
        return (FailureKind::Failed, format!("{why}: run `{}`", machine::set_up_command()));
    }
    let place = if evidence.torn_line { "inside a line of its answer" } else { "without an answer" };
    let error = match code {
        Some(code) if code != 0 && !said.is_empty() => said,
        Some(code) => format!("the worker exited with code {code} {place}"),
        None => return (FailureKind::Crashed, "the worker ended for an unknown reason".into()),
    };
    (FailureKind::Failed, error)
}

/// The failure of a worker that a signal ended. SIGKILL alone does not tell who sent it, but the kernel's counters do.
fn ended_by(signal: i32, said: &str, oom_kills: OomKills) -> (FailureKind, String) {
    let name = signal_name(signal);
    if signal == libc::SIGKILL {
        // A cgroup counts all its processes that ran out of memory, so the machine's counter adds nothing.
        match oom_kills.cgroup.or(oom_kills.machine) {
            Some(0) => {}
            Some(_) => {
                let error = "killed by the kernel: its cgroup, or the machine, was out of memory";
                return (FailureKind::OutOfMemory, error.into());
            }
            None => {
                let error = format!("ended by {name} (no readable counter tells whether memory ran out)");
                return (FailureKind::Crashed, error);
            }
        }
    }
    let error = format!("ended by {name}");
    (FailureKind::Crashed, if said.is_empty() { error } else { format!("{error}: {said}") })
}

/// The dynamic loader's complaint of a library that it misses, or that is of another version than the program was linked with:
/// - `…: error while loading shared libraries: libx.so: cannot open shared object file: …`
/// - `PROGRAM: symbol lookup error: LIBRARY: undefined symbol: …`, of a program of ours
fn unfit_library(stderr: &str) -> Option<String> {
    if let Some((_, rest)) = stderr.split_once("error while loading shared libraries: ") {
        let (library, why) = rest.split_once(':')?;
        let is_missing = why.trim_start().starts_with("cannot open shared object file");
        return is_missing.then(|| format!("{library} is not there"));
    }
    let (program, rest) = stderr.split_once(": symbol lookup error: ")?;
    is_ours(program.lines().next_back()?).then_some(())?;
    let (_, symbol) = rest.lines().next()?.split_once(": undefined symbol: ")?;
    Some(format!("the libraries are of another version than this program needs ({symbol} is not in them)"))
}

/// What a process wrote about memory before it ended, among its last lines; the rest may be its backtrace.
fn out_of_memory_words(stderr: &str) -> Option<String> {
    let lines: Vec<&str> = stderr.lines().collect();
    let last = &lines[lines.len().saturating_sub(100)..];
    last.iter().find(|line| is_out_of_memory(line)).map(|line| first_line(line))
}

fn is_out_of_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    OUT_OF_MEMORY.iter().any(|phrase| text.contains(phrase))
}

fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    bounded(line.unwrap_or("an error without a message"))
}

/// The last words of a process without its backtrace: a panic's message, else the last line that is not indented, which holds the message
/// of Python's and most other exceptions.
fn last_words(text: &str) -> String {
    let is_word = |line: &&str| !line.trim().is_empty() && !line.starts_with([' ', '\t']);
    let is_note = |line: &str| line.starts_with("note: ") || line == "stack backtrace:";
    let mut after_panic = text.lines().skip_while(|line| !line.contains(" panicked at "));
    let panic = after_panic.next().and_then(|_| after_panic.next());
    let last = || text.lines().filter(is_word).rfind(|line| !is_note(line));
    bounded(panic.or_else(last).unwrap_or("").trim())
}

/// A line for a record, cut to its longest length.
fn bounded(line: &str) -> String {
    line.chars().take(1000).collect()
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
