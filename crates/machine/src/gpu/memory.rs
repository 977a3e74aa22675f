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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::fake::Fake;

    #[test]
    fn memory_comes_back_or_is_missed() {
        let fake = Fake::default();
        fake.set_used(vec![9 << 30, 5 << 30, 1 << 30]);
        let mut waits = 0;
        let wait = || {
            waits += 1;
            waits < 10
        };
        assert_eq!(memory_left(&fake, 0, 1 << 30, wait), None);
        assert_eq!(waits, 2);

        fake.set_used(vec![9 << 30]);
        assert_eq!(memory_left(&fake, 0, 1 << 30, || false), Some(8 << 30));
        fake.set_used(vec![(1 << 30) + 1000]);
        assert_eq!(memory_left(&fake, 0, 1 << 30, || false), None);
    }
}
