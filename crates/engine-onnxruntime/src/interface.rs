//! What a session wants to be fed and returns, beside its cache.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use llama::LlamaConfig;
use ort::session::{IoBinding, Session};
use ort::value::{Outlet, Tensor, TensorElementType};
use protocol::Dtype;

use crate::cache_layout::{attention_head_dim, cache_names};
use crate::graph::{Interface, LogitRows, SEQLENS_K, TOTAL_SEQUENCE_LENGTH};
use crate::memory::{dtype, element};
use crate::onnx::{MICROSOFT, ModelProto};

/// A session's inputs and outputs, as far as models differ in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature {
    /// How the session learns how long the sequences are.
    pub(crate) lengths: Lengths,
    /// The rows of logits that a forward returns.
    pub(crate) rows: LogitRows,
    /// The dtype of the logits.
    pub(crate) logits: Dtype,
    /// The dtype of the cache.
    pub(crate) cache: Dtype,
    /// The width of a head in the cache.
    pub(crate) head_dim: usize,
}

/// The inputs that tell the lengths of the sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// `seqlens_k` and `total_sequence_length`: see [`Interface::Engine`].
    Given,
    /// `attention_mask`: see [`Interface::Exported`].
    Mask {
        /// There is `position_ids` too, int64 `[batch, sequence]`.
        position_ids: bool,
    },
}

impl Lengths {
    /// Feeds the lengths of a forward of `new` positions after `past` ones, in each of `batch_size` sequences.
    pub(crate) fn bind(
        self,
        binding: &mut IoBinding,
        batch_size: usize,
        past: usize,
        new: usize,
    ) -> ort::Result<()> {
        let total = past + new;
        match self {
            Self::Given => {
                let last = vec![(total - 1) as i32; batch_size];
                binding.bind_input(SEQLENS_K, &Tensor::from_array(([batch_size], last))?)?;
                binding.bind_input(TOTAL_SEQUENCE_LENGTH, &Tensor::from_array(((), vec![total as i32]))?)
            }
            Self::Mask { position_ids } => {
                let mask = vec![1i64; batch_size * total];
                binding.bind_input("attention_mask", &Tensor::from_array(([batch_size, total], mask))?)?;
                if position_ids {
                    let positions =
                        (0..batch_size).flat_map(|_| past as i64..total as i64).collect::<Vec<_>>();
                    binding
                        .bind_input("position_ids", &Tensor::from_array(([batch_size, new], positions))?)?;
                }
                Ok(())
            }
        }
    }
}

impl Signature {
    /// That of a graph built here.
    pub(crate) fn of_graph(config: &LlamaConfig, interface: Interface, dtype: Dtype) -> Self {
        let lengths = match interface {
            Interface::Engine { .. } => Lengths::Given,
            Interface::Exported => Lengths::Mask { position_ids: false },
        };
        let head_dim = attention_head_dim(config);
        Self { lengths, rows: interface.rows(), logits: dtype, cache: dtype, head_dim }
    }

    /// That of a model somebody exported, if it can be driven. The error names the input or output in the way.
    pub(crate) fn of_session(session: &Session, config: &LlamaConfig) -> Result<Self> {
        let mut inputs = Outlets::new("input", session.inputs())?;
        let mut outputs = Outlets::new("output", session.outputs())?;
        inputs.take("input_ids", TensorElementType::Int64)?;
        inputs.take("attention_mask", TensorElementType::Int64)?;
        let position_ids = inputs.elements.contains_key("position_ids");
        if position_ids {
            inputs.take("position_ids", TensorElementType::Int64)?;
        }
        let logits = outputs.dtype("logits")?;
        outputs.take("logits", element(logits))?;
        let cache = inputs.dtype("past_key_values.0.key")?;
        let head_dim = cache_head_dim(session).unwrap_or(config.head_dim);
        for (past, present) in (0..config.num_hidden_layers).flat_map(cache_names) {
            inputs.take(&past, element(cache))?;
            outputs.take(&present, element(cache))?;
        }
        inputs.nothing_left()?;
        outputs.nothing_left()?;
        let lengths = Lengths::Mask { position_ids };
        Ok(Self { lengths, rows: LogitRows::All, logits, cache, head_dim })
    }
}

/// The last dimension of the cache, where the model says it.
fn cache_head_dim(session: &Session) -> Option<usize> {
    let past = session.inputs().iter().find(|input| input.name() == "past_key_values.0.key")?;
    let size = *past.dtype().tensor_shape()?.last()?;
    usize::try_from(size).ok().filter(|&size| size > 0)
}

/// The inputs, or outputs, of a session that are not accounted for yet.
struct Outlets {
    kind: &'static str,
    elements: BTreeMap<String, TensorElementType>,
}

impl Outlets {
    fn new(kind: &'static str, outlets: &[Outlet]) -> Result<Self> {
        let element = |outlet: &Outlet| {
            let name = outlet.name().to_owned();
            let element =
                outlet.dtype().tensor_type().with_context(|| format!("{kind} \"{name}\": not a tensor"))?;
            Ok((name, element))
        };
        Ok(Self { kind, elements: outlets.iter().map(element).collect::<Result<_>>()? })
    }

