//! `pytorch-cudagraph`: a cell's decode forward, captured once and replayed for every token. What libtorch's operators cost
//! the host is paid once; what is left is the work of the GPU.

use tch::{Device, Kind, Tensor};

use crate::cuda_graph::CudaGraph;
use crate::error::Result;
use crate::kv_cache::KvCache;
use crate::model::CausalLm;

/// A decode forward of which nothing moves: its inputs, its cache and its logits are where they were.
pub(crate) struct DecodeGraph {
    /// `[batch_size, 1]`.
    input_ids: Tensor,
    /// `[1]`, of the token in `input_ids`.
    position: Tensor,
    /// On a CPU there are no graphs: the same forward, operator by operator.
    captured: Option<(CudaGraph, Tensor)>,
}

impl DecodeGraph {
    /// Captures a forward of one token of each of `batch_size` sequences into a static `cache`, whose contents do not matter.
    pub(crate) fn new(
        model: &dyn CausalLm,
        cache: &mut KvCache,
        batch_size: usize,
        device: Device,
    ) -> Result<Self> {
        let numbers = (Kind::Int64, device);
        let input_ids = Tensor::f_zeros([batch_size as i64, 1], numbers)?;
        let position = Tensor::f_zeros([1], numbers)?;
        let mut graph = Self { input_ids, position, captured: None };
        if let Device::Cuda(index) = device {
            graph.captured = Some(CudaGraph::capture(index, || graph.compute(model, cache))?);
        }
        Ok(graph)
    }

    /// Makes `tokens`, `[batch_size, 1]`, the next input, behind `length` tokens in the cache.
    pub(crate) fn feed(&mut self, tokens: &Tensor, length: i64) -> Result<()> {
        self.input_ids.f_copy_(tokens)?;
        let _ = self.position.f_fill_(length)?;
        Ok(())
    }

    /// The forward of what was fed; the next one writes into the same logits.
    pub(crate) fn forward(&self, model: &dyn CausalLm, cache: &mut KvCache) -> Result<Tensor> {
        match &self.captured {
            Some((graph, logits)) => graph.replay().map(|()| logits.shallow_clone()),
            None => self.compute(model, cache),
        }
    }

    fn compute(&self, model: &dyn CausalLm, cache: &mut KvCache) -> Result<Tensor> {
        cache.position = Some(self.position.shallow_clone());
        let logits = model.forward(&self.input_ids, cache);
        cache.position = None;
        logits
    }
}
