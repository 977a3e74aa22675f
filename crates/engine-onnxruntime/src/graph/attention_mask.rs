//! Padded batches of an exported graph: turns `attention_mask` into what `GroupQueryAttention` supports.
//!
//! The operator knows how many tokens a sequence has, takes its first ones, and counts positions from 0. So the tokens of a row
//! that the mask leaves out go behind the others, wherever they were, and the rows of the result go back. A token's position is
//! then the number of attended tokens before it, as transformers' `generate` counts. The cache of a row has its attended tokens
//! first, too: a later forward appends to them, whatever the columns of its mask.

use super::{GraphBuilder, SEQLENS_K, TOTAL_SEQUENCE_LENGTH};
use crate::onnx::{AttributeProto, DataType, ONNX};

const MASK: &str = "attention_mask";
/// Where in its row a new token is computed, int64 `[batch, sequence]`.
const PLACES: &str = "input_ids.places";

impl GraphBuilder<'_> {
    /// Computes `seqlens_k` and `total_sequence_length` from the mask, and [`PLACES`] from its last columns, the new tokens'.
    pub(super) fn read_mask(&mut self) {
        let one = self.int64_vector("one", &[1]);
        let to_int32 = [AttributeProto::int("to", DataType::Int32 as i64)];

        let flat = [AttributeProto::int("keepdims", 0)];
        let count = self.node(ONNX, "ReduceSum", "attention_mask.count", &[MASK, &one], &flat);
        let last = self.node(ONNX, "Sub", "attention_mask.last", &[&count, &one], &[]);
        self.node(ONNX, "Cast", SEQLENS_K, &[&last], &to_int32);

        let length = self.second_dimension(MASK, &[]);
        self.node(ONNX, "Cast", TOTAL_SEQUENCE_LENGTH, &[&length], &to_int32);

        let new = self.second_dimension("input_ids", &[1]);
        let start = self.node(ONNX, "Neg", "attention_mask.start", &[&new], &[]);
        let end = self.int64_vector("end", &[i64::MAX]);
        let attended = self.node(ONNX, "Slice", "attention_mask.new", &[MASK, &start, &end, &one], &[]);
        let left_out = self.node(ONNX, "Sub", "attention_mask.left_out", &[&one, &attended], &[]);
        let axis = self.int64_constant("row_axis", &[], 1);
        let [rank, rank_left_out] = [&attended, &left_out]
            .map(|tokens| self.node(ONNX, "CumSum", &format!("{tokens}.rank"), &[tokens, &axis], &[]));
        let all = self.node(ONNX, "ReduceSum", "attention_mask.new.count", &[&attended, &one], &[]);
        let behind = self.node(ONNX, "Add", "attention_mask.behind", &[&all, &rank_left_out], &[]);
        let to_bool = [AttributeProto::int("to", DataType::Bool as i64)];
        let is_attended = self.node(ONNX, "Cast", "attention_mask.is_attended", &[&attended], &to_bool);
        let places = self.node(ONNX, "Where", "input_ids.ranks", &[&is_attended, &rank, &behind], &[]);
        self.node(ONNX, "Sub", PLACES, &[&places, &one], &[]);
    }

    /// The new tokens, each in its place.
    pub(super) fn in_places(&mut self, ids: &str) -> String {
        let axis = [AttributeProto::int("axis", 1)];
        self.node(ONNX, "ScatterElements", "input_ids.placed", &[ids, PLACES, ids], &axis)
    }

    /// The rows of `hidden`, `[batch, sequence, hidden_size]`, in the order in which the tokens were given.
    pub(super) fn as_given(&mut self, hidden: &str) -> String {
        let last = self.int64_vector("last_axis", &[-1]);
        let places = self.node(ONNX, "Unsqueeze", "input_ids.places.of_rows", &[PLACES, &last], &[]);
        let of_row = [AttributeProto::int("batch_dims", 1)];
        self.node(ONNX, "GatherND", &format!("{hidden}.as_given"), &[hidden, &places], &of_row)
    }

    /// The second dimension of `tensor`, as an int64 tensor of the dimensions `dims`: none, or one of size 1.
    fn second_dimension(&mut self, tensor: &str, dims: &[i64]) -> String {
        let shape = self.node(ONNX, "Shape", &format!("{tensor}.shape"), &[tensor], &[]);
        let name = if dims.is_empty() { "second_dimension" } else { "second_dimensions" };
        let second = self.int64_constant(name, dims, 1);
        self.node(ONNX, "Gather", &format!("{tensor}.length"), &[&shape, &second], &[])
    }
}

#[cfg(test)]
mod tests {
    use llama::Weights;
    use ort::session::{Session, SessionInputValue};
    use ort::value::Tensor;
    use prost::Message;
    use protocol::{Dtype, ModelSource};
    use serde_json::json;
    use worker::Reporter;

    use crate::cache_layout::cache_names;
    use crate::fused::Fused;
    use crate::graph::{Interface, llama};
    use crate::initializers::{Initializers, Lifetime};
    use crate::library::OnnxRuntimeLibrary;

    const LAYERS: usize = 2;
    const VOCAB_SIZE: usize = 32;
    const KV_HEADS: usize = 1;
    const HEAD_DIM: usize = 16;

