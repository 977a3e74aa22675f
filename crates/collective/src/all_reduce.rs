//! The one collective that a tensor-parallel forward needs.

use std::ffi::c_void;

use protocol::Dtype;

use crate::CollectiveError;

/// Numbers in a row, on the device of the world's collectives.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// The first of the terms.
    pub terms: *const c_void,
    /// Where the first sum goes: the same place, or one that overlaps none of the terms.
    pub sums: *mut c_void,
    /// How many.
    pub len: usize,
    /// What they are.
    pub dtype: Dtype,
    /// The GPU's stream (`cudaStream_t`) in which they are made and used; null is CUDA's default stream.
    pub stream: *mut c_void,
}

impl Numbers {
    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.len as u64 * self.dtype.bytes()
    }
}

/// The sum over all ranks.
pub trait AllReduce: Send + Sync {
    /// Puts the sum of all ranks' terms into each place; every rank gets the same bits. All ranks call this equally
    /// often, with equally many numbers. On a GPU the sum is queued in the numbers' stream, and the host does not wait.
    ///
    /// # Errors
    /// Fails where MPI or NCCL reports one; then the ranks can't go on together.
    ///
    /// # Safety
    /// The numbers are valid, aligned, and used by nobody else until the sum is made.
    unsafe fn all_reduce(&self, numbers: Numbers) -> Result<(), CollectiveError>;
}
