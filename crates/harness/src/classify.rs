//! How a cell ended, from the evidence that its worker left.

use std::time::Duration;

use protocol::{Outcome, Phase};

use crate::CellFailure;

/// How a worker's part in a request ended, when not with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEnd {
    /// It could not be started.
    NotStarted(String),
    /// The engine reported an error.
    Reported(String),
    /// It exited.
    Exited {
        /// The exit code, if it exited by itself.
        code: Option<i32>,
        /// The signal, if one ended it.
        signal: Option<i32>,
    },
    /// The deadline passed.
    TimedOut(Duration),
    /// It said something that is not of the protocol.
    Garbage(String),
}

/// What is known of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The phase that the worker was in, as far as it told.
    pub phase: Phase,
    /// How it ended.
    pub end: WorkerEnd,
    /// The end of what it wrote to stderr during the request.
    pub stderr: String,
    /// Processes that the kernel killed for want of memory during the request (`oom_kill` of `/proc/vmstat`).
    pub kernel_oom_kills: u64,
}

/// What engines, allocators and drivers say when memory runs out. Compared in lower case.
const OUT_OF_MEMORY: [&str; 15] = [
    // Rust's and C++'s allocators
    "memory allocation of",
    "std::bad_alloc",
    "bad allocation",
    // this project's own limits, libtorch's and ONNX Runtime's CUDA errors, the kernel
    "out of memory",
    // Rust's threads and the dynamic loader, when there is no room for a stack or a segment
    "failed to spawn thread",
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
    // C and Python
    "cannot allocate memory",
    "memoryerror",
];

/// How a cell with this evidence ended.
pub fn classify(evidence: &Evidence) -> CellFailure {
    let Evidence { phase, end, stderr, kernel_oom_kills } = evidence;
    let (outcome, error) = match end {
        WorkerEnd::NotStarted(what) => (Outcome::Failed, what.clone()),
        WorkerEnd::Reported(message) if is_out_of_memory(message) => {
            (Outcome::OutOfMemory, first_line(message))
        }
        WorkerEnd::Reported(message) => (Outcome::Failed, first_line(message)),
        WorkerEnd::TimedOut(deadline) => {
            (Outcome::TimedOut, format!("no answer within {} s", deadline.as_secs_f64()))
        }
        WorkerEnd::Garbage(what) => (Outcome::Failed, first_line(what)),
        WorkerEnd::Exited { signal: Some(libc::SIGKILL), .. } if *kernel_oom_kills > 0 => {
            (Outcome::OutOfMemory, "killed by the kernel, which was out of memory".into())
        }
        WorkerEnd::Exited { code, signal } => exited(*code, *signal, stderr),
    };
    CellFailure { outcome, phase: *phase, error }
}

fn exited(code: Option<i32>, signal: Option<i32>, stderr: &str) -> (Outcome, String) {
    if let Some(line) = stderr.lines().find(|line| is_out_of_memory(line)) {
        return (Outcome::OutOfMemory, line.trim().to_owned());
    }
    if let Some(library) = missing_library(stderr) {
        return (Outcome::Failed, format!("{library} is not there: run `make setup`"));
    }
    let said = last_line(stderr);
    match (code, signal) {
        (_, Some(signal)) => (Outcome::Crashed, join(&format!("ended by {}", signal_name(signal)), said)),
        (Some(code), _) if code != 0 && !said.is_empty() => (Outcome::Failed, said.to_owned()),
        (Some(code), _) => (Outcome::Failed, format!("the worker exited with code {code} without an answer")),
        (None, None) => (Outcome::Crashed, "the worker ended in an unknown way".into()),
    }
}

/// The dynamic loader's words: `…: error while loading shared libraries: libx.so: cannot open shared object file: …`
fn missing_library(stderr: &str) -> Option<&str> {
    let (_, rest) = stderr.split_once("error while loading shared libraries: ")?;
    let (library, why) = rest.split_once(':')?;
    why.trim_start().starts_with("cannot open shared object file").then_some(library)
}

fn is_out_of_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    OUT_OF_MEMORY.iter().any(|phrase| text.contains(phrase))
}

fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("an error without a message").chars().take(1000).collect()
}

fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("")
}