    fn session() -> Session {
        let config = json!({
            "vocab_size": VOCAB_SIZE, "hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": LAYERS,
            "num_attention_heads": 2, "num_key_value_heads": KV_HEADS, "max_position_embeddings": 16,
        });
        let weights = Weights::open(&ModelSource::Seeded { config, seed: 0 }).unwrap();
        let initializers = Initializers::new(&weights, Dtype::Fp32, Fused::NONE, &Reporter::silent());
        let mut model = llama(weights.config(), Dtype::Fp32, Interface::Exported, Fused::NONE);
        initializers.place(&mut model);
        let builder = Session::builder(&OnnxRuntimeLibrary::load().unwrap().environment).unwrap();
        // SAFETY: the session copies the weights, which are made, and is made before they go.
        let mut builder = unsafe { initializers.add_to(builder, Lifetime::Copied) }.unwrap();
        builder.commit_from_memory(&model.encode_to_vec()).unwrap()
    }

    /// Keys and values of each layer: positions, and numbers.
    type Past = Vec<(usize, Vec<f32>)>;

    /// One forward of several rows: the logits of each position of each row, and the cache.
    fn forward(
        session: &mut Session,
        rows: &[&[i64]],
        masks: &[&[i64]],
        past: &Past,
    ) -> (Vec<Vec<Vec<f32>>>, Past) {
        let (batch, length, total) = (rows.len(), rows[0].len(), masks[0].len());
        let mut inputs: Vec<(String, SessionInputValue<'_>)> = vec![
            ("input_ids".into(), Tensor::from_array(([batch, length], rows.concat())).unwrap().into()),
            ("attention_mask".into(), Tensor::from_array(([batch, total], masks.concat())).unwrap().into()),
        ];
        for ((name, _), (positions, numbers)) in (0..LAYERS).flat_map(cache_names).zip(past) {
            let shape = [batch, KV_HEADS, *positions, HEAD_DIM];
            inputs.push((name, Tensor::from_array((shape, numbers.clone())).unwrap().into()));
        }
        let outputs = session.run(inputs).unwrap();
        let (_, logits) = outputs["logits"].try_extract_tensor::<f32>().unwrap();
        let rows = logits.chunks(length * VOCAB_SIZE);
        let logits = rows.map(|row| row.chunks(VOCAB_SIZE).map(<[f32]>::to_vec).collect()).collect();
        let present = (0..LAYERS).flat_map(cache_names).map(|(_, name)| {
            let (shape, numbers) = outputs[name.as_str()].try_extract_tensor::<f32>().unwrap();
            (shape[2] as usize, numbers.to_vec())
        });
        (logits, present.collect())
    }

    fn nothing() -> Past {
        vec![(0, Vec::new()); 2 * LAYERS]
    }

    fn assert_close(found: &[f32], expected: &[f32], what: &str) {
        let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 1e-5, "{what}: {error:e}");
    }

    /// A row is computed as if it were alone, wherever it is padded: in the prompt, and in two tokens behind it.
    #[test]
    fn padded_rows_are_computed_as_if_alone() {
        let mut session = session();
        let prompts: [&[i64]; 3] = [&[1, 5, 9, 7, 3], &[1, 4], &[2, 8, 6]];
        let next: [[i64; 2]; 3] = [[11, 12], [13, 14], [15, 16]];
        let alone: Vec<[Vec<f32>; 3]> = prompts
            .iter()
            .zip(next)
            .map(|(prompt, next)| {
                let ones = vec![1i64; prompt.len() + 2];
                let (first, cache) = forward(&mut session, &[prompt], &[&ones[..prompt.len()]], &nothing());
                let (second, cache) = forward(&mut session, &[&next[..1]], &[&ones[..=prompt.len()]], &cache);
                let (third, _) = forward(&mut session, &[&next[1..]], &[&ones], &cache);
                [first, second, third].map(|logits| logits[0].last().unwrap().clone())
            })
            .collect();
        // The columns of the prompt that the tokens of each row are in.
        let left: [&[usize]; 3] = [&[0, 1, 2, 3, 4], &[3, 4], &[2, 3, 4]];
        let right: [&[usize]; 3] = [&[0, 1, 2, 3, 4], &[0, 1], &[0, 1, 2]];
        let with_gaps: [&[usize]; 3] = [&[0, 1, 2, 3, 4], &[1, 3], &[0, 2, 4]];
        for (how, columns) in [("left", left), ("right", right), ("gaps", with_gaps)] {
            let (mut rows, mut masks) = ([[0i64; 5]; 3], [[0i64; 5]; 3]);
            for (row, columns) in columns.iter().enumerate() {
                for (&column, &token) in columns.iter().zip(prompts[row]) {
                    (rows[row][column], masks[row][column]) = (token, 1);
                }
            }
            let mut cache = nothing();
            let mut masks = masks.map(Vec::from);
            for step in 0..3 {
                let rows: Vec<Vec<i64>> = match step {
                    0 => rows.map(Vec::from).into(),
                    _ => next.map(|next| vec![next[step - 1]]).into(),
                };
                let ids: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
                let of_step: Vec<&[i64]> = masks.iter().map(Vec::as_slice).collect();
                let (logits, present) = forward(&mut session, &ids, &of_step, &cache);
                for (row, columns) in columns.iter().enumerate() {
                    let at = if step == 0 { *columns.last().unwrap() } else { 0 };
                    assert_close(
                        &logits[row][at],
                        &alone[row][step],
                        &format!("{how}, row {row}, step {step}"),
                    );
                }
                cache = present;
                masks.iter_mut().for_each(|mask| mask.push(1));
            }
        }
    }
}
