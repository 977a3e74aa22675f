//! Checks that a worker gave its GPU memory back.

use crate::gpu::Driver;

/// The amount that does not count as missing: the driver's own, and what other programs take and give back.
const MARGIN_BYTES: u64 = 64 << 20;

/// The memory in use on a GPU beyond the `before` of a worker's start, once it has ended; `None` where it is back. The driver
/// takes its time: it is asked again for as long as `wait` allows.
pub fn memory_left(
    driver: &dyn Driver,
    index: u32,
    before: u64,
    mut wait: impl FnMut() -> bool,
) -> Option<u64> {
    loop {
        let left = driver.used_bytes(index)?.saturating_sub(before);
        if left <= MARGIN_BYTES {
            return None;
        }
        if !wait() {
            return Some(left);
        }
    }
}
