//! Keys and values of the positions so far.

use std::mem::replace;

use anyhow::{Context, Result};
use llama::LlamaConfig;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, DynTensorValueType};
use protocol::Dtype;

use crate::cache_layout::cache_names;
use crate::memory::{TensorAllocator, element};
use crate::session::run;

/// How the cache grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Does not grow: it has its full length from the start, past and present are one buffer, and the attention writes
    /// new positions into it. `GroupQueryAttention` can.
    Static,
    /// Grows by concatenation: the present that one forward returns is the past of the next.
    Dynamic,
}

impl Growth {
    /// The growth in words.
    pub(crate) fn note(self) -> String {
        match self {
            Self::Static => "KV cache in place: past and present are one buffer",
            Self::Dynamic => "KV cache grows by concatenation",
        }
        .into()
    }
}

/// The cache of a batch: for the keys and for the values of each layer, `[batch, kv_heads, length, head_dim]`.
pub(crate) struct OnnxKvCache {
    growth: Growth,
    dtype: Dtype,
    /// The shape of one part, when empty.
    shape: [usize; 4],
    parts: Vec<KeysOrValues>,
    /// Whether a cleared cache stays in memory until the next forward is over.
    keep: bool,
    /// What stays.
    kept: Vec<DynTensor>,
}

/// The keys, or the values, of one layer.
struct KeysOrValues {
    past: String,
    present: String,
    tensor: DynTensor,
}

impl OnnxKvCache {
    /// A cache without a position yet, for `batch_size` sequences that will have `length`.
    pub(crate) fn new(
        memory: &TensorAllocator,
        config: &LlamaConfig,
        (dtype, head_dim): (Dtype, usize),
        growth: Growth,
        batch_size: usize,
        length: usize,
        keep: bool,
    ) -> ort::Result<Self> {
        let length = if growth == Growth::Static { length } else { 0 };
        let shape = [batch_size, config.num_key_value_heads, length, head_dim];
        let names = (0..config.num_hidden_layers).flat_map(cache_names);
        let part = |(past, present)| {
            Ok(KeysOrValues { past, present, tensor: memory.tensor(element(dtype), &shape)? })
        };
        let parts = names.map(part).collect::<ort::Result<_>>()?;
        Ok(Self { growth, dtype, shape, parts, keep, kept: Vec::new() })
    }

    /// Forgets every position. A static cache keeps its contents: attention reads no further than the positions so far.
    pub(crate) fn clear(&mut self, memory: &TensorAllocator) -> ort::Result<()> {
        if self.growth == Growth::Dynamic {
            for part in &mut self.parts {
                let empty = memory.tensor(element(self.dtype), &self.shape)?;
                let cleared = replace(&mut part.tensor, empty);
                if self.keep {
                    self.kept.push(cleared);
                }
            }
        }
        Ok(())
    }

    /// Binds the cache to a forward for good, where it is static.
    pub(crate) fn bind(&mut self, binding: &mut IoBinding) -> ort::Result<()> {
        if self.growth == Growth::Static {
            for KeysOrValues { past, present, tensor } in &mut self.parts {
                binding.bind_input(past.as_str(), tensor)?;
                binding.bind_output(present.as_str(), tensor)?;
            }
        }
        Ok(())
    }

    /// Binds the cache to the one next run of a forward, where it grows.
    pub(crate) fn bind_next(&self, binding: &mut IoBinding, memory: &TensorAllocator) -> ort::Result<()> {
        if self.growth == Growth::Dynamic {
            for KeysOrValues { past, present, tensor } in &self.parts {
                binding.bind_input(past.as_str(), tensor)?;
                binding.bind_output_to_device(present.as_str(), memory.info())?;
            }
        }
        Ok(())
    }

    /// Runs a forward that the cache is bound to: the new positions join it.
    pub(crate) fn run(
        &mut self,
        session: &mut Session,
        binding: &IoBinding,
        options: &RunOptions,
    ) -> Result<()> {
        if self.growth == Growth::Static {
            return Ok(run(session, binding, options)?);
        }
        let mut outputs = session.run_binding_with_options(binding, options)?;
        for KeysOrValues { present, tensor, .. } in &mut self.parts {
            let value = outputs.remove(present.as_str()).context("an output that was bound")?;
            *tensor = value.downcast::<DynTensorValueType>()?;
        }
        self.kept.clear();
        Ok(())
    }

    /// How many tensors are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Its size now, without what is [`OnnxKvCache::kept`].
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().filter_map(|part| part.tensor.size()).map(|bytes| bytes as u64).sum()
    }
}
