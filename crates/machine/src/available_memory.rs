//! How much memory is left: of the machine, and of the control group that this program is in. Linux.

use std::fs;
use std::path::Path;

/// Bytes that may still be allocated without swapping (`MemAvailable`, or less where a control group allows less); `None` where
/// that is unknown.
pub fn available_memory() -> Option<u64> {
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_available(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    of_machine.into_iter().chain(left_in_group(Path::new("/sys/fs/cgroup"), &groups)).min()
}

/// `man 5 proc_meminfo`.
fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.saturating_mul(1024))
}

/// The least that the group and those above it have left (kernel documentation, "Control Group v2", memory.max).
fn left_in_group(root: &Path, groups: &str) -> Option<u64> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let number = |file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let left = |group: &Path| {
        let folder = root.join(group);
        Some(number(folder.join("memory.max"))?.saturating_sub(number(folder.join("memory.current"))?))
    };
    Path::new(path).ancestors().filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let meminfo = "MemTotal:       24689712 kB\nMemFree:          123 kB\nMemAvailable:   24007072 kB\n";
        assert_eq!(mem_available(meminfo), Some(24_007_072 * 1024));
        assert_eq!(mem_available("MemTotal: 1 kB\n"), None);
        assert!(available_memory().is_some());
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |group: &str, name: &str, text: &str| {
            fs::create_dir_all(root.path().join(group)).unwrap();
            fs::write(root.path().join(group).join(name), text).unwrap();
        };
        write("a", "memory.max", "1000\n");
        write("a", "memory.current", "400\n");
        write("a/b", "memory.max", "max\n");
        write("a/b", "memory.current", "300\n");
        assert_eq!(left_in_group(root.path(), "0::/a/b\n"), Some(600));
        assert_eq!(left_in_group(root.path(), "0::/\n"), None);
        assert_eq!(left_in_group(root.path(), "4:memory:/a\n"), None);
    }
}
