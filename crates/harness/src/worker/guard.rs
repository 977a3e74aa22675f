//! The process between this program and a worker, which leaves nothing of the worker behind.
//!
//! A worker's children need not be in its process group, and the parent-death signal does not reach them. So the program
//! starts itself again as a *guard*, and the guard starts the worker: orphans below it become its children
//! (`PR_SET_CHILD_SUBREAPER`), and when the worker ends, when the guard is told to (SIGTERM), or when the program is gone
//! (its parent-death signal is SIGTERM), it kills whatever is left and ends as the worker did. It sleeps meanwhile. Linux.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use crate::worker::children::{THIS_PROGRAM, ended_child, kill_children, reap};
use crate::worker::launch::Launch;

/// The first argument of a program that is to be a guard; then the worker's memory limit in bytes or `-`, a folder to make and to
/// remove or `-`, and its command.
pub(crate) const GUARD: &str = "__guard";
/// In a worker's environment: this program's file, for what a worker may want of it (`synth`).
const PROGRAM: &str = "LLAMA2_BENCH";
/// The guard of a worker, ready to be started.
pub(crate) fn command(worker: &Launch, memory_bytes: Option<u64>) -> Command {
    let parent = std::process::id();
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
    unsafe { command.pre_exec(move || die_with(parent, libc::SIGTERM)) };
    command
}

/// What a guard does, with the arguments behind [`GUARD`].
///
/// # Errors
/// In words, where the worker can't be started.
pub(crate) fn guard(mut arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, String> {
    let [memory, scratch, program] = [arguments.next(), arguments.next(), arguments.next()];
    let (Some(memory), Some(scratch), Some(program)) = (memory, scratch, program) else {
        return Err("a guard is started by llama2-bench alone".into());
    };
    let scratch = Some(PathBuf::from(scratch)).filter(|folder| folder.as_os_str() != "-");
    let memory: Option<u64> = memory.to_str().and_then(|bytes| bytes.parse().ok());

    let signals = block_signals();
    if let Some(folder) = &scratch {
        std::fs::create_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    // SAFETY: this call takes plain numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let me = std::process::id();
    let mut worker = Command::new(&program);
    worker.args(arguments).process_group(0);
    // SAFETY: between fork and exec this process has one thread, and only system calls are made.
    unsafe { worker.pre_exec(move || restrain(me, memory)) };
    let worker = worker.spawn().map_err(|error| {
        remove(scratch.as_deref());
        let program = program.display();
        match error.kind() {
            std::io::ErrorKind::NotFound => format!("no program {program}: run `make build`"),
            _ => format!("{program}: {error}"),
        }
    })?;
    let worker = libc::pid_t::try_from(worker.id()).expect("a process id");
    release_standard_streams();
    wait_for_an_end(&signals, worker);
    let status = kill_all(worker);
    remove(scratch.as_deref());
    Ok(end_like(status))
}

/// Removes what a launcher that was killed has left.
fn remove(scratch: Option<&Path>) {
    if let Some(folder) = scratch {
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// SIGCHLD, SIGTERM and SIGUSR1 wait until they are asked for.
fn block_signals() -> libc::sigset_t {
    // SAFETY: an all-zero set is valid memory for `sigemptyset`; the rest only writes to it.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGCHLD);
        libc::sigaddset(&raw mut signals, libc::SIGTERM);
        libc::sigaddset(&raw mut signals, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
        signals
    }
}

/// The worker alone holds its pipes: their end is its end.
fn release_standard_streams() {
    // SAFETY: descriptors of this process, which uses them no more.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for stream in 0..3 {
            libc::dup2(null, stream);
        }
        libc::close(null);
    }
}

/// Returns when the worker ended, or when this process was asked to end it.
fn wait_for_an_end(signals: &libc::sigset_t, worker: libc::pid_t) {
    loop {
        // SAFETY: `signals` is a valid set; nothing is written.
        match unsafe { libc::sigwaitinfo(signals, std::ptr::null_mut()) } {
            libc::SIGTERM => return,
            // Launchers pass it on to their ranks.
            libc::SIGUSR1 => {
                // SAFETY: the worker is not reaped yet.
                unsafe { libc::kill(worker, libc::SIGUSR1) };
            }
            _ => {}
        }
        // Signals merge: look at every child that ended.
        while let Some(child) = ended_child() {
            if child == worker {
                return;
            }
            reap(child);
        }
    }
}

/// Kills the worker's group and everything below this process; the worker's status.
fn kill_all(worker: libc::pid_t) -> Option<ExitStatus> {
    // SAFETY: the worker is not reaped yet, so its id still names its own group.
    unsafe { libc::kill(-worker, libc::SIGKILL) };
    let mut ended = None;
    loop {
        kill_children();
        // Their own children are ours once they are gone.
        let Some(first) = reap(-1) else { return ended };
        let more = std::iter::from_fn(|| ended_child().and_then(reap));
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
    // SAFETY: plain calls on this process, which is to end.
    unsafe {
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::signal(signal, libc::SIG_DFL);
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const signals, std::ptr::null_mut());
        libc::kill(libc::getpid(), signal);
    }
    ExitCode::from(128u8.wrapping_add(signal as u8))
}

/// Has the kernel send `signal` to this process when its parent ends.
fn die_with(parent: u32, signal: libc::c_int) -> std::io::Result<()> {
    // SAFETY: system calls on plain numbers.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, signal) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // The parent may have died before the call above.
        if libc::getppid().cast_unsigned() != parent {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    Ok(())
}

/// Runs in the worker before `exec`.
fn restrain(guard: u32, memory: Option<u64>) -> std::io::Result<()> {
    die_with(guard, libc::SIGKILL)?;
    // When memory runs out, the kernel should take the worker rather than this program, or somebody else's.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // SAFETY: system calls on values of this function.
    unsafe {
        // The program ignores it; a worker has the default.
        libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
        // What the guard waits for must reach a worker: launchers pass SIGUSR1 on.
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        if let Some(bytes) = memory {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            if libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
    }
    Ok(())
}
