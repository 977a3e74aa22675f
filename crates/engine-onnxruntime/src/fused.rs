//! Joins products of a layer, and the weights that they need.
//!
//! Products of the same input can be one product with the rows of all their weights: q, k and v; gate and up. A layer then has
//! four products in place of seven. The larger ones read memory faster, and fewer nodes are launched.

use llama::{LayerNames, LlamaConfig, WeightKind, WeightSpec, weight_specs};

use crate::cache_layout::attention_head_dim;

/// The products that are made as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fused {
    /// q, k and v. Packed: key and value follow the query in one tensor.
    pub(crate) qkv: bool,
    /// The MLP's gate and up: their product is split after it.
    pub(crate) gate_up: bool,
}

impl Fused {
    /// Each on its own.
    pub(crate) const NONE: Self = Self { qkv: false, gate_up: false };

    /// Joins all products that a model of `config` allows. Heads that attention needs wider than the model has them are widened
    /// one by one, so that q, k and v stay apart.
    pub(crate) fn most(config: &LlamaConfig) -> Self {
        Self { qkv: attention_head_dim(config) == config.head_dim, gate_up: true }
    }

    /// What a reader should know.
    pub(crate) fn note(self, joined_bytes: u64) -> Option<String> {
        let products = match self {
            Self { qkv: true, gate_up: true } => "q, k, v as one product, gate and up as another",
            Self { qkv: false, gate_up: true } => {
                "gate and up as one product; q, k, v one by one: their heads must be widened"
            }
            _ => return None,
        };
        Some(format!(
            "fused: {products}; {joined_bytes} bytes of weights joined in host memory while loading"
        ))
    }
}

/// A weight of the graph: one of the model's, or several with the same number of columns, one below the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphWeight {
    /// Its name in the graph.
    pub(crate) name: String,
    /// `[out, in]`, or `[size]`.
    pub(crate) shape: Vec<usize>,
    /// Its use.
    pub(crate) kind: WeightKind,
    /// The model's weights in it.
    pub(crate) parts: Vec<WeightSpec>,
}

impl GraphWeight {
    /// Whether it is of a layer's product: quantized below 16 bits.
    pub(crate) fn is_projection(&self) -> bool {
        self.parts.iter().all(WeightSpec::is_projection)
    }
}

/// The name of the weight of q, k and v.
pub(crate) fn qkv_name(layer: usize) -> String {
    format!("model.layers.{layer}.self_attn.qkv_proj.weight")
}

/// The name of the weight of gate and up.
pub(crate) fn gate_up_name(layer: usize) -> String {
    format!("model.layers.{layer}.mlp.gate_up_proj.weight")
}

/// Every weight of the graph of a model of `config`, in the order of the forward pass.
pub(crate) fn graph_weights(config: &LlamaConfig, fused: Fused) -> Vec<GraphWeight> {
    let mut weights: Vec<GraphWeight> = Vec::new();
    let mut joined = Vec::new();
    for layer in 0..config.num_hidden_layers {
        let LayerNames { q_proj, k_proj, v_proj, gate_proj, up_proj, .. } = LayerNames::new(layer);
        if fused.qkv {
            joined.extend([q_proj, k_proj, v_proj].map(|part| (part, qkv_name(layer))));
        }
        if fused.gate_up {
            joined.extend([gate_proj, up_proj].map(|part| (part, gate_up_name(layer))));
        }
    }
    let joined: std::collections::BTreeMap<String, String> = joined.into_iter().collect();
    for spec in weight_specs(config) {
        let name = joined.get(&spec.name).unwrap_or(&spec.name);
        match weights.last_mut().filter(|last| last.name == *name) {
            Some(weight) => {
                weight.shape[0] += spec.shape[0];
                weight.parts.push(spec);
            }
            None => weights.push(GraphWeight {
                name: name.clone(),
                shape: spec.shape.clone(),
                kind: spec.kind,
                parts: vec![spec],
            }),
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> LlamaConfig {
        LlamaConfig::parse(text, "config.json").unwrap()
    }

    #[test]
    fn weights_of_the_same_input_are_joined() {
        let config = config(include_str!("../../../configs/models/tinyllama-1.1b.json"));
        let fused = Fused::most(&config);
        assert_eq!(fused, Fused { qkv: true, gate_up: true });
        let weights = graph_weights(&config, fused);
        // 9 weights a layer without it; embedding, last norm, head.
        assert_eq!(weights.len(), 22 * 6 + 3);
        let shape = |name: &str| weights.iter().find(|weight| weight.name == name).unwrap().shape.clone();
        assert_eq!(shape("model.layers.0.self_attn.qkv_proj.weight"), [2048 + 2 * 256, 2048]);
        assert_eq!(shape("model.layers.21.mlp.gate_up_proj.weight"), [2 * 5632, 2048]);
        let parts: Vec<_> = weights.iter().flat_map(|weight| weight.parts.clone()).collect();
        assert_eq!(parts, weight_specs(&config));
        let apart = graph_weights(&config, Fused::NONE);
        assert!(apart.iter().all(|weight| weight.parts.len() == 1 && weight.name == weight.parts[0].name));
    }

    #[test]
    fn heads_that_are_widened_stay_apart() {
        let mut config = config(include_str!("../../../configs/models/tinyllama-1.1b.json"));
        config.head_dim = 40;
        let fused = Fused::most(&config);
        assert_eq!(fused, Fused { qkv: false, gate_up: true });
        let note = fused.note(7).unwrap();
        assert!(note.starts_with("fused: gate and up as one product; q, k, v one by one"), "{note}");
        assert_eq!(Fused::NONE.note(0), None);
    }
}
