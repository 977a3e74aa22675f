//! LLaMA (Touvron et al. 2023, arXiv:2302.13971), one token of one sequence at a time, in `f64`.

use std::collections::HashMap;

use llama::{EMBED_TOKENS, FINAL_NORM, LM_HEAD, LayerNames, LlamaConfig, WeightSpec, Weights};
use protocol::Dtype;

/// A model: HF's weights, widened from single precision.
pub(crate) struct ReferenceModel {
    pub(crate) config: LlamaConfig,
    /// Radians a position, for each pair of a head's elements.
    inv_freq: Vec<f32>,
    weights: HashMap<String, Vec<f32>>,
}

/// The keys and values of one sequence: `[layer][position * key_value_size]`.
pub(crate) struct Cache {
    keys: Vec<Vec<f64>>,
    values: Vec<Vec<f64>>,
    position: usize,
}

impl Cache {
    pub(crate) fn new(config: &LlamaConfig) -> Self {
        let empty = vec![Vec::new(); config.num_hidden_layers];
        Self { keys: empty.clone(), values: empty, position: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        2 * self.keys.iter().map(Vec::len).sum::<usize>() * size_of::<f64>()
    }
}

impl ReferenceModel {
    /// Takes the weights as `dtype` rounds them; quantized ones as what they stand for.
    pub(crate) fn new(weights: &Weights, dtype: Dtype) -> Self {
        let value = |spec: WeightSpec| {
            let is_quantized = weights.quantization().is_some() && spec.is_projection();
            // Exact in FP32.
            let dtype = if is_quantized { Dtype::Fp32 } else { dtype };
            let values = weights.get(&spec, dtype).to_f32();
            (spec.name, values)
        };
        let values = weights.specs().into_iter().map(value).collect();
        let config = weights.config().clone();
        Self { inv_freq: config.inv_freq(), config, weights: values }
    }

    /// The hidden state of `token` after the last layer's norm; its keys and values join the cache.
    pub(crate) fn forward(&self, token: usize, cache: &mut Cache) -> Vec<f64> {
        let hidden = self.config.hidden_size;
        let mut x = widen(&self.weights[EMBED_TOKENS][token * hidden..(token + 1) * hidden]);
        for layer in 0..self.config.num_hidden_layers {
            let names = LayerNames::new(layer);
            let attended = self.attention(layer, &names, &self.rms_norm(&x, &names.input_layernorm), cache);
            add(&mut x, &attended);
            let mlp = self.mlp(&names, &self.rms_norm(&x, &names.post_attention_layernorm));
            add(&mut x, &mlp);
        }
        cache.position += 1;
        self.rms_norm(&x, FINAL_NORM)
    }

    /// The logits of a hidden state.
    pub(crate) fn logits(&self, hidden: &[f64]) -> Vec<f64> {
        let tied = self.config.tie_word_embeddings;
        self.linear(hidden, if tied { EMBED_TOKENS } else { LM_HEAD })
    }

    fn attention(&self, layer: usize, names: &LayerNames, x: &[f64], cache: &mut Cache) -> Vec<f64> {
        let LlamaConfig { head_dim, num_attention_heads, num_key_value_heads, .. } = self.config;
        let mut query = self.linear(x, &names.q_proj);
        let mut key = self.linear(x, &names.k_proj);
        self.rotate(&mut query, cache.position);
        self.rotate(&mut key, cache.position);
        cache.keys[layer].extend(key);
        cache.values[layer].extend(self.linear(x, &names.v_proj));

        let width = self.config.key_value_size();
        let group = num_attention_heads / num_key_value_heads;
        let mut attended = vec![0.0; query.len()];
        for (head, (query, out)) in query.chunks(head_dim).zip(attended.chunks_mut(head_dim)).enumerate() {
            let shared = head / group * head_dim;
            let of_head = |row: &[f64]| shared..(shared + head_dim).min(row.len());
            let scores: Vec<f64> = cache.keys[layer]
                .chunks(width)
                .map(|key| dot(query, &key[of_head(key)]) / (head_dim as f64).sqrt())
                .collect();
            for (weight, value) in softmax(&scores).into_iter().zip(cache.values[layer].chunks(width)) {
                for (out, value) in out.iter_mut().zip(&value[of_head(value)]) {
                    *out += weight * value;
                }
            }
        }
        self.linear(&attended, &names.o_proj)
    }

    /// Rotary embedding (Su et al. 2021, arXiv:2104.09864) in HF's layout: element `i` of a head turns with `i + head_dim/2`.
    /// The angle is rounded to single precision, as HF's is in every precision.
    fn rotate(&self, heads: &mut [f64], position: usize) {
        let half = self.inv_freq.len();
        for head in heads.chunks_mut(2 * half) {
            for (i, frequency) in self.inv_freq.iter().enumerate() {
                let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
                let (a, b) = (head[i], head[i + half]);
                head[i] = a * cos - b * sin;
                head[i + half] = b * cos + a * sin;
            }
        }
    }

    fn mlp(&self, names: &LayerNames, x: &[f64]) -> Vec<f64> {
        let mut gate = self.linear(x, &names.gate_proj);
        let up = self.linear(x, &names.up_proj);
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + (-*gate).exp()) * up;
        }
        self.linear(&gate, &names.down_proj)
    }

    fn rms_norm(&self, x: &[f64], name: &str) -> Vec<f64> {
        let mean_square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (mean_square + self.config.rms_norm_eps).sqrt();
        x.iter().zip(&self.weights[name]).map(|(x, &weight)| x * scale * f64::from(weight)).collect()
    }

    /// `x` times the transpose of the `[out, in]` weight.
    fn linear(&self, x: &[f64], name: &str) -> Vec<f64> {
        let row_product = |row: &[f32]| row.iter().zip(x).map(|(&weight, x)| f64::from(weight) * x).sum();
        self.weights[name].chunks(x.len()).map(row_product).collect()
    }
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn add(x: &mut [f64], y: &[f64]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|value| value / sum).collect()
}