    fn found(&self, name: &str) -> Result<TensorElementType> {
        self.elements.get(name).copied().with_context(|| format!("no {} \"{name}\"", self.kind))
    }

    fn dtype(&self, name: &str) -> Result<Dtype> {
        let found = self.found(name)?;
        dtype(found)
            .with_context(|| format!("{} \"{name}\": expected a float tensor, found {found}", self.kind))
    }

    fn take(&mut self, name: &str, expected: TensorElementType) -> Result<()> {
        let found = self.found(name)?;
        ensure!(found == expected, "{} \"{name}\": expected {expected}, found {found}", self.kind);
        self.elements.remove(name);
        Ok(())
    }

    fn nothing_left(&self) -> Result<()> {
        let Some(name) = self.elements.keys().next() else { return Ok(()) };
        bail!("unexpected {} \"{name}\": {EXPECTED}", self.kind)
    }
}

const EXPECTED: &str = "this engine runs models that take input_ids, attention_mask, perhaps position_ids, and \
                        past_key_values.{layer}.{key,value}, and return logits and present.{layer}.{key,value}";

/// Whether every layer's cache is an output of `GroupQueryAttention`, so that past and present may be one buffer.
pub(crate) fn cache_can_be_static(model: &ModelProto) -> bool {
    let Some(graph) = &model.graph else { return false };
    let mut presents = graph.output.iter().filter(|output| output.name.starts_with("present."));
    presents.all(|present| {
        graph.node.iter().any(|node| {
            node.op_type == "GroupQueryAttention"
                && node.domain == MICROSOFT
                && node.output.contains(&present.name)
        })
    })
}

#[cfg(test)]
mod tests {
    use llama::Weights;
    use prost::Message;
    use protocol::ModelSource;
    use serde_json::json;
    use worker::Reporter;

    use super::*;
    use crate::fused::Fused;
    use crate::graph;
    use crate::initializers::{Initializers, Lifetime};
    use crate::library::OnnxRuntimeLibrary;
    use crate::onnx::{DataType, ValueInfoProto};

    fn weights() -> Weights {
        let config = json!({
            "vocab_size": 32, "hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 16,
        });
        Weights::open(&ModelSource::Seeded { config, seed: 0 }).unwrap()
    }

    /// What is said of an exported model after `change`.
    fn signature(change: impl FnOnce(&mut ModelProto)) -> Result<Signature> {
        let weights = weights();
        let initializers = Initializers::new(&weights, Dtype::Fp32, Fused::NONE, &Reporter::silent());
        let mut model = graph::llama(weights.config(), Dtype::Fp32, Interface::Exported, Fused::NONE);
        initializers.place(&mut model);
        change(&mut model);
        let library = OnnxRuntimeLibrary::load().unwrap();
        let builder = Session::builder(&library.environment).unwrap();
        // SAFETY: the session copies the weights, which are made, and is made before they go.
        let mut builder = unsafe { initializers.add_to(builder, Lifetime::Copied) }.unwrap();
        let session = builder.commit_from_memory(&model.encode_to_vec()).unwrap();
        Signature::of_session(&session, weights.config())
    }

    fn add_input(model: &mut ModelProto, name: &str, data_type: DataType) {
        let dims = ["batch".into(), "sequence".into()];
        model.graph.as_mut().unwrap().input.push(ValueInfoProto::tensor(name, data_type, dims));
    }

    #[test]
    fn models_that_can_be_driven_are_recognised() {
        let exported = Signature::of_graph(weights().config(), Interface::Exported, Dtype::Fp32);
        assert_eq!(signature(|_| ()).unwrap(), exported);
        let positions = signature(|model| add_input(model, "position_ids", DataType::Int64)).unwrap();
        assert_eq!(positions, Signature { lengths: Lengths::Mask { position_ids: true }, ..exported });
    }

    #[test]
    fn an_input_or_output_in_the_way_is_named() {
        let message = |change: fn(&mut ModelProto)| signature(change).unwrap_err().to_string();
        let unexpected = message(|model| add_input(model, "token_type_ids", DataType::Int64));
        assert!(
            unexpected.starts_with("unexpected input \"token_type_ids\": this engine runs models that take")
        );
        assert_eq!(
            message(|model| add_input(model, "position_ids", DataType::Int32)),
            "input \"position_ids\": expected i64, found i32"
        );
        assert_eq!(
            message(|model| drop(model.graph.as_mut().unwrap().output.pop())),
            "no output \"present.0.value\""
        );
    }

    #[test]
    fn a_cache_is_static_where_all_attention_is_grouped_query_attention() {
        let mut model = graph::llama(weights().config(), Dtype::Fp32, Interface::Exported, Fused::NONE);
        assert!(cache_can_be_static(&model));
        let nodes = &mut model.graph.as_mut().unwrap().node;
        nodes.iter_mut().for_each(|node| node.domain.clear());
        assert!(!cache_can_be_static(&model));
    }
}
