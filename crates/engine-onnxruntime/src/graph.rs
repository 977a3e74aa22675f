//! LLaMA (Touvron et al. 2023, arXiv:2302.13971) as an ONNX graph.
//!
//! Weights keep HF's names and HF's `[out, in]` layout, so that an initializer is the checkpoint's own bytes. A node,
//! and its first output, is called as the HF module that it stands for.

mod attention_mask;

use half::{bf16, f16};
use llama::{EMBED_TOKENS, FINAL_NORM, LM_HEAD, LayerNames, LlamaConfig};
use protocol::Dtype;

use crate::all_reduce::{ALL_REDUCE, DOMAIN};
use crate::cache_layout::{attention_head_dim, cache_names};
use crate::fused::{Fused, GraphWeight, gate_up_name, graph_weights, qkv_name};
use crate::onnx::{
    AttributeProto, DataType, Dim, GraphProto, MICROSOFT, ModelProto, NodeProto, ONNX, TensorProto,
    ValueInfoProto,
};
use crate::quantized::{NumberFormats, codes_name, scales_name};
use crate::rotary;

/// The version of ONNX's operators: the first with `RMSNormalization`.
const OPSET: i64 = 23;

/// What goes into a graph and comes out of it. Both interfaces have
///
/// - `input_ids`, int64 `[batch, sequence]`,
/// - `past_key_values.{layer}.{key,value}`, `[batch, kv_heads, past, attention_head_dim]`,
/// - `logits`, `[batch, rows, vocab]`,
/// - `present.{layer}.{key,value}`, `[batch, kv_heads, max(past, total), attention_head_dim]`: the past with the new positions in
///   it. Past and present may be one buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// Lengths come in ready made: `seqlens_k`, int32 `[batch]`, the last position of each sequence, and
    /// `total_sequence_length`, an int32 scalar, the longest sequence with its new positions.
    Engine {
        /// The rows of `logits`.
        rows: LogitRows,
        /// The graph is one rank's: what its attention and its MLP return are terms of a sum over all ranks.
        sums: bool,
    },
    /// The one that HF's and Microsoft's exporters write: lengths and padding are read from `attention_mask`, int64
    /// `[batch, total]`; logits of every position.
    Exported,
}

impl Interface {
    /// The rows of `logits`.
    pub(crate) fn rows(self) -> LogitRows {
        match self {
            Self::Engine { rows, .. } => rows,
            Self::Exported => LogitRows::All,
        }
    }
}

/// The positions whose logits a forward computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogitRows {
    /// The last one: `rows` is 1.
    Last,
    /// Every new one: `rows` is `sequence`.
    All,
}

/// The graph of `config` in `formats`. Its weights, [`graph_weights`], have shapes but no data: the caller says where
/// their bytes are.
pub(crate) fn llama(
    config: &LlamaConfig,
    formats: impl Into<NumberFormats>,
    interface: Interface,
    fused: Fused,
) -> ModelProto {
    let formats = formats.into();
    let proto = GraphProto { name: "llama".into(), ..GraphProto::default() };
    let sums = matches!(interface, Interface::Engine { sums: true, .. });
    let (data_type, weights) = (formats.dtype.into(), graph_weights(config, fused));
    let mut graph = GraphBuilder { config, formats, data_type, weights, sums, fused, proto };
    graph.declare_inputs(interface);
    graph.declare_weights();
    graph.rotary_tables(formats.dtype);
    if interface == Interface::Exported {
        graph.read_mask();
    }
    graph.forward(interface);
    graph.declare_outputs(interface.rows());
    let mut model = ModelProto::new(graph.proto, OPSET);
    if sums {
        model.import(DOMAIN, 1);
    }
    model
}

struct GraphBuilder<'a> {
    config: &'a LlamaConfig,
    formats: NumberFormats,
    data_type: DataType,
    weights: Vec<GraphWeight>,
    sums: bool,
    fused: Fused,
    proto: GraphProto,
}

