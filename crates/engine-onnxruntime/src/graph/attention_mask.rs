//! Padded batches of an exported graph: what `attention_mask` says is made what `GroupQueryAttention` can do.
//!
//! The operator knows how many tokens a sequence has, takes its first ones, and counts positions from 0. So the tokens of a row
//! that the mask leaves out go behind the others, wherever they were, and the rows of the result go back. A token's position is
//! then the number of attended tokens before it, as transformers' `generate` counts. The cache of a row has its attended tokens
//! first, too: a later forward appends to them, whatever the columns of its mask.

use super::{Graph, SEQLENS_K, TOTAL_SEQUENCE_LENGTH};
use crate::onnx::{AttributeProto, DataType, ONNX};

const MASK: &str = "attention_mask";
/// Where in its row a new token is computed, int64 `[batch, sequence]`.
const PLACES: &str = "input_ids.places";

impl Graph<'_> {
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
