//! `LlamaForCausalLM` in eager libtorch: the operators of HF's `modeling_llama.py` (transformers 5), in its order.

use llama::{EMBED_TOKENS, FINAL_NORM, LM_HEAD, LayerNames, LlamaConfig};
use protocol::Device;

use crate::error::Result;
use crate::kv_cache::{Exclusion, KvCache, ROWS};
use crate::linear::Linear;
use crate::options::{AttentionKind, LogitsKept, TorchOptions};
use crate::ranks::SumOverRanks;
use crate::shim;
use crate::tensor::{Kind, Tensor};
use crate::weights::WeightTensors;

/// A model that is run one forward at a time; `pytorch-compile` has another.
pub(crate) trait CausalLm {
    /// Logits of new tokens `[batch_size, length]` after those in `cache`: of all of them or of the last, in dimension 1.
    /// Appends their keys and values to `cache`, whose `length` stays as it was.
    fn forward(&self, input_ids: &Tensor, cache: &mut KvCache) -> Result<Tensor>;
}

/// The model: embedding, decoder layers, norm and head.
pub(crate) struct LlamaForCausalLm {
    embed_tokens: Tensor,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    lm_head: Linear,
    rotary_emb: RotaryEmbedding,
    options: TorchOptions,
}

impl LlamaForCausalLm {
    /// Builds the whole model; with `ranks`, one rank's part, whose `config` and `weights` are its own.
    pub(crate) fn new(
        config: &LlamaConfig,
        mut weights: WeightTensors,
        options: TorchOptions,
        ranks: Option<&SumOverRanks>,
    ) -> Result<Self> {
        let embed_tokens = weights.take(EMBED_TOKENS);
        let lm_head =
            if config.tie_word_embeddings { embed_tokens.shallow_clone() } else { weights.take(LM_HEAD) };
        let layers = 0..config.num_hidden_layers;
        Ok(Self {
            layers: layers
                .map(|index| DecoderLayer::new(config, index, &mut weights, options, ranks))
                .collect::<Result<_>>()?,
            norm: RmsNorm::new(config, weights.take(FINAL_NORM)),
            lm_head: Linear::new(options.linear, lm_head)?,
            rotary_emb: RotaryEmbedding::new(config, embed_tokens.device())?,
            embed_tokens,
            options,
        })
    }
}

impl CausalLm for LlamaForCausalLm {
    fn forward(&self, input_ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let mut hidden_states = Tensor::embedding(&self.embed_tokens, input_ids)?;
        let position_ids = match &cache.window {
            Some(window) => window.position.shallow_clone(),
            None => positions(cache.length, cache.length + input_ids.size(1)?, &hidden_states)?,
        };
        let position_embeddings = self.rotary_emb.forward(&hidden_states, &position_ids)?;
        let keys = match (self.options.attention, &cache.window) {
            (AttentionKind::Eager, _) => {
                AttendedKeys::Masked(causal_mask(&hidden_states, &position_ids, cache)?)
            }
            (AttentionKind::Sdpa, None) => AttendedKeys::All,
            (AttentionKind::Sdpa, Some(window)) => match window.exclusion {
                Exclusion::Mask => AttendedKeys::Masked(attends(&hidden_states, &position_ids, cache)?),
                Exclusion::CausalRow => AttendedKeys::ByRow(position_ids.sub_scalar(window.attended - ROWS)?),
            },
        };
        for layer in &self.layers {
            hidden_states = layer.forward(hidden_states, &position_embeddings, &keys, cache)?;
        }
        hidden_states = self.norm.forward(&hidden_states)?;
        if self.options.logits == LogitsKept::Last {
            // Contiguous, or `linear` reads the head once a row. It makes this copy itself where the weight requires
            // gradients, as HF's parameters do.
            hidden_states = hidden_states.slice(1, Some(-1), None)?.contiguous()?;
        }
        self.lm_head.forward(&hidden_states)
    }
}

/// Which of the keys a query attends to.
enum AttendedKeys {
    /// All before it.
    All,
    /// Those that a mask leaves: of bools, or of numbers that are added to the scores.
    Masked(Tensor),
    /// Those of the row, int64 `[1]` on the device, among [`ROWS`] causal ones.
    ByRow(Tensor),
}

