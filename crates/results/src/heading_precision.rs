//! The precision of a table's heading.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::str::FromStr;

use protocol::Precision;

/// The precision that a heading names.
///
/// More bits of a weight, with its scales, come after fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadingPrecision {
    /// One that runs here have. In a table from elsewhere, INT8 and INT4 may stand for other scales and for quantized embeddings.
    Of(Precision),
    /// Weights in 8-bit floating point.
    Fp8,
}

impl HeadingPrecision {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Precision::ALL.into_iter().map(Self::Of).chain([Self::Fp8])
    }

    /// Their names in lower case, as flags have them.
    fn names() -> String {
        Self::all().map(|precision| precision.to_string().to_lowercase()).collect::<Vec<_>>().join(", ")
    }

    /// The precision that engines here can run it in; `None` where there is none.
    pub fn precision(self) -> Option<Precision> {
        match self {
            Self::Of(precision) => Some(precision),
            Self::Fp8 => None,
        }
    }

    /// Whether weights have fewer than 16 bits.
    pub fn is_low_bit(self) -> bool {
        self.weight_bits() < 16
    }

    /// The least bits of a weight, scales and zero points not counted.
    pub fn weight_bits(self) -> u64 {
        match self {
            Self::Of(precision) => match precision.quantization() {
                Some(quantization) => quantization.bits.into(),
                None => 8 * precision.unquantized().bytes(),
            },
            Self::Fp8 => 8,
        }
    }

    /// The least bits of a number in the KV cache: beside weights of few bits it may be in 8.
    pub fn cache_bits(self) -> u64 {
        match self {
            Self::Of(precision) if !self.is_low_bit() => 8 * precision.unquantized().bytes(),
            Self::Of(_) | Self::Fp8 => 8,
        }
    }
}

impl From<Precision> for HeadingPrecision {
    fn from(precision: Precision) -> Self {
        Self::Of(precision)
    }
}

impl Ord for HeadingPrecision {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of as many bits, the first of all has the most scales.
        let place = |one: &Self| Reverse(Self::all().position(|precision| precision == *one));
        (self.weight_bits(), place(self)).cmp(&(other.weight_bits(), place(other)))
    }
}

impl PartialOrd for HeadingPrecision {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A word that names no precision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision \"{0}\": expected one of {names}", names = HeadingPrecision::names())]
pub struct UnknownPrecision(String);

impl FromStr for HeadingPrecision {
    type Err = UnknownPrecision;

    fn from_str(word: &str) -> Result<Self, UnknownPrecision> {
        let mut all = Self::all();
        all.find(|precision| precision.to_string().eq_ignore_ascii_case(word))
            .ok_or_else(|| UnknownPrecision(word.into()))
    }
}

impl fmt::Display for HeadingPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(precision) => f.pad(&precision.to_string().to_uppercase()),
            Self::Fp8 => f.pad("FP8"),
        }
    }
}
