//! HF's names of the weights, and their shapes.

use crate::LlamaConfig;

/// The token embedding, `[vocab_size, hidden_size]`.
pub const EMBED_TOKENS: &str = "model.embed_tokens.weight";
/// The last RMSNorm, `[hidden_size]`.
pub const FINAL_NORM: &str = "model.norm.weight";
/// The head, `[vocab_size, hidden_size]`; absent where embeddings are tied.
pub const LM_HEAD: &str = "lm_head.weight";

/// What a weight is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightKind {
    /// Rows looked up by token.
    Embedding,
    /// A vector that scales a normalised one.
    Norm,
    /// A linear layer, `[out, in]`.
    Linear,
}

/// One weight of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSpec {
    /// HF's name.
    pub name: String,
    /// Its shape; linear layers are `[out, in]`.
    pub shape: Vec<usize>,
    /// Its use.
    pub kind: WeightKind,
}

impl WeightSpec {
    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never: every dimension of a config is at least 1.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The names of one decoder layer's weights.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LayerNames {
    pub input_layernorm: String,
    pub q_proj: String,
    pub k_proj: String,
    pub v_proj: String,
    pub o_proj: String,
    pub post_attention_layernorm: String,
    pub gate_proj: String,
    pub up_proj: String,
    pub down_proj: String,
}

impl LayerNames {
    /// The names of layer `index`.
    pub fn new(index: usize) -> Self {
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        Self {
            input_layernorm: name("input_layernorm"),
            q_proj: name("self_attn.q_proj"),
            k_proj: name("self_attn.k_proj"),
            v_proj: name("self_attn.v_proj"),
            o_proj: name("self_attn.o_proj"),
            post_attention_layernorm: name("post_attention_layernorm"),
            gate_proj: name("mlp.gate_proj"),
            up_proj: name("mlp.up_proj"),
            down_proj: name("mlp.down_proj"),
        }
    }
}

/// Every weight that a model of this config has, in the order of the forward pass.
pub fn weight_specs(config: &LlamaConfig) -> Vec<WeightSpec> {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let (query, key_value) = (config.query_size(), config.key_value_size());
    let spec =
        |name: &str, shape: &[usize], kind| WeightSpec { name: name.into(), shape: shape.into(), kind };
    let norm = |name: &str| spec(name, &[hidden], WeightKind::Norm);
    let linear = |name: &str, out, into| spec(name, &[out, into], WeightKind::Linear);

    let mut specs = vec![spec(EMBED_TOKENS, &[config.vocab_size, hidden], WeightKind::Embedding)];
    for index in 0..config.num_hidden_layers {
        let names = LayerNames::new(index);
        specs.extend([
            norm(&names.input_layernorm),
            linear(&names.q_proj, query, hidden),
            linear(&names.k_proj, key_value, hidden),
            linear(&names.v_proj, key_value, hidden),
            linear(&names.o_proj, hidden, query),
            norm(&names.post_attention_layernorm),
            linear(&names.gate_proj, intermediate, hidden),
            linear(&names.up_proj, intermediate, hidden),
            linear(&names.down_proj, hidden, intermediate),
        ]);
    }
    specs.push(norm(FINAL_NORM));
    if !config.tie_word_embeddings {
        specs.push(linear(LM_HEAD, config.vocab_size, hidden));
    }
    specs
}
