//! `pytorch-aoti`: `LlamaForCausalLM`, exported and compiled once by torch's AOTInductor (`export.py`, run by `store.rs`) and
//! run here with the engine's own weights.

mod cuda_environment;
mod graph;
mod store;

use llama::{EMBED_TOKENS, LlamaConfig};
use protocol::Device;

use crate::error::Result;
use crate::kv_cache::KvCache;
use crate::model::CausalLm;
use crate::onednn::PackedWeight;
use crate::options::LinearKind;
use crate::tensor::{Kind, Tensor};
use crate::weights::WeightTensors;
use graph::AotiGraph;

pub(crate) use store::{Package, Recipe, Store, TargetGpu};

/// A package's graphs, which share their weights.
pub(crate) struct CompiledLlama {
    /// A prompt of several tokens.
    prefill: AotiGraph,
    /// One token of each of several sequences.
    decode_many: AotiGraph,
    /// One token of one sequence.
    decode_one: AotiGraph,
    /// 0, 1, 2… as far as the context goes.
    positions: Tensor,
    /// Those that oneDNN multiplies with: the graphs find them by the weights.
    _packed: Vec<PackedWeight>,
}

impl CompiledLlama {
    pub(crate) fn new(
        package: &Package,
        config: &LlamaConfig,
        weights: WeightTensors,
        linear: LinearKind,
        device: Device,
    ) -> anyhow::Result<Self> {
        let mut weights = weights.into_named();
        let is_linear = |name: &str| config.tie_word_embeddings || name != EMBED_TOKENS;
        let matrices = weights.iter().filter(|(name, weight)| weight.dim() == 2 && is_linear(name));
        let packed = matrices
            .filter(|_| linear == LinearKind::OneDnn)
            .map(|(_, weight)| PackedWeight::new(weight.shallow_clone()))
            .collect::<Result<_>>()?;
        weights.insert("inv_freq".into(), Tensor::from_slice(&config.inv_freq())?.to_device(device)?);
        let graph = |name| {
            AotiGraph::open(&package.path, name, device, &weights).map_err(|error| package.spoiled(&error))
        };
        let context = config.max_position_embeddings as i64;
        Ok(Self {
            prefill: graph("prefill")?,
            decode_many: graph("decode_many")?,
            decode_one: graph("decode_one")?,
            positions: Tensor::arange(0, context, (Kind::Int64, device))?,
            _packed: packed,
        })
    }
}

impl CausalLm for CompiledLlama {
    fn forward(&self, input_ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let [batch_size, length] = input_ids.sizes()?;
        let graph = match (batch_size, length) {
            (1, 1) => &self.decode_one,
            (_, 1) => &self.decode_many,
            _ => &self.prefill,
        };
        let attended = self.positions.narrow(0, 0, cache.length + length)?;
        let inputs = [input_ids, &attended].into_iter().chain(&cache.keys).chain(&cache.values);
        graph.run(&inputs.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use llama::Weights;
    use protocol::{Dtype, ModelSource};
    use worker::Reporter;

    use super::*;

    #[test]
    fn a_damaged_package_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let package = Package { path: dir.path().join("damaged.pt2"), note: String::new() };
        std::fs::write(&package.path, "PK\u{3}\u{4} and no more").unwrap();
        let config = serde_json::json!({
            "vocab_size": 8, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
        });
        let source = Arc::new(Weights::open(&ModelSource::Seeded { config, seed: 0 }).unwrap());
        let weights =
            WeightTensors::load(&source, Dtype::Fp32, Device::Cpu, None, &Reporter::silent()).unwrap();
        let error = CompiledLlama::new(&package, source.config(), weights, LinearKind::Aten, Device::Cpu)
            .err()
            .unwrap()
            .to_string();
        assert!(error.starts_with(&format!("{}: libtorch: ", package.path.display())), "{error}");
        assert!(error.ends_with(": delete the file to compile it again"), "{error}");
    }
}
