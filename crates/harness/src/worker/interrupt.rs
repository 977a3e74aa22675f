//! Ctrl-C: the first asks the sweep to stop, the second ends the program at once.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What is done before a second signal ends the program; 0 for nothing.
static LAST: AtomicUsize = AtomicUsize::new(0);

/// Proof that the handler is installed.
#[derive(Debug)]
pub struct Interrupt(());

impl Interrupt {
    /// Handles SIGINT, SIGTERM and SIGHUP from now on, but for those that were ignored when the program began (`nohup`, a
    /// script's background). Workers are in groups of their own: a terminal's Ctrl-C reaches them only through this
    /// program.
    pub fn install() -> Self {
        let handler = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the handler only touches an atomic and calls `_exit`, both allowed in a signal handler.
            unsafe {
                if libc::signal(signal, handler) == libc::SIG_IGN {
                    libc::signal(signal, libc::SIG_IGN);
                }
            }
        }
        Self(())
    }

    /// What `main` does first. A file that may not grow (`ulimit -f`) is an error to report, like a full disk, and not the
    /// end of the program; and the ends of children are heard of, although some supervisors start programs deaf to them.
    pub fn set_up_signals() {
        // SAFETY: no handler is installed.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        }
    }
}

/// Asks the sweep to stop, as the first Ctrl-C does.
pub fn interrupt() {
    COUNT.fetch_add(1, SeqCst);
}

/// Does this before a second signal ends the program.
///
/// # Safety
/// `last` is called in a signal handler: it may do nothing that is not async-signal-safe.
pub unsafe fn before_abrupt_end(last: extern "C" fn()) {
    LAST.store(last as usize, SeqCst);
}

extern "C" fn on_signal(_: libc::c_int) {
    if COUNT.fetch_add(1, SeqCst) > 0 {
        let last = LAST.load(SeqCst);
        if last != 0 {
            // SAFETY: nothing but such functions is stored there.
            let last: extern "C" fn() = unsafe { std::mem::transmute(last) };
            last();
        }
        // SAFETY: `_exit` is async-signal-safe. Workers die with this process (PR_SET_PDEATHSIG).
        unsafe { libc::_exit(130) };
    }
}

/// Waits, and returns early where the sweep is asked to stop meanwhile: whether it was.
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
