//! `pytorch-cudagraph`: a cell's decode forwards, captured once and replayed for every token. The host's cost of libtorch's
//! operators is paid once; only the work of the GPU is left.
//!
//! A captured forward attends to a fixed number of positions. So there is a graph for every [`ROWS`] positions, which reads less
//! than that many keys beyond those that count.

use protocol::Device;

use crate::cuda_graph::CudaGraph;
use crate::error::{Result, TorchError};
use crate::kv_cache::{Exclusion, KvCache, ROWS, Window};
use crate::model::CausalLm;
use crate::tensor::{Kind, Tensor};

/// The decode forwards of a cell, of which nothing moves: their inputs, their cache and their logits are where they were.
pub(crate) struct DecodeGraphs {
    /// `[batch_size, 1]`.
    input_ids: Tensor,
    /// `[1]`, of the token in `input_ids`.
    position: Tensor,
    /// What `position` holds.
    length: i64,
    /// Positions that the cache has room for.
    capacity: i64,
    exclusion: Exclusion,
    /// The first of them attends to positions as far as the first token needs, each next one to [`ROWS`] more. On a CPU there are none:
    /// the same forwards, operator by operator.
    captured: Vec<(CudaGraph, Tensor)>,
    /// The first graph's first position.
    prompt_length: i64,
}

impl DecodeGraphs {
    /// Captures forwards of one token for each of `batch_size` sequences into a static `cache`, whose contents do not matter, for the
    /// positions from `prompt_length` on.
    pub(crate) fn new(
        model: &dyn CausalLm,
        cache: &mut KvCache,
        (batch_size, prompt_length): (usize, usize),
        exclusion: Exclusion,
        device: Device,
    ) -> Result<Self> {
        let numbers = (Kind::Int64, device);
        let input_ids = Tensor::zeros(&[batch_size as i64, 1], numbers)?;
        let position = Tensor::zeros(&[1], numbers)?;
        let (capacity, length) = (cache.capacity()?, prompt_length as i64);
        let mut graphs = Self {
            input_ids,
            position,
            length,
            capacity,
            exclusion,
            captured: Vec::new(),
            prompt_length: length,
        };
        if let Device::Cuda(index) = device {
            for start in starts(length, capacity) {
                graphs.move_to(start)?;
                let shared = graphs.captured.first().map(|(graph, _)| graph);
                let captured = CudaGraph::capture(index as usize, shared, || graphs.compute(model, cache))?;
                graphs.captured.push(captured);
            }
        }
        Ok(graphs)
    }

    /// Makes `tokens`, `[batch_size, 1]`, the next input, behind `length` tokens in the cache.
    pub(crate) fn feed(&mut self, tokens: &Tensor, length: i64) -> Result<()> {
        self.input_ids.copy_(tokens)?;
        self.move_to(length)
    }

    /// The forward of what was fed; a later one may write into the same logits.
    pub(crate) fn forward(&self, model: &dyn CausalLm, cache: &mut KvCache) -> Result<Tensor> {
        if self.captured.is_empty() {
            return self.compute(model, cache);
        }
        let index = graph_of(self.length, self.prompt_length);
        let graph = usize::try_from(index).ok().and_then(|index| self.captured.get(index));
        let missing = || TorchError::new(&format!("no graph was captured for position {}", self.length));
        let (graph, logits) = graph.ok_or_else(missing)?;
        graph.replay()?;
        Ok(logits.shallow_clone())
    }

    fn move_to(&mut self, length: i64) -> Result<()> {
        self.length = length;
        self.position.fill_(length)
    }

    fn compute(&self, model: &dyn CausalLm, cache: &mut KvCache) -> Result<Tensor> {
        cache.window = Some(Window {
            position: self.position.shallow_clone(),
            attended: attended(self.length, self.capacity),
            exclusion: self.exclusion,
        });
        let logits = model.forward(&self.input_ids, cache);
        cache.window = None;
        logits
    }
}

/// Positions that the graph attends to whose token is at `position`: the next multiple of [`ROWS`] behind it, where there is room.
fn attended(position: i64, capacity: i64) -> i64 {
    ((position / ROWS + 1) * ROWS).min(capacity)
}

/// The first position of each graph, for tokens from `prompt_length` on.
fn starts(prompt_length: i64, capacity: i64) -> impl Iterator<Item = i64> {
    let later = (prompt_length / ROWS + 1..).map(|graph| graph * ROWS);
    std::iter::once(prompt_length).chain(later).take_while(move |&start| start < capacity)
}

