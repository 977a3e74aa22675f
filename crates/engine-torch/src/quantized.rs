//! Linear layers with quantized weights, by libtorch's own operators: `_weight_int4pack_mm` and `_weight_int8pack_mm`.
//!
//! 4 bits have a scale for a group of inputs, 8 bits one for a whole channel (`aten/src/ATen/native/LinearAlgebra.cpp`). A 4-bit weight
//! is `(code - 8) * scale + zero`; symmetric ones have `zero` 0.

use anyhow::{Result, bail, ensure};
use llama::{QuantizedWeight, WeightSpec, Weights};
use protocol::{Device, Dtype, Precision, Quantization};

use crate::TorchEngine;
use crate::error;
use crate::options::{LinearKind, TorchOptions};
use crate::tensor::Tensor;
use crate::weights::kind;

/// A linear layer with quantized weights.
pub(crate) enum QuantizedLinear {
    /// 4 bits.
    Int4 { packed: Tensor, scales_and_zeros: Tensor, group_size: i64, device: Device },
    /// 8 bits, and the scale of each channel.
    Int8 { weight: Tensor, scales: Tensor },
}

/// Checks that an engine can compute with quantized weights.
///
/// # Errors
/// What it can't do, and what to use in its place.
pub(crate) fn check(
    engine: TorchEngine,
    options: TorchOptions,
    precision: Precision,
    device: Device,
    dtype: Dtype,
) -> Result<()> {
    let Some(Quantization { bits, group_size }) = precision.quantization() else { return Ok(()) };
    let name = engine.name();
    ensure!(
        engine == TorchEngine::Eager,
        "precision {precision}: {name} has no quantized products: use pytorch-eager"
    );
    ensure!(
        options.linear == LinearKind::Aten,
        "option linear: \"onednn\" has no quantized products: use linear = \"aten\""
    );
    match (bits, group_size, device) {
        (8, Some(size), _) => bail!(
            "precision {precision}: libtorch's 8-bit product has a scale for a channel, not for {size} inputs: use int8-channel"
        ),
        (4, _, Device::Cuda(_)) if dtype != Dtype::Bf16 => bail!(
            "precision {precision}: on a GPU libtorch's 4-bit product takes only bf16: use activations = \"bf16\""
        ),
        _ => Ok(()),
    }
}

impl QuantizedLinear {
    /// Packs the weight `spec` for `device`; its scales are rounded to `dtype`, which activations are in.
    pub(crate) fn new(weights: &Weights, spec: &WeightSpec, dtype: Dtype, device: Device) -> Result<Self> {
        let quantization = weights.quantization().expect("quantized weights");
        let QuantizedWeight { packed, scales } = weights.quantized(spec);
        let (codes, scales) = (packed.bytes(), scales.iter().map(|scale| scale.to_f32()).collect::<Vec<_>>());
        let (outputs, inputs) = (spec.shape[0], spec.shape[1]);
        let shape = [outputs as i64, inputs as i64];
        if quantization.bits == 8 {
            let codes: Vec<i8> = codes.iter().map(|code| (code ^ 0x80) as i8).collect();
            return Ok(Self::Int8 {
                weight: Tensor::from_slice(&codes)?.view(&shape)?.to_device(device)?,
                scales: Tensor::from_slice(&scales)?.to_kind(kind(dtype))?.to_device(device)?,
            });
        }
        ensure!(
            outputs.is_multiple_of(16)
                && (device == Device::Cpu || inputs.is_multiple_of(16 * INNER_TILES as usize)),
            "{}: libtorch's 4-bit product needs a multiple of 16 outputs, and on a GPU of {} inputs: the shape is {:?}",
            spec.name,
            16 * INNER_TILES,
            spec.shape
        );
        let packed = match device {
            Device::Cpu => {
                let codes: Vec<i32> =
                    codes.iter().flat_map(|pair| [pair & 15, pair >> 4]).map(i32::from).collect();
                Tensor::convert_weight_to_int4pack_for_cpu(&Tensor::from_slice(&codes)?.view(&shape)?)?
            }
            // There the first of two codes is in the high half.
            Device::Cuda(_) => {
                let codes: Vec<u8> = codes.iter().map(|pair| pair.rotate_left(4)).collect();
                let codes = Tensor::from_slice(&codes)?.view(&[outputs as i64, inputs as i64 / 2])?;
                Tensor::convert_weight_to_int4pack(&codes.to_device(device)?, INNER_TILES)?
            }
        };
        let group_size = quantization.group_of(inputs) as i64;
        // `[out, groups]` to `[groups, out, scale and zero]`.
        let scales =
            Tensor::from_slice(&scales)?.view(&[outputs as i64, -1])?.transpose(0, 1)?.unsqueeze(-1)?;
        let zeros = scales.mul_scalar(0.0)?;
        let scales_and_zeros = Tensor::cat([&scales, &zeros], -1)?.to_kind(kind(dtype))?.contiguous()?;
        let scales_and_zeros = scales_and_zeros.to_device(device)?;
        Ok(Self::Int4 { packed, scales_and_zeros, group_size, device })
    }

    /// The product with `[…, in]`: `[…, out]`.
    pub(crate) fn forward(&self, input: &Tensor) -> error::Result<Tensor> {
        let [batch_size, length, inputs] = input.sizes()?;
        let rows = input.reshape(&[-1, inputs])?;
        let output = match self {
            Self::Int8 { weight, scales } => rows.weight_int8pack_mm(weight, scales)?,
            Self::Int4 { packed, scales_and_zeros, group_size, device: Device::Cpu } => {
                rows.weight_int4pack_mm_for_cpu(packed, *group_size, scales_and_zeros)?
            }
            Self::Int4 { packed, scales_and_zeros, group_size, .. } => {
                rows.weight_int4pack_mm(packed, *group_size, scales_and_zeros)?
            }
        };
        output.view(&[batch_size, length, -1])
    }
}

/// `innerKTiles`, gpt-fast's own.
const INNER_TILES: i64 = 8;
