//! The sum over all ranks: between two modules, or as an operator of TorchScript.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::{Arc, PoisonError, RwLock};

use collective::{AllReduce, Numbers};
use protocol::Precision;
use tch::{Device, Kind, Tensor};

use crate::error::{Result, TorchError};
use crate::shim;

/// What a row-parallel layer ends with.
#[derive(Clone)]
pub(crate) struct SumOverRanks(Arc<dyn AllReduce>);

impl SumOverRanks {
    pub(crate) fn new(all_reduce: Arc<dyn AllReduce>) -> Self {
        Self(all_reduce)
    }

    /// The sum of all ranks' `terms`, made in their place.
    pub(crate) fn sum_(&self, terms: &Tensor) -> Result<Tensor> {
        let terms = terms.f_contiguous()?;
        let gpu = match terms.device() {
            Device::Cuda(index) => Some(index),
            _ => None,
        };
        // SAFETY: the tensor is contiguous and owned here; libtorch uses it in its current stream alone.
        unsafe { self.sum_at(terms.data_ptr(), terms.numel(), terms.f_kind()?, gpu) }?;
        Ok(terms)
    }

    /// # Safety
    /// So many numbers of this kind are there, and nobody else uses them.
    unsafe fn sum_at(&self, start: *mut c_void, len: usize, kind: Kind, gpu: Option<usize>) -> Result<()> {
        let precision = match kind {
            Kind::Float => Precision::Fp32,
            Kind::Half => Precision::Fp16,
            Kind::BFloat16 => Precision::Bf16,
            other => return Err(TorchError::new(&format!("a sum of {other:?} over ranks"))),
        };
        let stream = gpu.map_or(Ok(null_mut()), shim::current_stream)?;
        // SAFETY: the caller's promise.
        Ok(unsafe { self.0.all_reduce(Numbers { terms: start, sums: start, len, precision, stream }) }?)
    }

    /// Makes this the sum that `llama2_bench.all_reduce_` of every script is.
    pub(crate) fn offer_to_scripts(&self) {
        *OFFERED.write().unwrap_or_else(PoisonError::into_inner) = Some(self.clone());
        shim::set_all_reduce(all_reduce);
    }
}

static OFFERED: RwLock<Option<SumOverRanks>> = RwLock::new(None);

/// What the operator calls: null, or an error for `free`.
unsafe extern "C" fn all_reduce(start: *mut c_void, len: usize, kind: c_int, gpu: c_int) -> *mut c_char {
    let offered = OFFERED.read().unwrap_or_else(PoisonError::into_inner);
    let result = match &*offered {
        None => Err(TorchError::new("no ranks to sum over")),
        // SAFETY: the operator's tensor is contiguous, and its alone while it runs.
        Some(sum) => unsafe {
            let kind = match kind {
                5 => Kind::Half,
                6 => Kind::Float,
                15 => Kind::BFloat16,
                _ => Kind::Int,
            };
            sum.sum_at(start, len, kind, usize::try_from(gpu).ok())
        },
    };
    match result {
        Ok(()) => null_mut(),
        Err(error) => {
            let text = CString::new(error.to_string().replace('\0', " ")).unwrap_or_default();
            // SAFETY: a C string; the copy is for `free`.
            unsafe { libc::strdup(text.as_ptr()) }
        }
    }
}
