//! Puts weights into huge pages, of which the processor finds more without a page-table walk. Programs must ask for them
//! (`/sys/kernel/mm/transparent_hugepage/enabled`: `madvise`), and glibc asks for them where it is told before a program starts.
//!
//! Whose every forward allocates and frees memory is not to be told: glibc gives what is free back in whole huge pages, and gets
//! them again, filled with zeros.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// glibc's own settings (its manual: "Tunables").
const TUNABLES: &str = "GLIBC_TUNABLES";
const HUGE_PAGES: &str = "glibc.malloc.hugetlb";

/// Their size, on x86-64 and on most others.
const HUGE_PAGE: usize = 2 << 20;

/// The allocation from which huge pages matter.
const WORTH_A_NOTE: u64 = 1 << 30;

/// Starts this program anew with [`huge_pages_variable`]. Where that is impossible, goes on with small pages.
pub fn ask_for_huge_pages() {
    let (Some((name, value)), Ok(program)) = (huge_pages_variable(), env::current_exe()) else { return };
    let _error = Command::new(program).args(env::args_os().skip(1)).env(name, value).exec();
}

/// The environment variable, and its value, with which this program must be started for large allocations to be in huge pages;
/// `None` where that makes no difference or `GLIBC_TUNABLES` says already what is to be done about them.
pub fn huge_pages_variable() -> Option<(&'static str, String)> {
    let enabled = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let tunables = with_huge_pages(&env::var_os(TUNABLES).unwrap_or_default())?;
    enabled.contains("[madvise]").then_some((TUNABLES, tunables))
}

fn with_huge_pages(tunables: &OsStr) -> Option<String> {
    let words = tunables.to_string_lossy();
    let separator = if words.is_empty() { "" } else { ":" };
    (!words.contains(HUGE_PAGES)).then(|| format!("{words}{separator}{HUGE_PAGES}=1"))
}

/// Moves what was allocated in small pages, for want of huge ones, to huge pages now that there is time (Linux 6.1), and says how
/// much is in them, of a gibibyte or more. Else runs of one engine would be as different as the pages that they got.
///
/// An engine calls it when its weights are where they will stay. Where `GLIBC_TUNABLES` says that there are to be no huge pages,
/// nothing is moved.
pub fn move_to_huge_pages() -> Option<String> {
    if env::var_os(TUNABLES).is_some_and(|all| all.to_string_lossy().contains(&format!("{HUGE_PAGES}=0"))) {
        return None;
    }
    huge_percent()?;
    let mut is_short = false;
    for Range { start, end } in allocated(&fs::read_to_string("/proc/self/maps").ok()?) {
        // Page by page: a call for many gives up at the first for which the system has no room.
        for page in (start..end).step_by(HUGE_PAGE) {
            // SAFETY: the page's contents and address stay as they are. Where there is no huge page, so does the page.
            let is_moved = unsafe { libc::madvise(page as *mut _, HUGE_PAGE, libc::MADV_COLLAPSE) } == 0;
            is_short |= !is_moved && io::Error::last_os_error().raw_os_error() == Some(libc::ENOMEM);
        }
    }
    Some(match huge_percent()? {
        90.. => "memory in huge pages".into(),
        // Rounded, so that runs with about the same share have the same note.
        percent => {
            let why = if is_short { ": the system had no more" } else { "" };
            format!("{} % of the memory in huge pages{why}", percent / 10 * 10)
        }
    })
}

/// The share of what this process allocated that is in huge pages, in percent; nothing where that is too little to matter.
fn huge_percent() -> Option<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let bytes = |name| {
        let kib = rollup.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB"))?;
        Some(kib.trim().parse::<u64>().ok()? * 1024)
    };
    let (all, huge) = (bytes("Anonymous:")?, bytes("AnonHugePages:")?);
    (all >= WORTH_A_NOTE).then(|| huge * 100 / all)
}

/// Whole huge pages of the mappings that are writable and of no file (`man 5 proc_pid_maps`).
fn allocated(maps: &str) -> Vec<Range<usize>> {
    let mapping = |line: &str| {
        let mut fields = line.split(' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let (permissions, inode) = (fields.next()?, fields.nth(2)?);
        let address = |text| usize::from_str_radix(text, 16).ok();
        let whole = address(start)?.next_multiple_of(HUGE_PAGE)..address(end)? / HUGE_PAGE * HUGE_PAGE;
        (permissions == "rw-p" && inode == "0" && !whole.is_empty()).then_some(whole)
    };
    maps.lines().filter_map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_set_stays() {
        let with = |tunables: &str| with_huge_pages(tunables.as_ref());
        assert_eq!(with("").unwrap(), "glibc.malloc.hugetlb=1");
        assert_eq!(
            with("glibc.malloc.arena_max=1").unwrap(),
            "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"
        );
        assert_eq!(with("glibc.malloc.hugetlb=0"), None);
    }

    #[test]
    fn what_is_allocated_is_moved_in_whole_huge_pages() {
        let maps = "\
7f0000100000-7f0000900000 rw-p 00000000 00:00 0 \n\
7f0001000000-7f0001400000 ---p 00000000 00:00 0 \n\
7f0002000000-7f0002400000 r--s 00000000 fe:00 7                          /model.safetensors\n\
7f0003001000-7f0003100000 rw-p 00000000 00:00 0 \n\
7f0004001000-7f0004500000 rw-p 00000000 00:00 0                          [heap]\n";
        assert_eq!(allocated(maps), [0x7f00_0020_0000..0x7f00_0080_0000, 0x7f00_0420_0000..0x7f00_0440_0000]);
    }
}
