//! The worker's own memory: its limit and its peak. Linux.

use std::fmt;
use std::fs;

/// A limit that the model's stored weights alone exceed. Its text is classified as out of memory.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    mapped: u64,
    limit: u64,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mapped, limit } = self;
        write!(f, "out of memory: the memory-mapped weights need {mapped} bytes, the limit is {limit}")
    }
}

impl std::error::Error for OutOfMemory {}

impl OutOfMemory {
    /// Lets `mapped` bytes of memory-mapped weights count against `limit`.
    ///
    /// The harness bounds a worker with `RLIMIT_DATA`, which counts private writable memory only. Engines call this
    /// when they have opened a checkpoint: what is mapped is taken off what may still be allocated.
    pub fn charge_mapped(mapped: u64, limit: Option<u64>) -> Result<(), Self> {
        let Some(limit) = limit else { return Ok(()) };
        let Some(left) = limit.checked_sub(mapped) else { return Err(Self { mapped, limit }) };
        let mut rlimit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `rlimit` is a valid structure for the duration of the calls; lowering the soft limit touches no memory.
        unsafe {
            if libc::getrlimit(libc::RLIMIT_DATA, &raw mut rlimit) == 0 {
                rlimit.rlim_cur = left.min(rlimit.rlim_max);
                libc::setrlimit(libc::RLIMIT_DATA, &raw const rlimit);
            }
        }
        Ok(())
    }
}

/// Gives freed memory back to the system, so that what the worker did before is not in a cell's peak, and lets the peak start anew
/// from what is resident now (`clear_refs`, value 5: `man 5 proc`).
/// Returns false where that is not allowed: then the peak would be that of the worker's whole life.
pub(crate) fn reset_peak() -> bool {
    // SAFETY: it may be called at any time, and touches free memory only.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The most that was resident since [`reset_peak`]: `VmHWM`.
pub(crate) fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_at_least_what_was_touched() {
        reset_peak();
        let before = peak_bytes().unwrap();
        let block = vec![1u8; 64 << 20];
        assert!(std::hint::black_box(&block).iter().step_by(4096).all(|&byte| byte == 1));
        assert!(peak_bytes().unwrap() >= before + (60 << 20));
    }

    #[test]
    fn weights_beyond_the_limit_are_out_of_memory() {
        let error = OutOfMemory::charge_mapped(2048, Some(1024)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "out of memory: the memory-mapped weights need 2048 bytes, the limit is 1024"
        );
        assert_eq!(OutOfMemory::charge_mapped(2048, None), Ok(()));
    }
}