impl GraphBuilder<'_> {
    fn forward(&mut self, interface: Interface) {
        let layers: Vec<LayerNames> = (0..self.config.num_hidden_layers).map(LayerNames::new).collect();
        let is_padded = interface == Interface::Exported;
        let ids = if is_padded { self.in_places("input_ids") } else { "input_ids".into() };
        let mut residual = self.embed(&ids);
        let mut normed = self.rms_norm(&residual, &layers[0].input_layernorm);
        for (layer, names) in layers.iter().enumerate() {
            let attended = self.attention(layer, names, &normed);
            (normed, residual) = self.add_and_norm(&attended, &residual, &names.post_attention_layernorm);
            let mlp = self.mlp(layer, names, &normed);
            let next = layers.get(layer + 1).map_or(FINAL_NORM, |next| &next.input_layernorm);
            (normed, residual) = self.add_and_norm(&mlp, &residual, next);
        }

        if is_padded {
            normed = self.as_given(&normed);
        }
        if interface.rows() == LogitRows::Last {
            let last = self.int64_constant("last_position", &[1], -1);
            let axis = [AttributeProto::int("axis", 1)];
            normed = self.node(ONNX, "Gather", "model.last_hidden_state", &[&normed, &last], &axis);
        }
        let head = if self.config.tie_word_embeddings { EMBED_TOKENS } else { LM_HEAD };
        self.product("logits", &normed, head);
    }

    /// Grouped-query attention with rotary embedding; the new keys and values join the cache.
    fn attention(&mut self, layer: usize, names: &LayerNames, normed: &str) -> String {
        let config = self.config;
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let [query, key, value] = if self.fused.qkv {
            // Packed: key and value follow the query in one tensor.
            [self.linear(normed, &qkv_name(layer)), String::new(), String::new()]
        } else {
            [(&names.q_proj, heads), (&names.k_proj, kv_heads), (&names.v_proj, kv_heads)].map(
                |(weight, heads)| {
                    let part = self.linear(normed, weight);
                    self.widen_heads(part, heads)
                },
            )
        };
        let [(past_key, present_key), (past_value, present_value)] = cache_names(layer);

        let name = format!("model.layers.{layer}.self_attn");
        let inputs = [
            &query,
            &key,
            &value,
            &past_key,
            &past_value,
            SEQLENS_K,
            TOTAL_SEQUENCE_LENGTH,
            COS_TABLE,
            SIN_TABLE,
        ];
        let attributes = [
            AttributeProto::int("num_heads", heads as i64),
            AttributeProto::int("kv_num_heads", kv_heads as i64),
            AttributeProto::float("scale", (config.head_dim as f32).sqrt().recip()),
            AttributeProto::int("do_rotary", 1),
            // HF turns element i of a head with i + head_dim/2, not with its neighbour.
            AttributeProto::int("rotary_interleaved", 0),
        ];
        let outputs = [name.as_str(), &present_key, &present_value];
        self.node_with_outputs(MICROSOFT, "GroupQueryAttention", &name, &inputs, &outputs, &attributes);
        let attended = self.narrow_heads(name, heads);
        self.row_parallel(&attended, &names.o_proj)
    }

    /// Adds zeros to both halves of each head, where attention needs it wider than the model has it. The halves turn
    /// with each other, and zeros stay zeros; neither scores nor weighted sums change.
    fn widen_heads(&mut self, x: String, heads: usize) -> String {
        let (half, wide) = (self.config.head_dim / 2, attention_head_dim(self.config) / 2);
        if half == wide {
            return x;
        }
        let halves = self.reshape(&x, "halves", &[0, 0, 2 * heads as i64, half as i64]);
        let zeros = self.int64_vector("head.zeros", &[0, 0, 0, 0, 0, 0, 0, (wide - half) as i64]);
        let widened = self.node(ONNX, "Pad", &format!("{x}.widened"), &[&halves, &zeros], &[]);
        self.reshape(&widened, "heads", &[0, 0, (2 * heads * wide) as i64])
    }

    /// Takes out what [`Self::widen_heads`] added.
    fn narrow_heads(&mut self, x: String, heads: usize) -> String {
        let (half, wide) = (self.config.head_dim / 2, attention_head_dim(self.config) / 2);
        if half == wide {
            return x;
        }
        let halves = self.reshape(&x, "halves", &[0, 0, 2 * heads as i64, wide as i64]);
        let [start, end, axis] = [("start", 0), ("end", half as i64), ("axis", 3)]
            .map(|(name, value)| self.int64_vector(&format!("head.{name}"), &[value]));
        let narrowed =
            self.node(ONNX, "Slice", &format!("{x}.narrowed"), &[&halves, &start, &end, &axis], &[]);
        self.reshape(&narrowed, "heads", &[0, 0, (2 * heads * half) as i64])
    }

    /// A 0 keeps the dimension of `x`.
    fn reshape(&mut self, x: &str, what: &str, shape: &[i64]) -> String {
        let name = format!("{x}.{what}");
        let shape = self.int64_vector(&format!("{name}.shape"), shape);
        self.node(ONNX, "Reshape", &name, &[x, &shape], &[])
    }

    /// `down(silu(gate(x)) * up(x))`. ONNX Runtime fuses the sigmoid and the first product into one node.
    fn mlp(&mut self, layer: usize, names: &LayerNames, normed: &str) -> String {
        let part = |part: &str| format!("model.layers.{layer}.mlp.{part}");
        let (gate, up) = if self.fused.gate_up {
            let both = self.linear(normed, &gate_up_name(layer));
            let (gate, up) = (part("gate"), part("up"));
            let halves = [AttributeProto::int("axis", -1), AttributeProto::int("num_outputs", 2)];
            self.node_with_outputs(ONNX, "Split", &part("split"), &[&both], &[&gate, &up], &halves);
            (gate, up)
        } else {
            (self.linear(normed, &names.gate_proj), self.linear(normed, &names.up_proj))
        };
        let sigmoid = self.node(ONNX, "Sigmoid", &part("sigmoid"), &[&gate], &[]);
        let silu = self.node(ONNX, "Mul", &part("silu"), &[&gate, &sigmoid], &[]);
        let gated = self.node(ONNX, "Mul", &part("gated"), &[&silu, &up], &[]);
        self.row_parallel(&gated, &names.down_proj)
    }

    fn embed(&mut self, ids: &str) -> String {
        self.node(ONNX, "Gather", module(EMBED_TOKENS), &[EMBED_TOKENS, ids], &[])
    }

    fn rms_norm(&mut self, x: &str, weight: &str) -> String {
        let attributes = [self.epsilon(), AttributeProto::int("axis", -1)];
        self.node(ONNX, "RMSNormalization", module(weight), &[x, weight], &attributes)
    }

    /// The norm of `x + residual`, and that sum: the next residual.
    fn add_and_norm(&mut self, x: &str, residual: &str, weight: &str) -> (String, String) {
        let name = module(weight);
        let sum = format!("{name}.residual");
        let (mean, inverse_deviation) = ("", "");
        let attributes = [self.epsilon()];
        self.node_with_outputs(
            MICROSOFT,
            "SkipSimplifiedLayerNormalization",
            name,
            &[x, residual, weight],
            &[name, mean, inverse_deviation, &sum],
            &attributes,
        );
        (name.into(), sum)
    }

    fn epsilon(&self) -> AttributeProto {
        AttributeProto::float("epsilon", self.config.rms_norm_eps as f32)
    }

    fn linear(&mut self, x: &str, weight: &str) -> String {
        self.product(module(weight), x, weight)
    }

    /// A linear layer of which a rank has some of the inputs.
    fn row_parallel(&mut self, x: &str, weight: &str) -> String {
        let terms = self.linear(x, weight);
        if !self.sums {
            return terms;
        }
        self.node(DOMAIN, ALL_REDUCE, &format!("{terms}.sum"), &[&terms], &[])
    }

    /// `x` times the transpose of the `[out, in]` weight.
    fn product(&mut self, name: &str, x: &str, weight: &str) -> String {
        let quantized = self.formats.quantized.and_then(|quantized| {
            let weight = self.weights.iter().find(|one| one.name == weight)?;
            weight.is_projection().then(|| quantized.attributes(weight))
        });
        if let Some(attributes) = quantized {
            let inputs = [x, &codes_name(weight), &scales_name(weight)];
            return self.node(MICROSOFT, "MatMulNBits", name, &inputs, &attributes);
        }
        self.node(MICROSOFT, "FusedMatMul", name, &[x, weight], &[AttributeProto::int("transB", 1)])
    }

    fn rotary_tables(&mut self, dtype: Dtype) {
        let (cos, sin) = rotary::tables(self.config, attention_head_dim(self.config) / 2);
        let pairs = attention_head_dim(self.config) / 2;
        let dims = [self.config.max_position_embeddings as i64, pairs as i64];
        for (name, table) in [(COS_TABLE, cos), (SIN_TABLE, sin)] {
            let bytes = table.iter().flat_map(|&value| rounded(value, dtype)).collect();
            self.proto.initializer.push(TensorProto::raw(name, self.data_type, &dims, bytes));
        }
    }

    fn int64_vector(&mut self, name: &str, values: &[i64]) -> String {
        let known = self.proto.initializer.iter().any(|tensor| tensor.name == name);
        if !known {
            self.proto.initializer.push(TensorProto::int64(name, &[values.len() as i64], values));
        }
        name.into()
    }

    fn int64_constant(&mut self, name: &str, dims: &[i64], value: i64) -> String {
        self.proto.initializer.push(TensorProto::int64(name, dims, &[value]));
        name.into()
    }

    /// A node with one output, which has the node's name.
    fn node(
        &mut self,
        domain: &str,
        op_type: &str,
        name: &str,
        inputs: &[&str],
        attributes: &[AttributeProto],
    ) -> String {
        self.node_with_outputs(domain, op_type, name, inputs, &[name], attributes);
        name.into()
    }

    fn node_with_outputs(
        &mut self,
        domain: &str,
        op_type: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[AttributeProto],
    ) {
        self.proto.node.push(NodeProto::new(domain, op_type, name, inputs, outputs, attributes));
    }

    fn declare_weights(&mut self) {
        let NumberFormats { dtype, quantized } = self.formats;
        for weight in &self.weights {
            if let Some(quantized) = quantized.filter(|_| weight.is_projection()) {
                self.proto.initializer.extend(quantized.tensors(weight, dtype));
                continue;
            }
            let dims = weight.shape.iter().map(|&size| size as i64).collect();
            let (name, data_type) = (weight.name.clone(), self.data_type.into());
            self.proto.initializer.push(TensorProto { name, dims, data_type, ..TensorProto::default() });
        }
    }

    fn declare_inputs(&mut self, interface: Interface) {
        let mut input = |name: &str, data_type, dims: Vec<Dim>| {
            self.proto.input.push(ValueInfoProto::tensor(name, data_type, dims));
        };
        input("input_ids", DataType::Int64, vec![BATCH.into(), SEQUENCE.into()]);
        match interface {
            Interface::Engine { .. } => {
                input(SEQLENS_K, DataType::Int32, vec![BATCH.into()]);
                input(TOTAL_SEQUENCE_LENGTH, DataType::Int32, vec![]);
            }
            Interface::Exported => {
                input("attention_mask", DataType::Int64, vec![BATCH.into(), TOTAL_SEQUENCE_LENGTH.into()]);
            }
        }
        for (past, _) in (0..self.config.num_hidden_layers).flat_map(cache_names) {
            self.proto.input.push(self.cache(&past, "past_sequence_length"));
        }
    }

    fn declare_outputs(&mut self, rows: LogitRows) {
        let rows = if rows == LogitRows::Last { 1.into() } else { SEQUENCE.into() };
        let dims = [BATCH.into(), rows, self.config.vocab_size.into()];
        self.proto.output.push(ValueInfoProto::tensor("logits", self.data_type, dims));
        for (_, present) in (0..self.config.num_hidden_layers).flat_map(cache_names) {
            self.proto.output.push(self.cache(&present, "present_sequence_length"));
        }
    }

    fn cache(&self, name: &str, length: &str) -> ValueInfoProto {
        let heads = self.config.num_key_value_heads;
        let dims = [BATCH.into(), heads.into(), length.into(), attention_head_dim(self.config).into()];
        ValueInfoProto::tensor(name, self.data_type, dims)
    }
}