struct DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl DecoderLayer {
    fn new(
        config: &LlamaConfig,
        index: usize,
        weights: &mut WeightTensors,
        options: TorchOptions,
        ranks: Option<&SumOverRanks>,
    ) -> Result<Self> {
        let names = LayerNames::new(index);
        let mut linear = |name: &str| weights.linear(options.linear, name);
        let [q_proj, k_proj, v_proj] =
            [linear(&names.q_proj)?, linear(&names.k_proj)?, linear(&names.v_proj)?];
        let [gate_proj, up_proj] = [linear(&names.gate_proj)?, linear(&names.up_proj)?];
        let mut row_parallel = |name: &str| -> Result<RowParallelLinear> {
            Ok(RowParallelLinear { linear: linear(name)?, ranks: ranks.cloned() })
        };
        let (o_proj, down_proj) = (row_parallel(&names.o_proj)?, row_parallel(&names.down_proj)?);
        Ok(Self {
            input_layernorm: RmsNorm::new(config, weights.take(&names.input_layernorm)),
            self_attn: Attention {
                layer: index,
                kind: options.attention,
                num_key_value_groups: (config.num_attention_heads / config.num_key_value_heads) as i64,
                head_dim: config.head_dim as i64,
                scaling: (config.head_dim as f64).powf(-0.5),
                q_proj,
                k_proj,
                v_proj,
                o_proj,
            },
            post_attention_layernorm: RmsNorm::new(config, weights.take(&names.post_attention_layernorm)),
            mlp: Mlp { gate_proj, up_proj, down_proj },
        })
    }

    fn forward(
        &self,
        hidden_states: Tensor,
        position_embeddings: &(Tensor, Tensor),
        keys: &AttendedKeys,
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        let residual = hidden_states;
        let hidden_states = self.input_layernorm.forward(&residual)?;
        let hidden_states = self.self_attn.forward(&hidden_states, position_embeddings, keys, cache)?;
        let residual = residual.add(&hidden_states)?;
        let hidden_states = self.post_attention_layernorm.forward(&residual)?;
        let hidden_states = self.mlp.forward(&hidden_states)?;
        residual.add(&hidden_states)
    }
}

struct Attention {
    layer: usize,
    kind: AttentionKind,
    num_key_value_groups: i64,
    head_dim: i64,
    scaling: f64,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: RowParallelLinear,
}

impl Attention {
    fn forward(
        &self,
        hidden_states: &Tensor,
        (cos, sin): &(Tensor, Tensor),
        keys: &AttendedKeys,
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        let [batch_size, length, _] = hidden_states.sizes()?;
        let heads = |projection: &Linear| -> Result<Tensor> {
            let states = projection.forward(hidden_states)?;
            states.view(&[batch_size, length, -1, self.head_dim])?.transpose(1, 2)
        };
        let query = heads(&self.q_proj)?;
        let key = heads(&self.k_proj)?;
        let value = heads(&self.v_proj)?;

        let query = apply_rotary_pos_emb(&query, cos, sin)?;
        let key = apply_rotary_pos_emb(&key, cos, sin)?;
        let (key, value) = cache.update(self.layer, &key, &value)?;

        let output = match self.kind {
            AttentionKind::Sdpa => self.sdpa_attention_forward(&query, &key, &value, keys)?,
            AttentionKind::Eager => self.eager_attention_forward(&query, &key, &value, keys)?,
        };
        let output = output.transpose(1, 2)?.contiguous()?;
        self.o_proj.forward(&output.reshape(&[batch_size, length, -1])?)
    }

    fn sdpa_attention_forward(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        keys: &AttendedKeys,
    ) -> Result<Tensor> {
        let mask = match keys {
            AttendedKeys::All => None,
            AttendedKeys::Masked(mask) => Some(mask),
            // The same query in each row: of their results one counts.
            AttendedKeys::ByRow(row) => {
                let rows = query.expand(&[-1, -1, ROWS, -1])?;
                let outputs = shim::causal_attention(&rows, key, value, self.scaling)?;
                return outputs.index_select(2, row);
            }
        };
        // A single new token attends to all; several are a whole prompt, for the cache was empty.
        let is_causal = query.size(2)? > 1;
        let enable_gqa = self.num_key_value_groups > 1;
        Tensor::scaled_dot_product_attention(query, key, value, mask, is_causal, self.scaling, enable_gqa)
    }

    fn eager_attention_forward(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        keys: &AttendedKeys,
    ) -> Result<Tensor> {
        let key = repeat_kv(key, self.num_key_value_groups)?;
        let value = repeat_kv(value, self.num_key_value_groups)?;
        let mut weights = query.matmul(&key.transpose(2, 3)?)?.mul_scalar(self.scaling)?;
        if let AttendedKeys::Masked(mask) = keys {
            weights = weights.add(mask)?;
        }
        // As in HF's expression: scores, FP32 and this live at once, which is what runs out of memory first.
        let weights = weights.softmax(-1, Kind::Float)?.to_kind(query.kind()?)?;
        weights.matmul(&value)
    }
}

struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: RowParallelLinear,
}

