//! Products with quantized weights: ONNX Runtime's `MatMulNBits`
//! ([ContribOperators.md](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#commicrosoftmatmulnbits)).
//!
//! Its codes are a checkpoint's own bytes: `[out, blocks, bytes of a block]`, the first of two 4-bit codes in the low half. Without
//! zero points, zero is the code in the middle.

use anyhow::{Result, ensure};
use half::f16;
use llama::{PackedCodes, Values, Weights};
use protocol::{Dtype, ProductInputs, Quantization};

use crate::fused::GraphWeight;
use crate::initializers::Data;
use crate::onnx::{AttributeProto, DataType, TensorProto};

/// How a graph holds its numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberFormats {
    /// Activations, KV cache, and weights that are not quantized.
    pub(crate) dtype: Dtype,
    /// The weights of a layer's products; `None` where they are as the rest.
    pub(crate) quantized: Option<QuantizedProducts>,
}

impl From<Dtype> for NumberFormats {
    fn from(dtype: Dtype) -> Self {
        Self { dtype, quantized: None }
    }
}

/// Products with quantized weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuantizedProducts {
    pub(crate) quantization: Quantization,
    pub(crate) accuracy: Accuracy,
}

/// The least precise type that a kernel may round activations to: `accuracy_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accuracy {
    /// Left to the kernel: a GPU's compute in the activations' own type.
    Unset = 0,
    Fp32 = 1,
    /// In the blocks of the weights, symmetric, with an FP32 scale each (`core/mlas/lib/sqnbitgemm_kernel_avx512.cpp`).
    Int8 = 4,
}

/// The sizes that a block can have where a scale is a whole channel's: the scale is repeated.
const BLOCKS: [usize; 4] = [128, 64, 32, 16];

impl QuantizedProducts {
    /// Consecutive inputs that share a scale in the graph.
    fn block(self, inputs: usize) -> Option<usize> {
        match self.quantization.group_size {
            Some(size) => Some(size as usize),
            None => BLOCKS.into_iter().find(|block| inputs.is_multiple_of(*block)),
        }
    }

    /// Checks that the kernels have blocks for all of `weights`.
    pub(crate) fn check(self, weights: &[GraphWeight]) -> Result<()> {
        for weight in weights.iter().filter(|weight| weight.is_projection()) {
            let inputs = weight.shape[1];
            ensure!(
                self.block(inputs).is_some(),
                "{}: MatMulNBits needs a multiple of 16 inputs, this has {inputs}",
                weight.name
            );
        }
        Ok(())
    }

    /// Codes and scales of a weight, without their data.
    pub(crate) fn tensors(self, weight: &GraphWeight, dtype: Dtype) -> [TensorProto; 2] {
        let (rows, blocks, bytes) = self.shape(weight);
        let tensor = |name: String, data_type: DataType, dims: Vec<i64>| TensorProto {
            name,
            dims,
            data_type: data_type.into(),
            ..TensorProto::default()
        };
        [
            tensor(codes_name(&weight.name), DataType::Uint8, vec![rows, blocks, bytes]),
            tensor(scales_name(&weight.name), dtype.into(), vec![rows, blocks]),
        ]
    }

    /// The attributes of a product with a weight.
    pub(crate) fn attributes(self, weight: &GraphWeight) -> [AttributeProto; 5] {
        let (outputs, inputs) = (weight.shape[0], weight.shape[1]);
        let (_, blocks, _) = self.shape(weight);
        [
            AttributeProto::int("K", inputs as i64),
            AttributeProto::int("N", outputs as i64),
            AttributeProto::int("bits", self.quantization.bits.into()),
            AttributeProto::int("block_size", inputs as i64 / blocks),
            AttributeProto::int("accuracy_level", self.accuracy as i64),
        ]
    }

    /// Rows, blocks of a row, and bytes of a block.
    fn shape(self, weight: &GraphWeight) -> (i64, i64, i64) {
        let inputs = weight.shape[1];
        let block = self.block(inputs).unwrap_or(inputs);
        let bytes = block * self.quantization.bits as usize / 8;
        (weight.shape[0] as i64, (inputs / block) as i64, bytes as i64)
    }

    /// The data of [`Self::tensors`].
    pub(crate) fn data<'a>(self, source: &'a Weights, weight: &GraphWeight, dtype: Dtype) -> [Data<'a>; 2] {
        let inputs = weight.shape[1];
        let repeat = inputs / self.block(inputs).unwrap_or(inputs);
        // Each scale once, where it is a block's own.
        let repeat = if self.quantization.group_size.is_none() { repeat } else { 1 };
        let mut parts: Vec<_> = weight.parts.iter().map(|spec| source.quantized(spec)).collect();
        let scales: Vec<f16> = parts
            .iter()
            .flat_map(|part| part.scales.iter().flat_map(|scale| std::iter::repeat_n(*scale, repeat)))
            .collect();
        let codes = match (parts.pop(), parts.is_empty()) {
            (Some(only), true) => match only.packed {
                PackedCodes::Stored { stored, bytes } => {
                    Data::Stored { shard: stored.shard, offset: stored.offset, bytes }
                }
                PackedCodes::Made(bytes) => Data::Made(Values::U8(bytes)),
            },
            (last, _) => {
                let parts = parts.iter().chain(&last).map(|part| part.packed.bytes());
                Data::Made(Values::U8(parts.collect::<Vec<_>>().concat()))
            }
        };
        let scales = match dtype {
            Dtype::Fp32 => Values::F32(scales.iter().map(|scale| scale.to_f32()).collect()),
            Dtype::Fp16 => Values::F16(scales),
            Dtype::Bf16 => {
                Values::Bf16(scales.iter().map(|scale| half::bf16::from_f32(scale.to_f32())).collect())
            }
        };
        [codes, Data::Made(scales)]
    }

    /// What the products take their activations in, where they round them.
    pub(crate) fn product_inputs(self) -> Option<ProductInputs> {
        (self.accuracy == Accuracy::Int8).then_some(ProductInputs::Int8)
    }

    /// What a reader should know.
    pub(crate) fn note(self) -> String {
        let bits = self.quantization.bits;
        let how = match (self.accuracy, bits) {
            (Accuracy::Unset, _) => "no accuracy level: the device's kernels choose",
            (Accuracy::Int8, _) => {
                "accuracy level 4: activations are rounded to INT8 in the blocks of the weights"
            }
            (Accuracy::Fp32, 8) => {
                "accuracy level 1: without an FP32 kernel for 8 bits, each forward widens all weights first"
            }
            (Accuracy::Fp32, _) => "accuracy level 1: products in FP32",
        };
        format!("MatMulNBits with {bits}-bit weights, {how}")
    }

    /// Bytes of [`Self::tensors`].
    pub(crate) fn bytes(self, weight: &GraphWeight, dtype: Dtype) -> u64 {
        self.tensors(weight, dtype).iter().map(TensorProto::bytes).sum()
    }
}

/// The codes of the weight `name`.
pub(crate) fn codes_name(name: &str) -> String {
    format!("{name}_packed")
}

/// The scales of the weight `name`.
pub(crate) fn scales_name(name: &str) -> String {
    format!("{name}_scale")
}
