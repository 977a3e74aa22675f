//! Whether a worker gave back what it held.

use crate::gpu::Driver;

/// Less than this is not missed: the driver's own, and what others take and give back.
const MARGIN_BYTES: u64 = 64 << 20;

/// The memory in use on a GPU beyond the `before` of a worker's start, once it has ended; `None` where it is back. The driver
/// takes its time: it is asked again for as long as `wait` says so.
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
