//! The rest before a turn: threads of engines that had theirs look for more work for a while (OpenMP's do, and llama.cpp's), which
//! takes the processor from the engine whose turn it is. Linux.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// The kernel brings a running thread's time up to date at its ticks, of 10 ms at most.
const LOOK: Duration = Duration::from_millis(20);
/// Longer than the libraries' own limits: Intel's OpenMP looks for work for 200 ms.
const LONGEST: Duration = Duration::from_secs(1);
/// Cores in use that are rest: a worker that waits wakes up now and then.
const AT_REST: f64 = 0.05;

/// Waits, for a second at most, until the processes that this one has started use no processor time. What they used at the end,
/// in cores, where they did not come to rest; nothing where the kernel does not say.
pub(crate) fn wait_for_rest() -> Option<f64> {
    let processes = descendants(std::process::id(), &parents());
    let end = Instant::now() + LONGEST;
    let mut before = (Instant::now(), used(&processes)?);
    loop {
        std::thread::sleep(LOOK);
        let now = (Instant::now(), used(&processes)?);
        let cores = now.1.saturating_sub(before.1).as_secs_f64() / (now.0 - before.0).as_secs_f64();
        if cores < AT_REST {
            return None;
        }
        if now.0 >= end {
            return Some(cores);
        }
        before = now;
    }
}

/// The parent of every process.
fn parents() -> HashMap<u32, u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state ppid …`; the name may hold anything.
        Some((pid, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
    };
    processes.filter_map(|entry| parent(entry.file_name().to_str()?.parse().ok()?)).collect()
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

/// Processor time of all threads of these processes (kernel documentation, "Scheduler Statistics"); `None` where there are no
/// such statistics. A process that has ended is not counted.
fn used(processes: &[u32]) -> Option<Duration> {
    fs::metadata("/proc/self/schedstat").ok()?;
    let threads =
        processes.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task"))).flatten().flatten();
    let nanoseconds = |text: String| text.split(' ').next()?.parse::<u64>().ok();
    let times =
        threads.filter_map(|thread| nanoseconds(fs::read_to_string(thread.path().join("schedstat")).ok()?));
    Some(Duration::from_nanos(times.sum()))
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
    fn processes_that_compute_are_waited_for() {
        let shell = |script| Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let mut idle = shell("read line");
        assert_eq!(wait_for_rest(), None);
        // A grandchild that never rests.
        let mut busy = shell("(while kill -0 $$; do :; done) & read line");
        let below = || descendants(busy.id(), &parents());
        while below().is_empty() {}
        assert!(wait_for_rest().is_some());
        for child in [&mut idle, &mut busy] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
