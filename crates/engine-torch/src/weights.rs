//! A model's weights as tensors, without a copy of them where that is possible.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use llama::{WeightData, WeightSpec, Weights};
use protocol::{Device, Dtype, Phase};
use worker::{OutOfMemory, Reporter};

use crate::error;
use crate::linear::Linear;
use crate::options::LinearKind;
use crate::quantized::QuantizedLinear;
use crate::shim;
use crate::tensor::{Kind, Tensor};

/// The weights of a model on a device.
pub(crate) struct WeightTensors {
    by_name: HashMap<String, Tensor>,
    quantized: HashMap<String, QuantizedLinear>,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
    /// How many of them are the checkpoint's own bytes, memory-mapped.
    mapped: usize,
}

impl WeightTensors {
    /// Puts the weights on `device` in `dtype`. On the CPU a weight that is stored so is memory-mapped, and counted
    /// against `memory_limit_bytes`; any other is made in memory once.
    pub(crate) fn load(
        weights: &Arc<Weights>,
        dtype: Dtype,
        device: Device,
        memory_limit_bytes: Option<u64>,
        reporter: &Reporter,
    ) -> Result<Self> {
        let mut loaded = Self { by_name: HashMap::new(), quantized: HashMap::new(), bytes: 0, mapped: 0 };
        let mut mapped_bytes = 0;
        let specs = weights.specs();
        reporter.phase(Phase::Load, specs.len() as u32);
        for spec in specs {
            if let Some(quantization) = weights.quantization().filter(|_| spec.is_projection()) {
                let linear = QuantizedLinear::new(weights, &spec, dtype, device)?;
                let scales = spec.scales(quantization) as u64 * dtype.bytes();
                loaded.bytes += spec.packed_bytes(quantization) as u64 + scales;
                loaded.quantized.insert(spec.name, linear);
                reporter.advance();
                continue;
            }
            let bytes = spec.len() as u64 * dtype.bytes();
            let (tensor, is_mapped) = on_host(weights, &spec, dtype)?;
            if is_mapped && device == Device::Cpu {
                loaded.mapped += 1;
                mapped_bytes += bytes;
            }
            loaded.bytes += bytes;
            loaded.by_name.insert(spec.name, tensor.to_device(device)?);
            reporter.advance();
        }
        OutOfMemory::charge_mapped(mapped_bytes, memory_limit_bytes)?;
        Ok(loaded)
    }

    /// What a reader should know of them.
    pub(crate) fn notes(&self) -> Vec<String> {
        let all = self.by_name.len() + self.quantized.len();
        if self.mapped == 0 {
            vec![]
        } else {
            vec![format!("{} of {all} weights are memory-mapped", self.mapped)]
        }
    }

    /// All of them, by HF's names.
    pub(crate) fn into_named(self) -> HashMap<String, Tensor> {
        self.by_name
    }

    /// Takes the linear layer with the weight `name` out.
    pub(crate) fn linear(&mut self, kind: LinearKind, name: &str) -> error::Result<Linear> {
        match self.quantized.remove(name) {
            Some(quantized) => Ok(Linear::Quantized(quantized)),
            None => Linear::new(kind, self.take(name)),
        }
    }

    /// Takes the weight `name` out.
    ///
    /// # Panics
    /// Where the config has no such weight, or it was taken before.
    pub(crate) fn take(&mut self, name: &str) -> Tensor {
        self.by_name.remove(name).unwrap_or_else(|| panic!("no weight {name}"))
    }
}

/// libtorch's name of a dtype.
pub(crate) fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::Fp32 => Kind::Float,
        Dtype::Fp16 => Kind::Half,
        Dtype::Bf16 => Kind::BFloat16,
    }
}

/// One weight in host memory, and whether that is the checkpoint's file.
fn on_host(weights: &Arc<Weights>, spec: &WeightSpec, dtype: Dtype) -> Result<(Tensor, bool)> {
    if !weights.is_stored(spec, dtype) {
        ensure_memory(spec, dtype)?;
    }
    let (flat, is_mapped) = match weights.get(spec, dtype).data {
        WeightData::Stored { bytes, .. } => {
            let bytes: *const [u8] = bytes;
            // SAFETY: the bytes are in a map that `weights` owns; no operator writes to a weight.
            (unsafe { shim::tensor_over(bytes, Arc::clone(weights)) }?, true)
        }
        WeightData::Made(values) => {
            let bytes: *const [u8] = values.bytes();
            // SAFETY: the bytes are on the heap, where moving `values` leaves them.
            (unsafe { shim::tensor_over(bytes, values) }?, false)
        }
    };
    let shape: Vec<i64> = spec.shape.iter().map(|&size| size as i64).collect();
    Ok((flat.view_dtype(kind(dtype))?.view(&shape)?, is_mapped))
}

/// Allocates and frees the memory of one weight as a test: [`Weights::get`] would end the process if it failed.
fn ensure_memory(spec: &WeightSpec, dtype: Dtype) -> Result<()> {
    let (name, bytes) = (&spec.name, spec.len() * dtype.bytes() as usize);
    let mut probe = Vec::<u8>::new();
    let enough = probe.try_reserve_exact(bytes);
    // Without this the compiler would remove the unused allocation.
    black_box(&probe);
    enough.map_err(|_| anyhow!("memory allocation of {bytes} bytes failed: {name}"))
}
