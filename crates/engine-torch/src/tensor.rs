//! libtorch's tensors: what `shim/tensor.cpp` has of `at::Tensor`, under libtorch's names.
//!
//! To add an operator, copy three places of one that is alike, such as `matmul`:
//!
//! 1. the C function in `shim/tensor.cpp`; an operator that is no method of `at::Tensor` needs its header, `ATen/ops/NAME.h`;
//! 2. the declaration in `tensor/operators.rs`, with the same parameters: no compiler compares the two;
//! 3. the method, in the same file.

mod kind;
mod operators;

use std::ffi::{c_int, c_void};
use std::ops::Deref;
use std::ptr::{NonNull, null_mut};

use protocol::Device;

use crate::error::{CText, Result, TorchError, check};

pub(crate) use kind::{Element, Kind};

/// A C++ `at::Tensor`, used by reference only: `&CTensor` is `const at::Tensor &`, and `Option<&CTensor>` a pointer that may be null.
#[repr(C)]
pub(crate) struct CTensor {
    _opaque: [u8; 0],
}

/// A tensor of libtorch. Several may share their numbers, as views do.
///
/// `Option<Tensor>` is an `at::Tensor *` of C++, null or owned.
#[derive(Debug)]
#[must_use]
#[repr(transparent)]
pub(crate) struct Tensor(NonNull<CTensor>);

// SAFETY: libtorch counts references atomically, and any thread may use or free a tensor.
unsafe impl Send for Tensor {}

impl Deref for Tensor {
    type Target = CTensor;

    fn deref(&self) -> &CTensor {
        // SAFETY: the C++ tensor is alive until `drop`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        // SAFETY: the C++ tensor is alive, and owned here alone.
        unsafe { tensor_free(self.0) }
    }
}

// SAFETY: the signatures are those of shim/tensor.cpp. Safe functions need no more than what their types say: references are to what lives
// through the call.
unsafe extern "C" {
    fn tensor_free(this: NonNull<CTensor>);
    fn tensor_copy_data(this: &CTensor, data: *mut c_void, bytes: usize) -> Option<CText>;
    fn tensor_from_data(
        data: *const c_void,
        count: usize,
        kind: Kind,
        output: &mut Option<Tensor>,
    ) -> Option<CText>;

    safe fn tensor_shallow_clone(this: &CTensor) -> Tensor;
    safe fn tensor_kind(this: &CTensor) -> c_int;
    safe fn tensor_gpu(this: &CTensor) -> c_int;
    safe fn tensor_dim(this: &CTensor) -> usize;
    safe fn tensor_numel(this: &CTensor) -> usize;
    safe fn tensor_nbytes(this: &CTensor) -> usize;
    safe fn tensor_size(this: &CTensor, dim: i64, size: &mut i64) -> Option<CText>;
    safe fn tensor_data_ptr(this: &CTensor, data: &mut *mut c_void) -> Option<CText>;

    safe fn tensor_set_grad_enabled(enabled: bool) -> bool;
    safe fn tensor_set_num_threads(threads: c_int) -> Option<CText>;
    safe fn tensor_set_num_interop_threads(threads: c_int) -> Option<CText>;
}

/// Calls a function of a shim, and returns the tensor that it made.
pub(crate) fn make(function: impl FnOnce(&mut Option<Tensor>) -> Option<CText>) -> Result<Tensor> {
    let mut output = None;
    check(function(&mut output))?;
    output.ok_or_else(no_tensor)
}

/// The error of a function that reported none, and made no tensor.
fn no_tensor() -> TorchError {
    TorchError::new("no tensor")
}

/// A device as the shims take it: the index of the GPU, or -1 for the CPU.
pub(crate) fn gpu_index(device: Device) -> c_int {
    match device {
        Device::Cpu => -1,
        Device::Cuda(index) => index as c_int,
    }
}

/// A list of tensors as the shims take it, valid for as long as they live.
pub(crate) fn pointers<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const CTensor> {
    tensors.into_iter().map(|tensor| tensor.0.as_ptr().cast_const()).collect()
}

