//! Waits before a turn until the loaded engines are idle. Threads of OpenMP and of llama.cpp spin for a while after a turn, and take the
//! processor from the engine whose turn is next. Linux.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::worker::children::parents;
use crate::worker::interrupt::interrupted_within;

/// The kernel brings a running thread's time up to date at its ticks, of 10 ms at most.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The longest wait: more than the libraries' own limits (Intel's OpenMP spins for 200 ms).
const TIMEOUT: Duration = Duration::from_secs(1);
/// Cores that an idle process may use, since a rank that waits for the next request wakes up often.
const IDLE_CORES: f64 = 0.05;
/// Idle intervals in a row: a spinning thread may have had no processor for one of them.
const IDLE_INTERVALS: u32 = 2;

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Everything is idle, or the kernel does not say.
    Idle,
    /// Something still computes.
    Busy,
    /// The user asked to stop.
    Interrupted,
}

/// Waits up to a second until the processes that this one started use no processor time.
pub(crate) fn wait_until_idle() -> Wait {
    let processes = descendants(std::process::id(), &parents());
    let limit = IDLE_CORES * processes.len() as f64;
    let end = Instant::now() + TIMEOUT;
    let mut before = (Instant::now(), cpu_times(&processes));
    let mut idle = 0;
    while idle < IDLE_INTERVALS {
        if interrupted_within(POLL_INTERVAL) {
            return Wait::Interrupted;
        }
        let now = (Instant::now(), cpu_times(&processes));
        let cores = used(&before.1, &now.1).as_secs_f64() / (now.0 - before.0).as_secs_f64();
        idle = if cores <= limit { idle + 1 } else { 0 };
        if idle < IDLE_INTERVALS && now.0 >= end {
            return Wait::Busy;
        }
        before = now;
    }
    Wait::Idle
}

/// The processes below `ancestor`.
fn descendants(ancestor: u32, parents: &HashMap<u32, u32>) -> Vec<u32> {
    let mut all = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        all.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(child, _)| *child));
        next += 1;
    }
    all.split_off(1)
}

/// Processor time of each thread of these processes, in nanoseconds (kernel documentation, "Scheduler Statistics"); empty where
/// there are no such statistics.
fn cpu_times(processes: &[u32]) -> HashMap<u32, u64> {
    let threads =
        processes.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task"))).flatten().flatten();
    let time = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        Some((thread.file_name().to_str()?.parse().ok()?, text.split(' ').next()?.parse().ok()?))
    };
    threads.filter_map(time).collect()
}

/// Processor time of threads between two samples, without threads that began or ended meanwhile.
fn used(before: &HashMap<u32, u64>, now: &HashMap<u32, u64>) -> Duration {
    let of_both = now.iter().filter_map(|(thread, time)| Some(time.saturating_sub(*before.get(thread)?)));
    Duration::from_nanos(of_both.sum())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_is_below_a_process_is_found_at_any_depth() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 9), (9, 0)]);
        let mut found = descendants(2, &parents);
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
        assert_eq!(descendants(4, &parents), [0u32; 0]);
    }

    #[test]
    fn a_thread_that_ended_hides_no_work() {
        let before = HashMap::from([(1, 5_000_000), (2, 7)]);
        let now = HashMap::from([(2, 1007), (3, 50)]);
        assert_eq!(used(&before, &now), Duration::from_nanos(1000));
    }

    #[test]
    fn processes_that_compute_are_not_idle() {
        let shell = |script| Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let mut waiting = shell("read line");
        assert_eq!(wait_until_idle(), Wait::Idle);
        // A grandchild that never rests.
        let mut computing = shell("(while kill -0 $$; do :; done) & read line");
        let grandchildren = || descendants(computing.id(), &parents());
        while grandchildren().is_empty() {}
        let before = cpu_times(&grandchildren());
        while used(&before, &cpu_times(&grandchildren())).is_zero() {}
        for child in [&mut waiting, &mut computing] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
