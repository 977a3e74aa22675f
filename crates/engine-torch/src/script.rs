//! `LlamaForCausalLM` as TorchScript: `script.py`, compiled by libtorch and frozen with the weights as its constants.
//!
//! Nothing is traced, so no size is baked in: one module serves every batch size and length.

use llama::{EMBED_TOKENS, FINAL_NORM, LM_HEAD, LayerNames, LlamaConfig};

use crate::error::Result;
use crate::kv_cache::KvCache;
use crate::model::{CausalLm, lowest};
use crate::options::{AttentionKind, CacheKind, LogitsKept, TorchOptions};
use crate::ranks::SumOverRanks;
use crate::shim::ScriptModule;
use crate::tensor::Tensor;
use crate::weights::WeightTensors;

const SOURCE: &str = include_str!("script.py");

/// The frozen module.
pub(crate) struct ScriptedLlama(ScriptModule);

impl ScriptedLlama {
    pub(crate) fn new(
        config: &LlamaConfig,
        mut weights: WeightTensors,
        options: TorchOptions,
        ranks: Option<&SumOverRanks>,
    ) -> Result<Self> {
        let mut module = ScriptModule::new("LlamaForCausalLM")?;
        let embed_tokens = weights.take(EMBED_TOKENS);
        let inv_freq = Tensor::from_slice(&config.inv_freq())?.to_device(embed_tokens.device())?;
        module.set_tensor("inv_freq", &inv_freq)?;
        module.set_float("lowest", lowest(embed_tokens.kind()?))?;
        module.set_tensor("embed_tokens", &embed_tokens)?;
        module.set_tensor("norm", &weights.take(FINAL_NORM))?;
        // Freezing refuses one tensor under two names.
        let source = if config.tie_word_embeddings {
            SOURCE.replace("self.lm_head", "self.embed_tokens")
        } else {
            module.set_tensor("lm_head", &weights.take(LM_HEAD))?;
            SOURCE.to_owned()
        };
        set_layers(&mut module, config, &mut weights)?;
        set_numbers(&mut module, config, options)?;
        module.set_bool("has_ranks", ranks.is_some())?;
        if let Some(ranks) = ranks {
            ranks.offer_to_scripts();
        }
        module.define(&source)?;
        module.freeze()?;
        Ok(Self(module))
    }
}

impl CausalLm for ScriptedLlama {
    fn forward(&self, input_ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        self.0.forward(input_ids, cache.length, &mut cache.keys, &mut cache.values)
    }
}

type NameOf = fn(&LayerNames) -> &str;

/// Each kind of weight as a list over the layers.
fn set_layers(module: &mut ScriptModule, config: &LlamaConfig, weights: &mut WeightTensors) -> Result<()> {
    let names: Vec<LayerNames> = (0..config.num_hidden_layers).map(LayerNames::new).collect();
    let parts: [(&str, NameOf); 9] = [
        ("input_layernorm", |names| &names.input_layernorm),
        ("q_proj", |names| &names.q_proj),
        ("k_proj", |names| &names.k_proj),
        ("v_proj", |names| &names.v_proj),
        ("o_proj", |names| &names.o_proj),
        ("post_attention_layernorm", |names| &names.post_attention_layernorm),
        ("gate_proj", |names| &names.gate_proj),
        ("up_proj", |names| &names.up_proj),
        ("down_proj", |names| &names.down_proj),
    ];
    for (attribute, name) in parts {
        let tensors: Vec<Tensor> = names.iter().map(|names| weights.take(name(names))).collect();
        module.set_tensors(attribute, &tensors)?;
    }
    Ok(())
}

fn set_numbers(module: &mut ScriptModule, config: &LlamaConfig, options: TorchOptions) -> Result<()> {
    let groups = config.num_attention_heads / config.num_key_value_heads;
    module.set_int("num_hidden_layers", config.num_hidden_layers as i64)?;
    module.set_int("num_key_value_groups", groups as i64)?;
    module.set_int("head_dim", config.head_dim as i64)?;
    module.set_float("scaling", (config.head_dim as f64).powf(-0.5))?;
    module.set_float("variance_epsilon", config.rms_norm_eps)?;
    module.set_bool("sdpa", options.attention == AttentionKind::Sdpa)?;
    module.set_bool("static_cache", options.kv_cache == CacheKind::Static)?;
    module.set_bool("all_logits", options.logits == LogitsKept::All)
}