/// Which graph's token is at `position`, of those for tokens from `prompt_length` on.
fn graph_of(position: i64, prompt_length: i64) -> i64 {
    position / ROWS - prompt_length / ROWS
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use llama::Weights;
    use protocol::{Dtype, ModelSource};
    use serde_json::json;
    use worker::Reporter;

    use super::*;
    use crate::TorchEngine;
    use crate::model::LlamaForCausalLm;
    use crate::options::{CacheKind, TorchOptions};
    use crate::tensor::set_num_threads;
    use crate::weights::{WeightTensors, kind};

    #[test]
    fn every_position_has_a_graph_that_attends_to_it_and_to_little_more() {
        for (prompt_length, capacity) in
            [(1, 2), (3, 10), (15, 17), (16, 64), (17, 40), (3840, 4096), (256, 257)]
        {
            let starts: Vec<i64> = starts(prompt_length, capacity).collect();
            for position in prompt_length..capacity {
                let graph = graph_of(position, prompt_length) as usize;
                let attended_by_graph = attended(starts[graph], capacity);
                assert_eq!(attended_by_graph, attended(position, capacity), "{position} of {capacity}");
                assert!(position < attended_by_graph && attended_by_graph <= position + ROWS);
                // Its row is one of those that there are.
                assert!((0..ROWS).contains(&(position - (attended_by_graph - ROWS))));
            }
            assert_eq!(starts.len(), graph_of(capacity - 1, prompt_length) as usize + 1);
        }
        // The published sizes: no more graphs than this.
        assert_eq!(starts(3840, 4096).count(), 16);
        assert_eq!(starts(1000, 1256).count(), 17);
    }

    /// Both ways to leave out what is behind, against a cache that grows; what is behind is made to matter where it is not left out.
    #[test]
    fn keys_behind_the_token_do_not_count() {
        set_num_threads(1).unwrap();
        for (heads, kv_heads) in [(4, 4), (4, 2)] {
            let config = json!({
                "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                "num_attention_heads": heads, "num_key_value_heads": kv_heads, "max_position_embeddings": 64,
            });
            let source = Arc::new(Weights::open(&ModelSource::Seeded { config, seed: 5 }).unwrap());
            let config = source.config();
            let options = TorchOptions::read(TorchEngine::CudaGraph, &protocol::Options::new()).unwrap();
            let weights =
                WeightTensors::load(&source, Dtype::Fp32, Device::Cpu, None, &Reporter::silent()).unwrap();
            let model = LlamaForCausalLm::new(config, weights, options, None).unwrap();
            let numbers = (kind(Dtype::Fp32), Device::Cpu);
            let ids: Vec<i64> = (0..90).map(|id| id * 7 % 96).collect();
            let ids = Tensor::from_slice(&ids).unwrap().view(&[2, 45]).unwrap();
            for exclusion in [Exclusion::Mask, Exclusion::CausalRow] {
                for prompt_length in [1, 9, 16, 31] {
                    let cache = |kind| KvCache::new(kind, config, (2, 45), numbers).unwrap();
                    let (mut grown, mut fixed) = (cache(CacheKind::Dynamic), cache(CacheKind::Static));
                    for states in fixed.keys.iter_mut().chain(&mut fixed.values) {
                        states.fill_(9).unwrap();
                    }
                    let size = (2, prompt_length as usize);
                    let mut graphs =
                        DecodeGraphs::new(&model, &mut fixed, size, exclusion, Device::Cpu).unwrap();
                    for cache in [&mut grown, &mut fixed] {
                        let _ = model.forward(&ids.narrow(1, 0, prompt_length).unwrap(), cache).unwrap();
                        cache.length = prompt_length;
                    }
                    for position in prompt_length..45 {
                        let token = ids.narrow(1, position, 1).unwrap();
                        let expected = model.forward(&token, &mut grown).unwrap();
                        graphs.feed(&token, position).unwrap();
                        let found = graphs.forward(&model, &mut fixed).unwrap();
                        let [found, expected] =
                            [found, expected].map(|logits| logits.to_vec::<f32>().unwrap());
                        let errors =
                            found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
                        let error = errors.fold(0.0, f32::max);
                        assert!(error < 1e-5, "{exclusion:?} {prompt_length} {position}: {error}");
                        (grown.length, fixed.length) = (position + 1, position + 1);
                    }
                }
            }
        }
    }
}
