//! The children of this process: lists, waits for and kills them.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait, waitpid};

/// The running program, even if its file was replaced meanwhile.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// A child that has ended, without reaping it.
pub(crate) fn ended_child() -> Option<Pid> {
    // `rustix::process::waitid` does not tell which child ended.
    // SAFETY: an all-zero `siginfo_t` is valid, and the call only writes to it.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let found = libc::waitid(libc::P_ALL, 0, &raw mut info, options) == 0;
        Pid::from_raw(info.si_pid()).filter(|_| found)
    }
}

/// Waits until a child ends, or any child; returns its id and status. `None` where there is none.
pub(crate) fn reap(child: Option<Pid>) -> Option<(Pid, ExitStatus)> {
    let options = WaitOptions::empty();
    let ended = child.map_or_else(|| wait(options), |child| waitpid(Some(child), options));
    ended.ok()?.map(|(child, status)| (child, ExitStatus::from_raw(status.as_raw())))
}

/// Kills all children except the spared one.
pub(crate) fn kill_children() {
    for child in children() {
        // A child that is not reaped keeps its id.
        let _ = kill_process(child, Signal::KILL);
    }
}

/// Lets orphans below this process become its children.
pub(crate) fn adopt_orphans() {
    let _ = set_child_subreaper(Some(getpid()));
}

/// The child that [`sweep`] spares; 0 for none.
static SPARED: AtomicI32 = AtomicI32::new(0);

/// Has [`sweep`] spare this child: the keeper of the GPU's clocks, which ends by itself.
pub(crate) fn spare(child: Option<&Child>) {
    SPARED.store(Pid::as_raw(child.map(Pid::from_child)), Ordering::Relaxed);
}

/// Kills what a killed guard has left: all children of this program, for up to a second.
pub(crate) fn sweep() {
    let deadline = Instant::now() + Duration::from_secs(1);
    while !children().is_empty() && Instant::now() < deadline {
        kill_children();
        while ended_child().and_then(|child| reap(Some(child))).is_some() {}
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The children of this process except the spared one.
fn children() -> Vec<Pid> {
    let (me, spared) = (std::process::id(), SPARED.load(Ordering::Relaxed));
    let mine = parents().into_iter().filter(|(_, parent)| *parent == me);
    mine.filter_map(|(child, _)| i32::try_from(child).ok())
        .filter(|child| *child != spared)
        .filter_map(Pid::from_raw)
        .collect()
}

/// The parent of every process, from `/proc`.
pub(crate) fn parents() -> HashMap<u32, u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state ppid …`; the name may hold anything.
        Some((pid, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
    };
    processes.filter_map(|entry| parent(entry.file_name().to_str()?.parse().ok()?)).collect()
}
