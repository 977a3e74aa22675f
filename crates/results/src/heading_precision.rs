//! The precision of a table's heading.

use std::fmt;

use protocol::Precision;

/// The precision that a heading names: of a run of ours, or of weights in fewer bits than any engine here computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadingPrecision {
    /// Weights, activations and KV cache are all in it.
    Whole(Precision),
    /// Weights in 8-bit floating point.
    Fp8,
    /// Weights in 8-bit integers.
    Int8,
    /// Weights in 4-bit integers.
    Int4,
}

impl HeadingPrecision {
    pub(crate) const ALL: [Self; 6] = [
        Self::Whole(Precision::Fp32),
        Self::Whole(Precision::Fp16),
        Self::Whole(Precision::Bf16),
        Self::Fp8,
        Self::Int8,
        Self::Int4,
    ];

    /// The precision that engines here can run it in; `None` where there is none.
    pub fn whole(self) -> Option<Precision> {
        match self {
            Self::Whole(precision) => Some(precision),
            Self::Fp8 | Self::Int8 | Self::Int4 => None,
        }
    }

    /// The least bits of a weight, scales and zero points not counted.
    pub fn weight_bits(self) -> u64 {
        match self {
            Self::Whole(precision) => 8 * precision.bytes(),
            Self::Fp8 | Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }

    /// The least bits of a number in the KV cache: beside weights of few bits it may be in 8.
    pub fn cache_bits(self) -> u64 {
        match self {
            Self::Whole(precision) => 8 * precision.bytes(),
            Self::Fp8 | Self::Int8 | Self::Int4 => 8,
        }
    }
}

impl From<Precision> for HeadingPrecision {
    fn from(precision: Precision) -> Self {
        Self::Whole(precision)
    }
}

impl fmt::Display for HeadingPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(precision) => f.pad(&precision.to_string().to_uppercase()),
            Self::Fp8 => f.pad("FP8"),
            Self::Int8 => f.pad("INT8"),
            Self::Int4 => f.pad("INT4"),
        }
    }
}