impl Mlp {
    fn forward(&self, hidden_states: &Tensor) -> Result<Tensor> {
        let gate = self.gate_proj.forward(hidden_states)?.silu()?;
        let up = self.up_proj.forward(hidden_states)?;
        self.down_proj.forward(&gate.mul(&up)?)
    }
}

/// A linear layer of which a rank has some of the inputs: the ranks' outputs are terms of a sum.
struct RowParallelLinear {
    linear: Linear,
    ranks: Option<SumOverRanks>,
}

impl RowParallelLinear {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let output = self.linear.forward(input)?;
        match &self.ranks {
            Some(ranks) => ranks.sum_(&output),
            None => Ok(output),
        }
    }
}

struct RmsNorm {
    weight: Tensor,
    variance_epsilon: f64,
}

impl RmsNorm {
    fn new(config: &LlamaConfig, weight: Tensor) -> Self {
        Self { weight, variance_epsilon: config.rms_norm_eps }
    }

    fn forward(&self, hidden_states: &Tensor) -> Result<Tensor> {
        let input_dtype = hidden_states.kind()?;
        let hidden_states = hidden_states.to_kind(Kind::Float)?;
        let variance = hidden_states.pow(2)?.mean(&[-1], true)?;
        let scale = variance.add_scalar(self.variance_epsilon)?.rsqrt()?;
        self.weight.mul(&hidden_states.mul(&scale)?.to_kind(input_dtype)?)
    }
}

struct RotaryEmbedding {
    inv_freq: Tensor,
}

impl RotaryEmbedding {
    fn new(config: &LlamaConfig, device: Device) -> Result<Self> {
        Ok(Self { inv_freq: Tensor::from_slice(&config.inv_freq())?.to_device(device)? })
    }

    /// Cosines and sines of the positions, `[1, length, head_dim]`.
    fn forward(&self, hidden_states: &Tensor, position_ids: &Tensor) -> Result<(Tensor, Tensor)> {
        let position_ids = position_ids.unsqueeze(0)?.unsqueeze(-1)?.to_kind(Kind::Float)?;
        let freqs = position_ids.mul(&self.inv_freq)?;
        let emb = Tensor::cat([&freqs, &freqs], -1)?;
        let dtype = hidden_states.kind()?;
        Ok((emb.cos()?.to_kind(dtype)?, emb.sin()?.to_kind(dtype)?))
    }
}

/// The most negative number of `dtype`: what HF's masks add to scores that do not count.
pub(crate) fn lowest(dtype: Kind) -> f64 {
    match dtype {
        Kind::Half => -65504.0,
        Kind::BFloat16 => -3.3895313892515355e38,
        _ => f64::from(f32::MIN),
    }
}

fn apply_rotary_pos_emb(states: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?);
    states.mul(&cos)?.add(&rotate_half(states)?.mul(&sin)?)
}

fn rotate_half(states: &Tensor) -> Result<Tensor> {
    let half = states.size(-1)? / 2;
    let first = states.slice(-1, None, Some(half))?;
    let second = states.slice(-1, Some(half), None)?;
    Tensor::cat([&second.neg()?, &first], -1)
}

fn repeat_kv(states: &Tensor, repeats: i64) -> Result<Tensor> {
    if repeats == 1 {
        return Ok(states.shallow_clone());
    }
    let [batch_size, num_key_value_heads, length, head_dim] = states.sizes()?;
    let states =
        states.unsqueeze(2)?.expand(&[batch_size, num_key_value_heads, repeats, length, head_dim])?;
    states.reshape(&[batch_size, num_key_value_heads * repeats, length, head_dim])
}

/// What HF adds to the scores: zero where a token attends, [`lowest`] where it does not.
fn causal_mask(hidden_states: &Tensor, position_ids: &Tensor, cache: &KvCache) -> Result<Tensor> {
    let dtype = hidden_states.kind()?;
    let attends = attends(hidden_states, position_ids, cache)?;
    let zero = Tensor::zeros(&[], (dtype, hidden_states.device()))?;
    Tensor::where_scalar_other(&attends, &zero, lowest(dtype))
}

/// Whether a token attends to a position: `[batch_size, 1, length, positions]`.
fn attends(hidden_states: &Tensor, position_ids: &Tensor, cache: &KvCache) -> Result<Tensor> {
    let [batch_size, length, _] = hidden_states.sizes()?;
    let attended = cache.attended(length);
    let keys = positions(0, attended, hidden_states)?;
    keys.le(&position_ids.unsqueeze(-1)?)?.expand(&[batch_size, 1, length, attended])
}

fn positions(start: i64, end: i64, like: &Tensor) -> Result<Tensor> {
    Tensor::arange(start, end, (Kind::Int64, like.device()))
}
