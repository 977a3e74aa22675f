//! The keys and values of the tokens so far, for all engines.

use llama::LlamaConfig;
use protocol::Device;

use crate::error::Result;
use crate::options::CacheKind;
use crate::tensor::{Kind, Tensor};

/// Dimension of the positions in `[batch_size, num_key_value_heads, length, head_dim]`.
const POSITIONS: i64 = 2;

/// Positions of a captured graph's token, and the rows among which [`Exclusion::CausalRow`] puts its query: as many as one matrix instruction of
/// flash attention takes, so that fewer rows would not be faster.
pub(crate) const ROWS: i64 = 16;

/// One tensor of keys and one of values a layer.
pub(crate) struct KvCache {
    pub(crate) keys: Vec<Tensor>,
    pub(crate) values: Vec<Tensor>,
    /// Tokens of each sequence in it.
    pub(crate) length: i64,
    /// Set during a forward that is captured, of one token of each sequence.
    pub(crate) window: Option<Window>,
    kind: CacheKind,
}

/// What a captured decode forward attends to: a fixed number of positions, of which only those up to the token's own count.
#[derive(Debug)]
pub(crate) struct Window {
    /// Where the token goes, int64 `[1]` on the device: the one thing that differs from replay to replay.
    pub(crate) position: Tensor,
    /// Positions attended to, from the first.
    pub(crate) attended: i64,
    /// How the positions behind the token are left out.
    pub(crate) exclusion: Exclusion,
}

/// How attention of one query leaves out the keys behind its position, which no kernel knows beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exclusion {
    /// A mask over all keys. Flash attention takes none.
    Mask,
    /// The row that the query is in: among [`ROWS`] queries that are causal and end with the last key,
    /// row r attends to all but the last `ROWS - 1 - r` keys. Flash attention knows this by itself.
    CausalRow,
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
                CacheKind::Static => Tensor::zeros(&room, numbers),
            };
            (0..config.num_hidden_layers).map(buffer).collect()
        };
        Ok(Self { keys: buffers()?, values: buffers()?, length: 0, window: None, kind })
    }

    /// Forgets all tokens.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.length = 0;
        if self.kind == CacheKind::Dynamic {
            for states in self.keys.iter_mut().chain(&mut self.values) {
                *states = empty((states.kind()?, states.device()))?;
            }
        }
        Ok(())
    }

    /// Appends the keys and values of new tokens to those of `layer`; returns all of them. `length` is the caller's to
    /// advance, after the last layer.
    pub(crate) fn update(&mut self, layer: usize, key: &Tensor, value: &Tensor) -> Result<(Tensor, Tensor)> {
        let Self { kind, length, window, .. } = self;
        let mut update = |past: &mut Tensor, new: &Tensor| match window {
            Some(window) => put(past, window, new),
            None => append(*kind, past, *length, new),
        };
        Ok((update(&mut self.keys[layer], key)?, update(&mut self.values[layer], value)?))
    }

    /// Positions that [`update`](Self::update) returns after `new` ones.
    pub(crate) fn attended(&self, new: i64) -> i64 {
        self.window.as_ref().map_or(self.length + new, |window| window.attended)
    }

    /// Positions of each sequence that there is room for, where the cache does not grow.
    pub(crate) fn capacity(&self) -> Result<i64> {
        self.keys.first().map_or(Ok(0), |keys| keys.size(POSITIONS))
    }

    /// Bytes of all its tensors.
    pub(crate) fn bytes(&self) -> u64 {
        let tensors = self.keys.iter().chain(&self.values);
        tensors.map(|states| states.nbytes() as u64).sum()
    }
}

/// What HF's `DynamicCache` starts from: concatenation passes over a tensor of shape `[0]`.
fn empty(numbers: (Kind, Device)) -> Result<Tensor> {
    Tensor::empty(&[0], numbers)
}

fn put(past: &mut Tensor, window: &Window, new: &Tensor) -> Result<Tensor> {
    past.index_copy_(POSITIONS, &window.position, new)?;
    past.narrow(POSITIONS, 0, window.attended)
}

fn append(kind: CacheKind, past: &mut Tensor, length: i64, new: &Tensor) -> Result<Tensor> {
    match kind {
        CacheKind::Dynamic => {
            *past = Tensor::cat([&*past, new], POSITIONS)?;
            Ok(past.shallow_clone())
        }
        CacheKind::Static => {
            let new_length = new.size(POSITIONS)?;
            past.narrow(POSITIONS, length, new_length)?.copy_(new)?;
            past.narrow(POSITIONS, 0, length + new_length)
        }
    }
}
