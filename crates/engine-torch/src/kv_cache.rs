//! The keys and values of the tokens so far, for both engines.

use llama::LlamaConfig;
use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::options::CacheKind;

/// Dimension of the positions in `[batch_size, num_key_value_heads, length, head_dim]`.
const POSITIONS: i64 = 2;

/// One tensor of keys and one of values a layer.
pub(crate) struct KvCache {
    pub(crate) keys: Vec<Tensor>,
    pub(crate) values: Vec<Tensor>,
    /// Tokens of each sequence in it.
    pub(crate) length: i64,
    kind: CacheKind,
}

impl KvCache {
    /// An empty cache; where it does not grow, with room for `capacity` tokens of `batch_size` sequences.
    pub(crate) fn new(
        kind: CacheKind,
        config: &LlamaConfig,
        (batch_size, capacity): (usize, usize),
        numbers: (Kind, Device),
    ) -> Result<Self> {
        let room =
            [batch_size, config.num_key_value_heads, capacity, config.head_dim].map(|size| size as i64);
        let buffers = || -> Result<Vec<Tensor>> {
            let buffer = |_| match kind {
                CacheKind::Dynamic => empty(numbers),
                // Zeroed, so that the pages are there before a forward is timed.
                CacheKind::Static => Ok(Tensor::f_zeros(room, numbers)?),
            };
            (0..config.num_hidden_layers).map(buffer).collect()
        };
        Ok(Self { keys: buffers()?, values: buffers()?, length: 0, kind })
    }

    /// Forgets all tokens.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.length = 0;
        if self.kind == CacheKind::Dynamic {
            for states in self.keys.iter_mut().chain(&mut self.values) {
                *states = empty((states.f_kind()?, states.device()))?;
            }
        }
        Ok(())
    }

    /// Appends the keys and values of new tokens to those of `layer`; returns all of them. `length` is the caller's to
    /// advance, after the last layer.
    pub(crate) fn update(&mut self, layer: usize, key: &Tensor, value: &Tensor) -> Result<(Tensor, Tensor)> {
        let key = append(self.kind, &mut self.keys[layer], self.length, key)?;
        let value = append(self.kind, &mut self.values[layer], self.length, value)?;
        Ok((key, value))
    }

    /// Bytes of all its tensors.
    pub(crate) fn bytes(&self) -> u64 {
        let tensors = self.keys.iter().chain(&self.values);
        tensors.map(|states| (states.numel() * states.kind().elt_size_in_bytes()) as u64).sum()
    }
}

/// What HF's `DynamicCache` starts from: concatenation passes over a tensor of shape `[0]`.
fn empty(numbers: (Kind, Device)) -> Result<Tensor> {
    Ok(Tensor::f_empty([0i64], numbers)?)
}

fn append(kind: CacheKind, past: &mut Tensor, length: i64, new: &Tensor) -> Result<Tensor> {
    match kind {
        CacheKind::Dynamic => {
            *past = Tensor::f_cat(&[&*past, new], POSITIONS)?;
            Ok(past.shallow_clone())
        }
        CacheKind::Static => {
            let new_length = new.size()[POSITIONS as usize];
            past.f_narrow(POSITIONS, length, new_length)?.f_copy_(new)?;
            Ok(past.f_narrow(POSITIONS, 0, length + new_length)?)
        }
    }
}