fn join(what: &str, said: &str) -> String {
    if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") }
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
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_outcome() {
        use Outcome::{Crashed, Failed, OutOfMemory, TimedOut};
        let reported = |text: &str| WorkerEnd::Reported(text.into());
        let exited = |code| WorkerEnd::Exited { code: Some(code), signal: None };
        let signal = |signal| WorkerEnd::Exited { code: None, signal: Some(signal) };
        let cases = [
            (reported("std::bad_alloc"), "", OutOfMemory, "std::bad_alloc"),
            (
                reported(
                    "Failed to allocate memory for requested buffer of size 8589934592\n at bfc_arena.cc",
                ),
                "",
                OutOfMemory,
                "Failed to allocate memory for requested buffer of size 8589934592",
            ),
            (
                reported(
                    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.",
                ),
                "",
                OutOfMemory,
                "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.",
            ),
            (
                reported("forward: CUDA out of memory. Tried to allocate 2.00 GiB"),
                "",
                OutOfMemory,
                "forward: CUDA out of memory. Tried to allocate 2.00 GiB",
            ),
            (reported("unknown option x\n  at a\n  at b"), "", Failed, "unknown option x"),
            (reported(""), "", Failed, "an error without a message"),
            (
                signal(libc::SIGABRT),
                "memory allocation of 1073741824 bytes failed\n",
                OutOfMemory,
                "memory allocation of 1073741824 bytes failed",
            ),
            (
                signal(libc::SIGABRT),
                "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
                OutOfMemory,
                "terminate called after throwing an instance of 'std::bad_alloc'",
            ),
            (signal(libc::SIGSEGV), "", Crashed, "ended by SIGSEGV"),
            (signal(libc::SIGKILL), "last words\n\n", Crashed, "ended by SIGKILL: last words"),
            (reported("CUDA error: out of memory"), "", OutOfMemory, "CUDA error: out of memory"),
            (
                reported("CUDA failure 2: out of memory ; GPU=0"),
                "",
                OutOfMemory,
                "CUDA failure 2: out of memory ; GPU=0",
            ),
            (
                reported("out of memory: 100 bytes of weights are made, then copied"),
                "",
                OutOfMemory,
                "out of memory: 100 bytes of weights are made, then copied",
            ),
            (
                exited(127),
                "x: error while loading shared libraries: libc.so.6: failed to map segment from shared object",
                OutOfMemory,
                "x: error while loading shared libraries: libc.so.6: failed to map segment from shared object",
            ),
            (signal(63), "", Crashed, "ended by signal 63"),
            (exited(3), "", Failed, "the worker exited with code 3 without an answer"),
            (exited(2), "first\nlast\n", Failed, "last"),
            (exited(0), "", Failed, "the worker exited with code 0 without an answer"),
            (
                exited(127),
                "llama2-bench-torch: error while loading shared libraries: libtorch_cpu.so: cannot open shared object file: No such file or directory\n",
                Failed,
                "libtorch_cpu.so is not there: run `make setup`",
            ),
            (WorkerEnd::TimedOut(Duration::from_millis(1500)), "", TimedOut, "no answer within 1.5 s"),
            (WorkerEnd::Garbage("not a reply".into()), "", Failed, "not a reply"),
            (
                WorkerEnd::NotStarted("no program x: run `make build`".into()),
                "",
                Failed,
                "no program x: run `make build`",
            ),
        ];
        for (end, stderr, outcome, error) in cases {
            let evidence = Evidence { phase: Phase::Decode, end, stderr: stderr.into(), kernel_oom_kills: 0 };
            let expected = CellFailure { outcome, phase: Phase::Decode, error: error.into() };
            assert_eq!(classify(&evidence), expected);
        }
    }

    #[test]
    fn a_kill_is_out_of_memory_where_the_kernel_counted_one() {
        let end = WorkerEnd::Exited { code: None, signal: Some(libc::SIGKILL) };
        let evidence = Evidence { phase: Phase::Load, end, stderr: String::new(), kernel_oom_kills: 1 };
        assert_eq!(classify(&evidence).outcome, Outcome::OutOfMemory);
        assert_eq!(classify(&Evidence { kernel_oom_kills: 0, ..evidence }).outcome, Outcome::Crashed);
    }
}
