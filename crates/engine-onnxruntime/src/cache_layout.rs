//! The tensors of the KV cache in a graph: their names, and the width of a head in them.

use llama::LlamaConfig;

/// The names of a layer's keys, and of its values: the input, and the output.
pub(crate) fn cache_names(layer: usize) -> [(String, String); 2] {
    ["key", "value"]
        .map(|part| (format!("past_key_values.{layer}.{part}"), format!("present.{layer}.{part}")))
}

/// The width of a head in attention and in its cache: `GroupQueryAttention` takes multiples of 16 only.
pub(crate) fn attention_head_dim(config: &LlamaConfig) -> usize {
    config.head_dim.next_multiple_of(16)
}
