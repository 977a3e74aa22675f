//! An allocator that counts, so that trusting an unchecked size is a failure and not a slow test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;

use proptest::test_runner::TestCaseError;

use crate::CaseResult;

/// The largest allocation of a case. Inputs have some ten thousand bytes.
const LARGEST: usize = 16 << 20;
/// The most that a case holds at once.
const MOST: isize = 64 << 20;
/// The size from which on nothing is allocated at all: the machine has other things to do.
const REFUSED: usize = 1 << 30;

/// Counts what each thread allocates. A target's file names it:
///
/// ```ignore
/// #[global_allocator]
/// static ALLOCATOR: fuzz::BoundedAllocator = fuzz::BoundedAllocator;
/// ```
#[derive(Debug)]
pub struct BoundedAllocator;

thread_local! {
    static LARGEST_SEEN: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST_HELD: Cell<isize> = const { Cell::new(0) };
}

/// Counts an allocation; false where it must be refused.
fn count(size: usize, before: usize) -> bool {
    if size > REFUSED {
        return false;
    }
    LARGEST_SEEN.set(LARGEST_SEEN.get().max(size));
    HELD.set(HELD.get() + size as isize - before as isize);
    MOST_HELD.set(MOST_HELD.get().max(HELD.get()));
    true
}

// SAFETY: every call is the system allocator's, or fails; the counters are plain cells that neither allocate nor are
// dropped.
unsafe impl GlobalAlloc for BoundedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        if count(layout.size(), 0) { unsafe { System.alloc(layout) } } else { null_mut() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        if count(layout.size(), 0) { unsafe { System.alloc_zeroed(layout) } } else { null_mut() }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        if count(size, layout.size()) { unsafe { System.realloc(pointer, layout, size) } } else { null_mut() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Fails where `case` allocates more at once, or holds more, than its input can explain.
pub fn bounded(case: impl FnOnce() -> CaseResult) -> CaseResult {
    LARGEST_SEEN.set(0);
    MOST_HELD.set(HELD.get());
    let before = HELD.get();
    case()?;
    let (largest, most) = (LARGEST_SEEN.get(), MOST_HELD.get() - before);
    if largest > LARGEST || most > MOST {
        return Err(TestCaseError::fail(format!("{largest} bytes allocated at once, {most} held")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: BoundedAllocator = BoundedAllocator;

    fn allocating(count: usize, bytes: usize) -> CaseResult {
        bounded(|| {
            let held: Vec<Vec<u8>> = (0..count).map(|_| Vec::with_capacity(bytes)).collect();
            assert_eq!(held.len(), count);
            Ok(())
        })
    }

    #[test]
    fn one_large_allocation_and_many_small_ones_are_noticed() {
        assert!(allocating(3, 1 << 20).is_ok());
        assert!(allocating(1, LARGEST + 1).is_err());
        assert!(allocating(65, 1 << 20).is_err());
        assert!(allocating(3, 1 << 20).is_ok());
    }
}
