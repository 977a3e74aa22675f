//! The bound on a GPU's memory (`device_memory_limit`), as the fraction of it that libtorch's caching allocator may hold.

use crate::error::Result;

/// The allocators of GPUs, each bounded by a fraction of its GPU's memory.
pub(crate) trait BoundedAllocators {
    /// Bytes of the GPU's memory, used or not.
    fn total_bytes(&self, gpu: usize) -> Result<u64>;

    /// Limits it to this fraction of them from now on.
    fn set_fraction(&mut self, gpu: usize, fraction: f64) -> Result<()>;
}

/// The GPU whose memory is bounded for a model, if any.
#[derive(Default)]
pub(crate) struct BoundedGpu(Option<usize>);

impl BoundedGpu {
    /// Bounds what the allocator of `gpu` may hold to `limit` bytes, until [`BoundedGpu::lift`]; returns what a reader should know.
    pub(crate) fn set(
        &mut self,
        allocators: &mut dyn BoundedAllocators,
        gpu: usize,
        limit: u64,
    ) -> Result<String> {
        self.lift(allocators)?;
        let total = allocators.total_bytes(gpu)?;
        allocators.set_fraction(gpu, (limit as f64 / total as f64).min(1.0))?;
        self.0 = Some(gpu);
        let beside = "libtorch's allocator; what CUDA itself holds comes on top";
        Ok(if limit < total {
            format!("device memory is limited to {limit} of {total} bytes ({beside})")
        } else {
            format!("the device memory limit of {limit} bytes has no effect: the GPU has {total} bytes")
        })
    }

    /// Takes the bound away, if there is one.
    pub(crate) fn lift(&mut self, allocators: &mut dyn BoundedAllocators) -> Result<()> {
        if let Some(gpu) = self.0 {
            allocators.set_fraction(gpu, 1.0)?;
            self.0 = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked(Vec<(usize, f64)>);

    impl BoundedAllocators for Asked {
        fn total_bytes(&self, _: usize) -> Result<u64> {
            Ok(141 << 30)
        }

        fn set_fraction(&mut self, gpu: usize, fraction: f64) -> Result<()> {
            self.0.push((gpu, fraction));
            Ok(())
        }
    }

    #[test]
    fn the_allocator_is_asked_for_the_fraction_that_the_limit_is() {
        let limit = 80 << 30;
        let mut asked = Asked(Vec::new());
        let note = BoundedGpu::default().set(&mut asked, 1, limit).unwrap();
        assert_eq!(asked.0, [(1, 80.0 / 141.0)]);
        // As the allocator computes its bound.
        assert!(limit.abs_diff((asked.0[0].1 * f64::from(141u32 << 10) * f64::from(1 << 20)) as u64) <= 1);
        assert_eq!(
            note,
            "device memory is limited to 85899345920 of 151397597184 bytes \
             (libtorch's allocator; what CUDA itself holds comes on top)"
        );
    }

    #[test]
    fn a_limit_above_what_there_is_is_all_of_it() {
        let mut asked = Asked(Vec::new());
        let note = BoundedGpu::default().set(&mut asked, 0, 200 << 30).unwrap();
        assert_eq!(asked.0, [(0, 1.0)]);
        assert!(note.contains("has no effect"));
    }

    #[test]
    fn a_bound_is_lifted_once_and_on_its_own_gpu() {
        let (mut bound, mut asked) = (BoundedGpu::default(), Asked(Vec::new()));
        bound.lift(&mut asked).unwrap();
        assert_eq!(asked.0, []);
        bound.set(&mut asked, 1, 141 << 29).unwrap();
        bound.lift(&mut asked).unwrap();
        bound.lift(&mut asked).unwrap();
        assert_eq!(asked.0, [(1, 0.5), (1, 1.0)]);
        // The next model's GPU is another one.
        asked.0.clear();
        bound.set(&mut asked, 1, 141 << 29).unwrap();
        bound.set(&mut asked, 0, 141 << 28).unwrap();
        assert_eq!(asked.0, [(1, 0.5), (1, 1.0), (0, 0.25)]);
    }
}
