//! A linear layer, as the engine's option `linear` chooses it.

use crate::error::Result;
use crate::onednn::PackedWeight;
use crate::options::LinearKind;
use crate::quantized::QuantizedLinear;
use crate::tensor::Tensor;

/// A linear layer without a bias; its weight is `[out, in]`.
pub(crate) enum Linear {
    Aten(Tensor),
    OneDnn(PackedWeight),
    Quantized(QuantizedLinear),
}

impl Linear {
    pub(crate) fn new(kind: LinearKind, weight: Tensor) -> Result<Self> {
        Ok(match kind {
            LinearKind::Aten => Self::Aten(weight),
            LinearKind::OneDnn => Self::OneDnn(PackedWeight::new(weight)?),
        })
    }

    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        match self {
            Self::Aten(weight) => input.linear(weight),
            Self::OneDnn(weight) => weight.linear(input),
            Self::Quantized(weight) => weight.forward(input),
        }
    }
}
