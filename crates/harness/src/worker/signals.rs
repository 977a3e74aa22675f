//! Dispositions and masks of this process's signals, which no crate in use sets without `unsafe`.

use libc::{SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, c_int, sighandler_t, sigset_t};

/// Ignores a signal from now on.
pub(crate) fn ignore(signal: c_int) {
    dispose(signal, SIG_IGN);
}

/// Gives a signal its default disposition.
pub(crate) fn restore_default(signal: c_int) {
    dispose(signal, SIG_DFL);
}

fn dispose(signal: c_int, disposition: sighandler_t) {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(signal, disposition) };
}

/// Signals that are blocked: they wait until they are asked for.
pub(crate) struct Blocked(sigset_t);

impl Blocked {
    /// Blocks these signals in addition.
    pub(crate) fn block(signals: &[c_int]) -> Self {
        Self(mask(SIG_BLOCK, signals))
    }

    /// Waits for one of them.
    pub(crate) fn wait(&self) -> c_int {
        // SAFETY: the set is a valid one; nothing is written.
        unsafe { libc::sigwaitinfo(&raw const self.0, std::ptr::null_mut()) }
    }
}

/// Unblocks all signals.
pub(crate) fn unblock_all() {
    mask(SIG_SETMASK, &[]);
}

fn mask(how: c_int, signals: &[c_int]) -> sigset_t {
    // SAFETY: an all-zero set is valid memory for `sigemptyset`; the rest writes to it alone.
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::sigprocmask(how, &raw const set, std::ptr::null_mut());
        set
    }
}
