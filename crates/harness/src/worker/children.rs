//! The children of this process: who they are, how they end, and who is killed.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// The program that runs, although its file may have been replaced meanwhile.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// A child that ended; it is not reaped by this.
pub(crate) fn ended_child() -> Option<libc::pid_t> {
    // SAFETY: an all-zero `siginfo_t` is valid, and the call only writes to it.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let found = libc::waitid(libc::P_ALL, 0, &raw mut info, options) == 0;
        Some(info.si_pid()).filter(|&child| found && child != 0)
    }
}

/// Waits for a child, or for any (-1), to end: its id and status. `None` where there is none.
pub(crate) fn reap(child: libc::pid_t) -> Option<(libc::pid_t, ExitStatus)> {
    let mut status = 0;
    // SAFETY: the call only writes to `status`.
    let child = unsafe { libc::waitpid(child, &raw mut status, 0) };
    (child > 0).then(|| (child, ExitStatus::from_raw(status)))
}

/// Kills all children but the one that is spared.
pub(crate) fn kill_children() {
    for child in children() {
        // SAFETY: a child that is not reaped keeps its id.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
}

/// Lets orphans of a guard that is killed become children of this program.
pub(crate) fn adopt_orphans() {
    // SAFETY: this call takes plain numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// The child that [`sweep`] leaves alone; 0 for none.
static SPARED: AtomicI32 = AtomicI32::new(0);

/// Has [`sweep`] leave this child alone: the keeper of the GPU's clocks, which ends by itself.
pub(crate) fn spare(child: Option<u32>) {
    let child = child.and_then(|child| libc::pid_t::try_from(child).ok());
    SPARED.store(child.unwrap_or(0), Ordering::Relaxed);
}

/// Kills what a guard that was killed itself has left: all of this program's children, for as long as a second.
pub(crate) fn sweep() {
    let deadline = Instant::now() + Duration::from_secs(1);
    while !children().is_empty() && Instant::now() < deadline {
        kill_children();
        while ended_child().and_then(reap).is_some() {}
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The children of this process, from `/proc`, but for the one that is spared.
fn children() -> Vec<libc::pid_t> {
    let me = std::process::id().to_string();
    let is_mine = |pid: &libc::pid_t| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // `pid (name) state ppid …`; the name may hold anything.
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1) == Some(me.as_str())
    };
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let spared = SPARED.load(Ordering::Relaxed);
    names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != spared)
        .filter(is_mine)
        .collect()
}
