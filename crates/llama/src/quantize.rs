//! Weight-only quantization, round to nearest: which weights, how they are rounded, and how they are packed.
//!
//! docs/concepts/quantization.md is the definition. Rounding is llama.cpp's (`ggml-quants.c`: `quantize_row_q4_0_ref`,
//! `quantize_row_q8_0_ref`), so that with groups of 32 the numbers are those of its Q4_0 and Q8_0. Packing is that of
//! compressed-tensors' `pack-quantized`, which is also that of ONNX Runtime's `MatMulNBits`.

use half::f16;
use protocol::{Precision, Quantization};

use crate::{LM_HEAD, LlamaConfig, WeightKind, WeightSpec, weight_specs};

impl WeightSpec {
    /// Whether it is a projection of a decoder layer: quantized below 16 bits.
    pub fn is_projection(&self) -> bool {
        self.kind == WeightKind::Linear && self.name != LM_HEAD
    }

    /// Scales of a projection, `[out, in / group]`.
    pub fn scales(&self, quantization: Quantization) -> usize {
        self.shape[0] * (self.shape[1] / quantization.group_of(self.shape[1]))
    }

    /// Bytes of a packed projection, without its scales.
    pub fn packed_bytes(&self, quantization: Quantization) -> usize {
        self.len() * quantization.bits as usize / 8
    }
}

/// Checks that the projections of a model of `config` have whole groups, and whole 32-bit words of codes.
///
/// # Errors
/// Says which size of the model is in the way.
pub fn check_groups(config: &LlamaConfig, precision: Precision) -> Result<(), String> {
    let Some(Quantization { bits, group_size }) = precision.quantization() else { return Ok(()) };
    let word = 32 / bits;
    let size = group_size.unwrap_or(word) as usize;
    let uneven = weight_specs(config)
        .into_iter()
        .find(|spec| spec.is_projection() && !spec.shape[1].is_multiple_of(size));
    uneven.map_or(Ok(()), |spec| {
        let (name, inputs) = (&spec.name, spec.shape[1]);
        Err(match group_size {
            Some(size) => format!("{precision} has a scale for every {size} inputs: {name} has {inputs}"),
            None => format!("{precision} packs {word} weights into a word: {name} has {inputs} inputs"),
        })
    })
}

/// A projection, or several with the same inputs, one below the other.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedValues {
    /// `[out, in]`, a code after the other: 8 bits a byte, 4 bits two a byte with the first in the low half. A code is its number
    /// plus half the range: 8 or 128.
    pub packed: Vec<u8>,
    /// `[out, in / group]`.
    pub scales: Vec<f16>,
}

/// Quantizes rows of `inputs` numbers each.
pub(crate) fn quantize(values: &[f32], inputs: usize, quantization: Quantization) -> QuantizedValues {
    let group = quantization.group_of(inputs);
    let mut codes = Vec::with_capacity(group);
    let mut packed = Vec::with_capacity(values.len() * quantization.bits as usize / 8);
    let mut scales = Vec::with_capacity(values.len() / group);
    for group in values.chunks(group) {
        codes.clear();
        scales.push(quantize_group(group, quantization.bits, &mut codes));
        pack(&codes, quantization.bits, &mut packed);
    }
    QuantizedValues { packed, scales }
}

/// Appends the codes of one group; returns its scale.
fn quantize_group(values: &[f32], bits: u32, codes: &mut Vec<u8>) -> f16 {
    let largest = values
        .iter()
        .copied()
        .fold(0.0f32, |most, value| if value.abs() > most.abs() { value } else { most });
    // Four bits reach one step further below zero than above: the largest number is there.
    let scale = if bits == 4 { largest / -8.0 } else { largest.abs() / 127.0 };
    let steps = if scale == 0.0 { 0.0 } else { scale.recip() };
    codes.extend(values.iter().map(|value| {
        if bits == 4 {
            (value * steps + 8.5).clamp(0.0, 15.0) as u8
        } else {
            ((value * steps).round() + 128.0) as u8
        }
    }));
    f16::from_f32(scale)
}

fn pack(codes: &[u8], bits: u32, packed: &mut Vec<u8>) {
    if bits == 4 {
        packed.extend(codes.chunks(2).map(|pair| pair[0] | pair[1] << 4));
    } else {
        packed.extend(codes);
    }
}

