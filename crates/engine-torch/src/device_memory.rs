//! The bound on a GPU's memory (`device_memory_limit`), as the fraction of it that libtorch's caching allocator may hold.

use crate::error::Result;

/// An allocator that a fraction of its device's memory bounds.
pub(crate) trait BoundedAllocator {
    /// Bytes of the device's memory, used or not.
    fn total_bytes(&self) -> Result<u64>;

    /// Holds no more than this fraction of them from now on.
    fn set_fraction(&mut self, fraction: f64) -> Result<()>;
}

/// Bounds what `allocator` may hold to `limit` bytes, or takes the bound of an earlier model away (`was_bound`); returns what a
/// reader should know.
pub(crate) fn bound(
    allocator: &mut dyn BoundedAllocator,
    limit: Option<u64>,
    was_bound: bool,
) -> Result<Option<String>> {
    let Some(limit) = limit else {
        if was_bound {
            allocator.set_fraction(1.0)?;
        }
        return Ok(None);
    };
    let total = allocator.total_bytes()?;
    allocator.set_fraction((limit as f64 / total as f64).min(1.0))?;
    let beside = "libtorch's allocator; what CUDA itself holds comes on top";
    Ok(Some(if limit < total {
        format!("device memory is limited to {limit} of {total} bytes ({beside})")
    } else {
        format!("the device memory limit of {limit} bytes bounds nothing: the GPU has {total} bytes")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked(Vec<f64>);

    impl BoundedAllocator for Asked {
        fn total_bytes(&self) -> Result<u64> {
            Ok(141 << 30)
        }

        fn set_fraction(&mut self, fraction: f64) -> Result<()> {
            self.0.push(fraction);
            Ok(())
        }
    }

    fn asked(limit: Option<u64>, was_bound: bool) -> (Vec<f64>, Option<String>) {
        let mut allocator = Asked(Vec::new());
        let note = bound(&mut allocator, limit, was_bound).unwrap();
        (allocator.0, note)
    }

    #[test]
    fn the_allocator_is_asked_for_the_fraction_that_the_limit_is() {
        let limit = 80 << 30;
        let (fractions, note) = asked(Some(limit), false);
        assert_eq!(fractions, [80.0 / 141.0]);
        // As the allocator computes its bound.
        assert!(limit.abs_diff((fractions[0] * f64::from(141u32 << 10) * f64::from(1 << 20)) as u64) <= 1);
        assert_eq!(
            note.unwrap(),
            "device memory is limited to 85899345920 of 151397597184 bytes \
             (libtorch's allocator; what CUDA itself holds comes on top)"
        );
    }

    #[test]
    fn a_limit_above_what_there_is_is_all_of_it() {
        let (fractions, note) = asked(Some(200 << 30), false);
        assert_eq!(fractions, [1.0]);
        assert!(note.unwrap().contains("bounds nothing"));
    }

    #[test]
    fn the_next_model_without_a_limit_has_none() {
        assert_eq!(asked(None, false), (vec![], None));
        assert_eq!(asked(None, true), (vec![1.0], None));
    }
}
