//! The kernel's counts of processes that it killed because memory ran out. Linux.

use std::fs;

/// Kills since the counters began; `None` where a counter can't be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OomKills {
    /// Kills in this program's cgroup, which its workers share.
    pub cgroup: Option<u64>,
    /// Kills on the machine, or in what a container sees of it.
    pub machine: Option<u64>,
}

impl OomKills {
    /// Reads the counters.
    pub fn now() -> Self {
        let machine = fs::read_to_string("/proc/vmstat").ok();
        Self {
            cgroup: cgroup_file().and_then(|path| counter(&fs::read_to_string(path).ok()?)),
            machine: machine.as_deref().and_then(counter),
        }
    }

    /// Kills since `before`.
    pub fn since(self, before: Self) -> Self {
        let more = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Self { cgroup: more(self.cgroup, before.cgroup), machine: more(self.machine, before.machine) }
    }
}

/// `memory.events` (cgroup v2) or `memory.oom_control` (v1) of this process's cgroup.
fn cgroup_file() -> Option<String> {
    let lines = fs::read_to_string("/proc/self/cgroup").ok()?;
    let files = lines.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let path = path.trim_end_matches('/');
        match controllers {
            "" => Some(format!("/sys/fs/cgroup{path}/memory.events")),
            "memory" => Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control")),
            _ => None,
        }
    });
    files.into_iter().find(|path| fs::exists(path).unwrap_or(false))
}

/// `oom_kill 3`, in all three files.
fn counter(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_files_have_one_format() {
        assert_eq!(counter("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(counter("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"), Some(4));
        assert_eq!(counter("pgfault 7\noom_kill 0\n"), Some(0));
        assert_eq!(counter("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn an_unreadable_counter_says_nothing() {
        let before = OomKills { cgroup: None, machine: Some(2) };
        let now = OomKills { cgroup: Some(5), machine: Some(3) };
        assert_eq!(now.since(before), OomKills { cgroup: None, machine: Some(1) });
    }
}