/// Dimensions as Microsoft's exporter calls them.
const BATCH: &str = "batch_size";
const SEQUENCE: &str = "sequence_length";

/// What tells attention how long the sequences are: inputs, or computed from one.
pub(crate) const SEQLENS_K: &str = "seqlens_k";
pub(crate) const TOTAL_SEQUENCE_LENGTH: &str = "total_sequence_length";

const COS_TABLE: &str = "rotary.cos";
const SIN_TABLE: &str = "rotary.sin";

/// The HF module that a weight belongs to.
fn module(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}

/// The little-endian bytes of `value` in `dtype`.
fn rounded(value: f32, dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::Fp32 => value.to_le_bytes().into(),
        Dtype::Fp16 => f16::from_f32(value).to_le_bytes().into(),
        Dtype::Bf16 => bf16::from_f32(value).to_le_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products, and nodes, of the graph of the 7B model after `change`.
    fn nodes(fused: bool, change: impl FnOnce(&mut LlamaConfig)) -> (usize, usize) {
        let text = include_str!("../../../configs/models/llama2-7b.json");
        let mut config = LlamaConfig::parse(text, "config.json").unwrap();
        change(&mut config);
        let fused = if fused { Fused::most(&config) } else { Fused::NONE };
        let interface = Interface::Engine { rows: LogitRows::Last, sums: false };
        let nodes = llama(&config, Dtype::Fp16, interface, fused).graph.unwrap().node;
        (nodes.iter().filter(|node| node.op_type == "FusedMatMul").count(), nodes.len())
    }

    #[test]
    fn fused_a_layer_has_four_products_in_place_of_seven() {
        // A layer: 7 products, 3 nodes for silu(gate) * up, attention, 2 norms. Beside: embedding, first norm, last row, head.
        assert_eq!(nodes(false, |_| ()), (32 * 7 + 1, 32 * 13 + 4));
        // 3 products fewer, a split more.
        assert_eq!(nodes(true, |_| ()), (32 * 4 + 1, 32 * 11 + 4));
    }

    #[test]
    fn heads_that_are_widened_leave_six_products_a_layer() {
        assert_eq!(nodes(true, |config| config.head_dim = 40).0, 32 * 6 + 1);
    }
}
