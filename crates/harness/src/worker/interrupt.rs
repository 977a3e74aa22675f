//! Ctrl-C: the first asks the sweep to stop, the second ends the program at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::worker::signals::{ignore, restore_default};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The function to call before a second signal ends the program.
static LAST: OnceLock<extern "C" fn()> = OnceLock::new();

/// Proof that the handler is installed.
#[derive(Debug)]
pub struct Interrupt(());

impl Interrupt {
    /// Handles SIGINT, SIGTERM and SIGHUP from now on, except those that were ignored when the program began (`nohup`, a script's
    /// background). Workers are in their own process groups, so a terminal's Ctrl-C reaches them only through this program.
    pub fn install() -> Self {
        let handler = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the handler only reads and changes atomics, does what was given to [`before_abrupt_end`] and calls `_exit`:
            // all allowed in a signal handler.
            if unsafe { libc::signal(signal, handler) } == libc::SIG_IGN {
                ignore(signal);
            }
        }
        Self(())
    }

    /// Sets up signals at the start of `main`. A file that may not grow (`ulimit -f`) becomes an error to report, like a full disk. SIGCHLD
    /// gets its default, since some supervisors start programs that ignore it.
    pub fn set_up_signals() {
        ignore(libc::SIGXFSZ);
        restore_default(libc::SIGCHLD);
    }
}

/// Asks the sweep to stop, as the first Ctrl-C does.
pub fn interrupt() {
    COUNT.fetch_add(1, SeqCst);
}

/// Sets the function to call before a second signal ends the program. Only the first call counts.
///
/// # Safety
/// `last` is called in a signal handler: it may do nothing that is not async-signal-safe.
pub unsafe fn before_abrupt_end(last: extern "C" fn()) {
    let _ = LAST.set(last);
}

extern "C" fn on_signal(_: libc::c_int) {
    if COUNT.fetch_add(1, SeqCst) > 0 {
        if let Some(last) = LAST.get() {
            last();
        }
        // SAFETY: `_exit` is async-signal-safe. Workers die with this process (PR_SET_PDEATHSIG).
        unsafe { libc::_exit(130) };
    }
}

/// Waits, or returns early if the sweep is asked to stop; returns whether it was.
pub(crate) fn interrupted_within(pause: Duration) -> bool {
    const LOOK: Duration = Duration::from_millis(50);
    let start = Instant::now();
    loop {
        if interrupted() {
            return true;
        }
        let left = pause.saturating_sub(start.elapsed());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(left.min(LOOK));
    }
}

/// Whether the sweep was asked to stop.
pub fn interrupted() -> bool {
    COUNT.load(SeqCst) > 0
}
