//! Linear layers by oneDNN, on a CPU: safe faces of `shim/onednn.cpp`.

use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::shim::check;

type CTensor = c_void;

unsafe extern "C" {
    fn onednn_pack(weight: *const CTensor, rows: i64, packed: *mut *mut CTensor) -> *mut c_char;
    fn onednn_linear(input: *const CTensor, weight: *const CTensor, output: *mut *mut CTensor)
    -> *mut c_char;
}

/// From so many rows on oneDNN wants one layout: that of a prompt.
const SEVERAL: i64 = 256;

/// The weight of a linear layer without a bias, `[out, in]`, laid out as oneDNN multiplies it fastest.
pub(crate) struct PackedWeight {
    several: Tensor,
    /// For a single row: in FP32 another layout reads a quarter faster.
    single: Option<Tensor>,
}

impl PackedWeight {
    pub(crate) fn new(weight: &Tensor) -> Result<Self> {
        let single = (weight.f_kind()? == Kind::Float).then(|| pack(weight, 1)).transpose()?;
        Ok(Self { several: pack(weight, SEVERAL)?, single })
    }

    /// `input` `[…, in]` times the weight's transpose.
    pub(crate) fn linear(&self, input: &Tensor) -> Result<Tensor> {
        let sizes = input.size();
        let is_single = sizes[..sizes.len() - 1].iter().all(|&size| size == 1);
        let weight = self.single.as_ref().filter(|_| is_single).unwrap_or(&self.several);
        let mut output = null_mut();
        // SAFETY: both tensors are alive and borrowed for the duration of the call; a null error means that `output` is a new
        // tensor.
        unsafe {
            check(onednn_linear(input.as_ptr().cast(), weight.as_ptr().cast(), &raw mut output))?;
            Ok(Tensor::from_ptr(output.cast()))
        }
    }
}

/// A copy of `weight` for inputs of so many rows.
fn pack(weight: &Tensor, rows: i64) -> Result<Tensor> {
    let mut packed = null_mut();
    // SAFETY: the weight is alive and borrowed for the duration of the call; a null error means that `packed` is a new tensor.
    unsafe {
        check(onednn_pack(weight.as_ptr().cast(), rows, &raw mut packed))?;
        Ok(Tensor::from_ptr(packed.cast()))
    }
}
