//! How numbers are held: the precision of a cell, and the number format of what is not quantized.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Device, UnknownWord};

/// A floating-point format of weights, activations or the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 single precision.
    Fp32,
    /// IEEE 754 half precision.
    Fp16,
    /// bfloat16.
    Bf16,
}

impl Dtype {
    /// Bytes of one number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Fp32 => 4,
            Self::Fp16 | Self::Bf16 => 2,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Precision::from(*self).fmt(f)
    }
}

/// The precision of a cell. Below 16 bits, the weights of the decoder layers' projections are quantized, and nothing else:
/// docs/concepts/quantization.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// IEEE 754 single precision.
    Fp32,
    /// IEEE 754 half precision.
    Fp16,
    /// bfloat16.
    Bf16,
    /// 8-bit weights, a scale for every 32.
    Int8,
    /// 8-bit weights, a scale for every 128.
    #[serde(rename = "int8-g128")]
    Int8G128,
    /// 8-bit weights, a scale for every output channel.
    Int8Channel,
    /// 4-bit weights, a scale for every 32.
    Int4,
    /// 4-bit weights, a scale for every 128.
    #[serde(rename = "int4-g128")]
    Int4G128,
}

/// What a matrix product takes its activations in: an engine may round them for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ProductInputs {
    /// IEEE 754 single precision.
    Fp32,
    /// IEEE 754 half precision.
    Fp16,
    /// bfloat16.
    Bf16,
    /// 8-bit integers, with a scale for each row, or for each block of one.
    Int8,
}

impl From<Dtype> for ProductInputs {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Fp32 => Self::Fp32,
            Dtype::Fp16 => Self::Fp16,
            Dtype::Bf16 => Self::Bf16,
        }
    }
}

/// How the weights of the projections are quantized: symmetric, with an FP16 scale for each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quantization {
    /// Bits of a weight: 4 or 8.
    pub bits: u32,
    /// Consecutive weights of an output channel that share a scale; `None` where a whole channel does.
    pub group_size: Option<u32>,
}

impl Quantization {
    /// The number format of a scale.
    pub const SCALE: Dtype = Dtype::Fp16;

    /// Weights that share a scale, of a layer with `inputs` of them for each output.
    pub fn group_of(self, inputs: usize) -> usize {
        self.group_size.map_or(inputs, |size| size as usize)
    }
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Fp32,
        Self::Fp16,
        Self::Bf16,
        Self::Int8,
        Self::Int8G128,
        Self::Int8Channel,
        Self::Int4,
        Self::Int4G128,
    ];

    /// How projections are quantized; `None` where they are not.
    pub fn quantization(self) -> Option<Quantization> {
        let (bits, group_size) = match self {
            Self::Fp32 | Self::Fp16 | Self::Bf16 => return None,
            Self::Int8 => (8, Some(32)),
            Self::Int8G128 => (8, Some(128)),
            Self::Int8Channel => (8, None),
            Self::Int4 => (4, Some(32)),
            Self::Int4G128 => (4, Some(128)),
        };
        Some(Quantization { bits, group_size })
    }

    /// The number format of embedding, norms and head, as they are stored: FP16 beside quantized weights.
    pub fn unquantized(self) -> Dtype {
        match self {
            Self::Fp32 => Dtype::Fp32,
            Self::Bf16 => Dtype::Bf16,
            _ => Dtype::Fp16,
        }
    }

    /// The number format of activations and KV cache. Beside quantized weights it is FP16 on a GPU and FP32 on a CPU, where no
    /// engine computes faster in 16 bits.
    pub fn activations(self, device: Device) -> Dtype {
        match (self.quantization(), device) {
            (Some(_), Device::Cpu) => Dtype::Fp32,
            _ => self.unquantized(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int8G128 => "int8-g128",
            Self::Int8Channel => "int8-channel",
            Self::Int4 => "int4",
            Self::Int4G128 => "int4-g128",
        }
    }
}

impl From<Dtype> for Precision {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Fp32 => Self::Fp32,
            Dtype::Fp16 => Self::Fp16,
            Dtype::Bf16 => Self::Bf16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Precision {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let expected = "fp32, fp16, bf16, int8, int8-g128, int8-channel, int4 or int4-g128";
        let found = Self::ALL.into_iter().find(|precision| precision.word() == word);
        found.ok_or_else(|| UnknownWord { what: "precision", word: word.into(), expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_read_what_they_print_here_and_in_json() {
        for precision in Precision::ALL {
            let word = precision.to_string();
            assert_eq!(word.parse(), Ok(precision));
            assert_eq!(serde_json::to_string(&precision).unwrap(), format!("\"{word}\""));
        }
        assert!("FP16".parse::<Precision>().is_err());
        let error = "int3".parse::<Precision>().unwrap_err().to_string();
        assert!(error.starts_with("unknown precision \"int3\": expected fp32,"), "{error}");
    }

    #[test]
    fn a_number_format_is_the_precision_of_the_same_name() {
        for dtype in [Dtype::Fp32, Dtype::Fp16, Dtype::Bf16] {
            let precision = Precision::from(dtype);
            assert_eq!((precision.unquantized(), precision.activations(Device::Cpu)), (dtype, dtype));
            assert_eq!(serde_json::to_value(dtype).unwrap(), serde_json::to_value(precision).unwrap());
        }
    }

    #[test]
    fn beside_quantized_weights_activations_are_the_devices() {
        let activations = |device| Precision::Int4.activations(device);
        assert_eq!((activations(Device::Cpu), activations(Device::Cuda(0))), (Dtype::Fp32, Dtype::Fp16));
    }
}