/// Fills `values` with the numbers that `packed` and `scales` stand for, exactly: a code has 8 bits, and a scale 11.
pub(crate) fn dequantize(
    packed: &[u8],
    scales: &[f16],
    inputs: usize,
    quantization: Quantization,
    values: &mut [f32],
) {
    let group = quantization.group_of(inputs);
    let groups = values.chunks_mut(group).zip(packed.chunks(group * quantization.bits as usize / 8));
    for ((values, packed), scale) in groups.zip(scales) {
        let scale = scale.to_f32();
        if quantization.bits == 4 {
            for (pair, byte) in values.chunks_mut(2).zip(packed) {
                pair[0] = (f32::from(byte & 15) - 8.0) * scale;
                pair[1] = (f32::from(byte >> 4) - 8.0) * scale;
            }
        } else {
            for (value, byte) in values.iter_mut().zip(packed) {
                *value = (f32::from(*byte) - 128.0) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT4: Quantization = Quantization { bits: 4, group_size: Some(32) };
    const INT8: Quantization = Quantization { bits: 8, group_size: Some(32) };

    fn restored(values: &[f32], quantization: Quantization) -> Vec<f32> {
        let QuantizedValues { packed, scales } = quantize(values, values.len(), quantization);
        let mut restored = vec![0.0; values.len()];
        dequantize(&packed, &scales, values.len(), quantization, &mut restored);
        restored
    }

    fn numbers() -> Vec<f32> {
        (0..256).map(|n| ((n * 37 % 101) as f32 - 50.0) * 0.013).collect()
    }

    #[test]
    fn no_number_is_further_than_a_step_from_its_own() {
        for (quantization, steps) in [(INT4, 8.0), (INT8, 127.0)] {
            for group_size in [Some(32), Some(128), None] {
                let quantization = Quantization { group_size, ..quantization };
                let (values, restored) = (numbers(), restored(&numbers(), quantization));
                let group = quantization.group_of(values.len());
                for (values, restored) in values.chunks(group).zip(restored.chunks(group)) {
                    let largest = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                    // Half a step; a whole one at the far end of four bits. The scale is rounded to 11 bits.
                    let bound =
                        largest / steps * if quantization.bits == 4 { 1.0 } else { 0.5 } + largest / 2048.0;
                    for (value, restored) in values.iter().zip(restored) {
                        assert!((value - restored).abs() <= bound, "{value} {restored} {bound}");
                    }
                }
            }
        }
    }

    /// What `gguf.quants.quantize` (gguf 0.17, llama.cpp's Python package) makes of these numbers.
    #[test]
    fn scales_and_codes_are_those_of_llama_cpp() {
        let QuantizedValues { packed, scales } = quantize(&numbers()[..32], 32, INT4);
        assert_eq!(scales, [f16::from_f32(0.65 / 8.0)]);
        // -0.65 is the largest: its scale is positive, its code 0.
        assert_eq!(packed[0] & 15, 0);
        let QuantizedValues { packed, scales } = quantize(&numbers()[..32], 32, INT8);
        assert_eq!(scales, [f16::from_f32(0.65 / 127.0)]);
        assert_eq!(packed[0], 1);
    }

    #[test]
    fn zeros_stay_zeros_and_the_last_code_is_the_high_half() {
        assert_eq!(restored(&[0.0; 32], INT4), [0.0; 32]);
        assert_eq!(restored(&[0.0; 32], INT8), [0.0; 32]);
        let mut values = [0.0; 32];
        values[31] = -8.0;
        let QuantizedValues { packed, scales } = quantize(&values, 32, INT4);
        assert_eq!((packed[15], scales[0].to_f32()), (0x08, 1.0));
    }

    #[test]
    fn a_model_without_whole_groups_is_refused_by_the_weight_in_the_way() {
        let config = |text: &str| LlamaConfig::parse(text, "config.json").unwrap();
        let small = config(include_str!("../../../configs/models/llama2-15m.json"));
        assert_eq!(check_groups(&small, Precision::Int4), Ok(()));
        assert_eq!(check_groups(&small, Precision::Int8Channel), Ok(()));
        let error = check_groups(&small, Precision::Int4G128).unwrap_err();
        let expected =
            "int4-g128 has a scale for every 128 inputs: model.layers.0.self_attn.q_proj.weight has 288";
        assert_eq!(error, expected);
        let odd = LlamaConfig { intermediate_size: 6, ..small.clone() };
        let error = check_groups(&odd, Precision::Int8Channel).unwrap_err();
        let expected =
            "int8-channel packs 4 weights into a word: model.layers.0.mlp.down_proj.weight has 6 inputs";
        assert_eq!(error, expected);
        let large = config(include_str!("../../../configs/models/llama2-70b.json"));
        assert_eq!(check_groups(&large, Precision::Int4G128), Ok(()));
    }
}
