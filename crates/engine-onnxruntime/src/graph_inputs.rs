//! Inputs of decode forwards that stay in one place, as a CUDA graph needs them.
//!
//! Values that change from token to token are written there, on a GPU by copies in the forwards' stream. An input that is
//! bound anew from the host's memory would be copied in CUDA's default stream, which waits for the whole device.
//!
//! ONNX Runtime captures a run's work on a GPU once and launches it as a whole from then on (its CUDA provider's
//! `enable_cuda_graph`). Whatever a forward reads must then be found in the same place each time.

use std::ptr::copy_nonoverlapping;

use anyhow::Result;
use ort::memory::Allocator;
use ort::session::{IoBinding, RunOptions};
use ort::value::{DynTensor, TensorElementType};
use protocol::Device;

use crate::graph::{SEQLENS_K, TOTAL_SEQUENCE_LENGTH};
use crate::model::OnnxModel;
use crate::session::{in_graph, unsynchronized};

/// A decode forward's inputs, in one place for a whole cell.
pub(crate) struct FixedInputs {
    /// int64 `[batch, 1]`.
    ids: DynTensor,
    /// int32 `[batch]`, on the device.
    seqlens_k: DynTensor,
    /// What is copied there.
    lengths: Vec<i32>,
    /// An int32 scalar, which the host reads; of a graph it says the most that there will be.
    total: DynTensor,
    /// Whether the forwards are captured, or could be.
    captured: bool,
    /// The options of all forwards: they run one graph.
    pub(crate) options: RunOptions,
}

impl FixedInputs {
    /// Binds the inputs of decode forwards of `batch_size` sequences of up to `positions` to `binding`; where they are captured, as
    /// graph `id`.
    pub(crate) fn new(
        model: &OnnxModel,
        binding: &mut IoBinding,
        (batch_size, positions): (usize, usize),
        id: u32,
    ) -> ort::Result<Self> {
        let captured = model.cuda_graph;
        let ids = model.memory.tensor(TensorElementType::Int64, &[batch_size, 1])?;
        let seqlens_k = model.memory.tensor(TensorElementType::Int32, &[batch_size])?;
        binding.bind_input("input_ids", &ids)?;
        binding.bind_input(SEQLENS_K, &seqlens_k)?;
        let mut total = DynTensor::new(&Allocator::default(), TensorElementType::Int32, [0usize; 0])?;
        // The host reads it once, when the work is captured: the most that there will be. How far a sequence goes is read from
        // `seqlens_k`, on the device.
        set(&mut total, positions)?;
        binding.bind_input(TOTAL_SEQUENCE_LENGTH, &total)?;
        let options = if captured && model.device != Device::Cpu { in_graph(id)? } else { unsynchronized()? };
        Ok(Self { ids, seqlens_k, lengths: vec![0; batch_size], total, captured, options })
    }

    /// Makes `tokens`, int64 `[batch, 1]`, the next input, behind `past` positions.
    pub(crate) fn feed(&mut self, model: &OnnxModel, tokens: &DynTensor, past: usize) -> Result<()> {
        self.lengths.fill(past as i32);
        if !self.captured {
            // The previous forward is launched: its host part has read the number.
            set(&mut self.total, past + 1)?;
        }
        let from = [tokens.data_ptr(), self.lengths.as_ptr().cast()];
        let to = [self.ids.data_ptr_mut(), self.seqlens_k.data_ptr_mut()];
        let bytes = [size_of::<i64>(), size_of::<i32>()].map(|size| size * self.lengths.len());
        for ((from, to), bytes) in from.into_iter().zip(to).zip(bytes) {
            // SAFETY: each has a number a sequence. On the device they are read and written in the stream's order; `lengths` is
            // written again only after the forward that this is for was waited for.
            unsafe {
                match &model.stream {
                    Some(stream) => stream.copy(to, from, bytes)?,
                    None => copy_nonoverlapping(from.cast::<u8>(), to.cast(), bytes),
                }
            }
        }
        Ok(())
    }
}

/// Sets a scalar in the host's memory.
fn set(scalar: &mut DynTensor, value: usize) -> ort::Result<()> {
    scalar.try_extract_tensor_mut::<i32>()?.1[0] = value as i32;
    Ok(())
}