impl Tensor {
    /// The C++ tensor, which this one still owns.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut CTensor {
        self.0.as_ptr()
    }

    /// A copy of `data`, of shape `[len]`, on the CPU.
    pub(crate) fn from_slice<T: Element>(data: &[T]) -> Result<Self> {
        // SAFETY: the numbers live through the call, and are of this kind.
        make(|output| unsafe { tensor_from_data(data.as_ptr().cast(), data.len(), T::KIND, output) })
    }

    /// A copy of all numbers, row after row.
    ///
    /// # Errors
    /// Where they are of another kind.
    pub(crate) fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let kind = self.kind()?;
        if kind != T::KIND {
            return Err(TorchError::new(&format!("numbers of kind {kind:?}, not {:?}", T::KIND)));
        }
        let mut data = vec![T::default(); self.numel()];
        // SAFETY: there is room for so many bytes, and all values of them are numbers of this kind.
        check(unsafe { tensor_copy_data(self, data.as_mut_ptr().cast(), size_of_val(&data[..])) })?;
        Ok(data)
    }

    /// Another handle of the same tensor: its numbers are not copied.
    pub(crate) fn shallow_clone(&self) -> Self {
        tensor_shallow_clone(self)
    }

    /// The type of its numbers.
    pub(crate) fn kind(&self) -> Result<Kind> {
        Kind::from_scalar_type(tensor_kind(self))
    }

    /// The device that holds its numbers.
    pub(crate) fn device(&self) -> Device {
        u32::try_from(tensor_gpu(self)).map_or(Device::Cpu, Device::Cuda)
    }

    /// The number of dimensions.
    pub(crate) fn dim(&self) -> usize {
        tensor_dim(self)
    }

    /// The number of numbers.
    pub(crate) fn numel(&self) -> usize {
        tensor_numel(self)
    }

    /// Bytes of all its numbers.
    pub(crate) fn nbytes(&self) -> usize {
        tensor_nbytes(self)
    }

    /// The size of dimension `dim`; -1 is the last one.
    pub(crate) fn size(&self, dim: i64) -> Result<i64> {
        let mut size = 0;
        check(tensor_size(self, dim, &mut size))?;
        Ok(size)
    }

    /// The size of each dimension.
    ///
    /// # Errors
    /// Where there are not `DIMS` of them.
    pub(crate) fn sizes<const DIMS: usize>(&self) -> Result<[i64; DIMS]> {
        if self.dim() != DIMS {
            return Err(TorchError::new(&format!("a tensor of {} dimensions, not {DIMS}", self.dim())));
        }
        let mut sizes = [0; DIMS];
        for (dim, size) in sizes.iter_mut().enumerate() {
            *size = self.size(dim as i64)?;
        }
        Ok(sizes)
    }

    /// The address of its first number.
    pub(crate) fn data_ptr(&self) -> Result<*mut c_void> {
        let mut data = null_mut();
        check(tensor_data_ptr(self, &mut data))?;
        Ok(data)
    }
}

/// Does `work` without recording what gradients would need.
pub(crate) fn no_grad<T>(work: impl FnOnce() -> T) -> T {
    let before = tensor_set_grad_enabled(false);
    let done = work();
    tensor_set_grad_enabled(before);
    done
}

/// Sets how many threads an operator uses.
pub(crate) fn set_num_threads(threads: u32) -> Result<()> {
    check(tensor_set_num_threads(threads as c_int))
}

/// Sets how many operators of a script run at a time.
///
/// # Errors
/// Where it was set before.
pub(crate) fn set_num_interop_threads(threads: u32) -> Result<()> {
    check(tensor_set_num_interop_threads(threads as c_int))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_went() {
        let numbers: Vec<i64> = (0..6).collect();
        let rows = Tensor::from_slice(&numbers).unwrap().view(&[2, 3]).unwrap();
        assert_eq!((rows.kind().unwrap(), rows.device()), (Kind::Int64, Device::Cpu));
        assert_eq!((rows.sizes().unwrap(), rows.numel(), rows.nbytes()), ([2, 3], 6, 48));
        assert_eq!(rows.to_vec::<i64>().unwrap(), numbers);
        // Row after row, however they lie in memory.
        assert_eq!(rows.transpose(0, 1).unwrap().to_vec::<i64>().unwrap(), [0, 3, 1, 4, 2, 5]);
        assert!(Tensor::from_slice::<f32>(&[]).unwrap().to_vec::<f32>().unwrap().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_an_error_of_one_line() {
        let row = Tensor::from_slice(&[1f32, 2.0]).unwrap();
        let errors = [
            row.to_vec::<i64>().unwrap_err(),
            row.sizes::<2>().unwrap_err(),
            row.size(1).unwrap_err(),
            row.view(&[3]).err().unwrap(),
            Tensor::cat([&row, &row.view(&[1, 2]).unwrap()], 0).err().unwrap(),
        ]
        .map(|error| error.to_string());
        assert_eq!(errors[0], "libtorch: numbers of kind Float, not Int64");
        assert_eq!(errors[1], "libtorch: a tensor of 1 dimensions, not 2");
        assert_eq!(errors[3], "libtorch: shape '[3]' is invalid for input of size 2");
        assert!(
            errors.iter().all(|error| error.starts_with("libtorch: ") && !error.contains('\n')),
            "{errors:?}"
        );
    }

    #[test]
    fn a_shallow_clone_shares_its_numbers_and_a_copy_does_not() {
        let mut first = Tensor::from_slice(&[1i64, 2]).unwrap();
        let (shared, copied) = (first.shallow_clone(), first.copy().unwrap());
        first.fill_(7).unwrap();
        drop(first);
        assert_eq!(shared.to_vec::<i64>().unwrap(), [7, 7]);
        assert_eq!(copied.to_vec::<i64>().unwrap(), [1, 2]);
    }
}
