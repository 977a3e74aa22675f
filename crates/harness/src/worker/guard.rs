//! The guard: a process between this program and a worker, which leaves nothing of the worker behind.
//!
//! A worker's children need not be in its process group, and the parent-death signal does not reach them. So the program starts itself again
//! as a *guard*, and the guard starts the worker. Orphans below the guard become its children (`PR_SET_CHILD_SUBREAPER`). The guard kills
//! whatever is left when the worker ends, when it is told to (SIGTERM), or when the program is gone (its parent-death signal is SIGTERM).
//! Then it ends as the worker did. It sleeps meanwhile. Linux.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, kill_process, kill_process_group,
    set_parent_process_death_signal, setrlimit,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::worker::children::{THIS_PROGRAM, adopt_orphans, ended_child, kill_children, reap};
use crate::worker::launch::Launch;
use crate::worker::signals::{Blocked, restore_default, unblock_all};

/// The first argument of a guard. The worker's memory limit in bytes or `-`, a folder to make and to remove or `-`, and the worker's command
/// follow.
pub(crate) const GUARD: &str = "__guard";
/// The environment variable with which a worker finds this program (for `synth`).
const PROGRAM: &str = "LLAMA2_BENCH";
/// The command of a worker's guard.
pub(crate) fn command(worker: &Launch, memory_bytes: Option<u64>) -> Command {
    let parent = getpid();
    let mut command = Command::new(THIS_PROGRAM);
    command
        .arg(GUARD)
        .arg(memory_bytes.map_or_else(|| "-".into(), |bytes| bytes.to_string()))
        .arg(worker.scratch.as_deref().unwrap_or("-".as_ref()))
        .arg(&worker.program)
        .args(&worker.arguments)
        .envs(worker.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Ok(program) = std::env::current_exe() {
        command.env(PROGRAM, program);
    }
    let (order, by_bus) = machine::gpu::DEVICE_ORDER;
    if std::env::var_os(order).is_none() {
        command.env(order, by_bus);
    }
    // SAFETY: between fork and exec only async-signal-safe calls are made.
    unsafe { command.pre_exec(move || die_with(parent, Signal::TERM)) };
    command
}

/// Runs as a guard, with the arguments after [`GUARD`].
///
/// # Errors
/// The text of the error, where the worker can't be started.
pub(crate) fn guard(mut arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, String> {
    let [memory, scratch, program] = [arguments.next(), arguments.next(), arguments.next()];
    let (Some(memory), Some(scratch), Some(program)) = (memory, scratch, program) else {
        return Err("only llama2-bench starts a guard".into());
    };
    let scratch = Some(PathBuf::from(scratch)).filter(|folder| folder.as_os_str() != "-");
    let memory: Option<u64> = memory.to_str().and_then(|bytes| bytes.parse().ok());

    let signals = Blocked::block(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGUSR1]);
    if let Some(folder) = &scratch {
        std::fs::create_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    adopt_orphans();
    let me = getpid();
    let mut worker = Command::new(&program);
    worker.args(arguments).process_group(0);
    if memory.is_some() {
        // Where memory runs out while Rust's standard library writes a backtrace, it waits for itself forever.
        worker.env("RUST_BACKTRACE", "0").env("RUST_LIB_BACKTRACE", "0");
    }
    // SAFETY: between fork and exec this process has one thread, and only system calls are made.
    unsafe { worker.pre_exec(move || restrain(me, memory)) };
    let worker = worker.spawn().map_err(|error| {
        remove(scratch.as_deref());
        let program = program.to_string_lossy();
        match error.kind() {
            std::io::ErrorKind::NotFound if is_ours(&program) => {
                format!("{program}: no such program: run `make build`")
            }
            std::io::ErrorKind::NotFound => format!("{program}: no such program"),
            _ => format!("{program}: {error}"),
        }
    })?;
    let worker = Pid::from_child(&worker);
    release_standard_streams();
    wait_for_an_end(&signals, worker);
    let status = kill_all(worker);
    remove(scratch.as_deref());
    Ok(end_like(status))
}

/// Whether a program is one of those that `make build` makes.
pub(super) fn is_ours(program: &str) -> bool {
    program.rsplit('/').next().is_some_and(|name| name.starts_with("llama2-bench-"))
}

/// Removes what a killed launcher has left.
fn remove(scratch: Option<&Path>) {
    if let Some(folder) = scratch {
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// Closes the guard's ends of the worker's pipes, so that they end with the worker.
fn release_standard_streams() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for onto in [dup2_stdin, dup2_stdout, dup2_stderr] {
            let _ = onto(&null);
        }
    }
}

/// Returns when the worker ended, or when this process was asked to end it.
fn wait_for_an_end(signals: &Blocked, worker: Pid) {
    loop {
        match signals.wait() {
            libc::SIGTERM => return,
            // Launchers pass it on to their ranks.
            libc::SIGUSR1 => {
                let _ = kill_process(worker, Signal::USR1);
            }
            _ => {}
        }
        // Signals merge: look at every child that ended.
        while let Some(child) = ended_child() {
            if child == worker {
                return;
            }
            reap(Some(child));
        }
    }
}

/// Kills the worker's group and everything below this process; the worker's status.
fn kill_all(worker: Pid) -> Option<ExitStatus> {
    // The worker is not reaped yet, so its id still names its own group.
    let _ = kill_process_group(worker, Signal::KILL);
    let mut ended = None;
    loop {
        kill_children();
        // Their children become ours once they are gone.
        let Some(first) = reap(None) else { return ended };
        let more = std::iter::from_fn(|| reap(Some(ended_child()?)));
        for (child, status) in std::iter::once(first).chain(more) {
            if child == worker {
                ended = Some(status);
            }
        }
    }
}

/// Ends as the worker did: with its code, or by its signal.
fn end_like(status: Option<ExitStatus>) -> ExitCode {
    let Some(signal) = status.and_then(|status| status.signal()) else {
        let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
        return ExitCode::from(code.unwrap_or(0));
    };
    no_core();
    restore_default(signal);
    unblock_all();
    // SAFETY: the signal has its default disposition: it runs nothing here.
    unsafe { libc::raise(signal) };
    ExitCode::from(128u8.wrapping_add(signal as u8))
}

fn no_core() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Has the kernel send `signal` to this process when its parent ends.
fn die_with(parent: Pid, signal: Signal) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(signal))?;
    // The parent may have died before the call above.
    if getppid() != Some(parent) {
        return Err(Errno::SRCH.into());
    }
    Ok(())
}

/// Runs in the worker before `exec`.
fn restrain(guard: Pid, memory: Option<u64>) -> std::io::Result<()> {
    die_with(guard, Signal::KILL)?;
    // When memory runs out, the kernel should kill the worker, not this program or another user's.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // The program ignores SIGXFSZ; a worker has the default.
    restore_default(libc::SIGXFSZ);
    // The worker must receive the signals that the guard waits for: launchers pass SIGUSR1 on.
    unblock_all();
    no_core();
    if memory.is_some() {
        setrlimit(Resource::Data, Rlimit { current: memory, maximum: memory })?;
    }
    Ok(())
}
