//! Tells where this rank is while it may hang: on SIGUSR1 it writes that to stderr, whatever it is doing.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

static RANK: AtomicUsize = AtomicUsize::new(0);
static WAITING: AtomicBool = AtomicBool::new(false);
static COLLECTIVES: AtomicU64 = AtomicU64::new(0);

/// While it lives, this rank waits for others.
pub(crate) struct Waiting(bool);

/// Marks this rank as one that waits for others.
pub(crate) fn wait() -> Waiting {
    COLLECTIVES.fetch_add(1, Ordering::Relaxed);
    Waiting(WAITING.swap(true, Ordering::Relaxed))
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.store(self.0, Ordering::Relaxed);
    }
}

/// Answers SIGUSR1 from now on.
pub(crate) fn answer_signals(rank: usize) {
    RANK.store(rank, Ordering::Relaxed);
    // SAFETY: an all-zero `sigaction` is valid; the handler makes only calls that signal handlers may make.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = answer as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn answer(_: libc::c_int) {
    let mut line = SignalSafeLine { bytes: [0; 128], len: 0 };
    line.text(b"llama2-bench: rank ");
    line.number(RANK.load(Ordering::Relaxed) as u64);
    line.text(if WAITING.load(Ordering::Relaxed) {
        b" waits for others, in collective "
    } else {
        b" computes, after collective "
    });
    line.number(COLLECTIVES.load(Ordering::Relaxed));
    line.text(b"\n");
    // SAFETY: `write` may be called in a handler; the bytes are this function's. `errno` is put back.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.len);
        *libc::__errno_location() = errno;
    }
}

/// A line that is put together without allocating.
struct SignalSafeLine {
    bytes: [u8; 128],
    len: usize,
}

impl SignalSafeLine {
    fn text(&mut self, text: &[u8]) {
        for (place, byte) in self.bytes[self.len..].iter_mut().zip(text) {
            *place = *byte;
            self.len += 1;
        }
    }

    fn number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let (mut rest, mut first) = (number, digits.len());
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.text(&digits[first..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_never_run_over() {
        let mut line = SignalSafeLine { bytes: [0; 128], len: 0 };
        for number in [0, 7, 10, 4_294_967_296, u64::MAX] {
            line.text(b" ");
            line.number(number);
        }
        assert_eq!(&line.bytes[..line.len], b" 0 7 10 4294967296 18446744073709551615");
        line.text(&[b'x'; 200]);
        assert_eq!(line.len, 128);
    }

    #[test]
    fn waiting_ends_as_it_began() {
        let outer = wait();
        drop(wait());
        assert!(WAITING.load(Ordering::Relaxed));
        drop(outer);
        assert!(!WAITING.load(Ordering::Relaxed));
    }
}
