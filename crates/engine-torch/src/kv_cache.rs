//! The keys and values of the tokens so far, for all engines.

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
    /// Where the next token of each sequence goes, int64 `[1]` on the device, in a forward that is captured: that attends to
    /// all positions that there is room for, under a mask.
    pub(crate) position: Option<Tensor>,
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
        Ok(Self { keys: buffers()?, values: buffers()?, length: 0, position: None, kind })
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
        let Self { kind, length, position, .. } = self;
        let mut update = |past: &mut Tensor, new: &Tensor| match position {
            Some(position) => put(past, position, new),
            None => append(*kind, past, *length, new),
        };
        Ok((update(&mut self.keys[layer], key)?, update(&mut self.values[layer], value)?))
    }

    /// Positions that [`update`](Self::update) returns after `new` ones.
    pub(crate) fn attended(&self, new: i64) -> i64 {
        match self.position {
            Some(_) => self.keys[0].size()[POSITIONS as usize],
            None => self.length + new,
        }
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

fn put(past: &mut Tensor, position: &Tensor, new: &Tensor) -> Result<Tensor> {
    Ok(past.f_index_copy_(POSITIONS, position, new)?)
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
