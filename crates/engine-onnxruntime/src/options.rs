//! The engine's own options.

use anyhow::{Result, ensure};
use protocol::LoadRequest;
use worker::{take_flag, take_word, unknown_options};

use crate::graph::LogitRows;
use crate::interface::Lengths;
use crate::kv_cache::Growth;
use crate::quantized::Accuracy;

const ACCURACY_LEVELS: [&str; 2] = ["int8", "fp32"];
const LOGITS: [&str; 2] = ["last", "all"];
const KV_CACHE: [&str; 2] = ["static", "dynamic"];

/// The engine's own options with their words, the default first.
pub(crate) const WORDS: [(&str, &[&str]); 7] = [
    ("prepacking", &["true", "false"]),
    ("logits", &LOGITS),
    ("kv_cache", &KV_CACHE),
    ("cuda_graph", &["false", "true"]),
    ("fused", &["false", "true"]),
    ("keep_outputs", &["false", "true"]),
    ("accuracy_level", &ACCURACY_LEVELS),
];

/// The engine's own options.
pub(crate) struct OnnxOptions {
    /// Repack weights at load for the processor's kernels.
    pub(crate) prepacking: bool,
    /// The positions whose logits a forward computes.
    pub(crate) rows: LogitRows,
    /// How the KV cache grows.
    pub(crate) growth: Growth,
    /// Capture decode forwards in a CUDA graph.
    pub(crate) cuda_graph: bool,
    /// Join products of the same input.
    pub(crate) fused: bool,
    /// Keep a forward's outputs until the next one's are there.
    pub(crate) keep_outputs: bool,
    /// The least precise type that a CPU's products with quantized weights may round activations to.
    pub(crate) accuracy: Accuracy,
}

impl OnnxOptions {
    /// Takes them from a request.
    pub(crate) fn take(request: &LoadRequest) -> Result<Self> {
        let mut options = request.options.clone();
        let prepacking = take_flag(&mut options, "prepacking", true)?;
        let rows = match take_word(&mut options, "logits", &LOGITS)? {
            "last" => LogitRows::Last,
            _ => LogitRows::All,
        };
        let growth = match take_word(&mut options, "kv_cache", &KV_CACHE)? {
            "static" => Growth::Static,
            _ => Growth::Dynamic,
        };
        let cuda_graph = take_flag(&mut options, "cuda_graph", false)?;
        let fused = take_flag(&mut options, "fused", false)?;
        let keep_outputs = take_flag(&mut options, "keep_outputs", false)?;
        let accuracy = match take_word(&mut options, "accuracy_level", &ACCURACY_LEVELS)? {
            "int8" => Accuracy::Int8,
            _ => Accuracy::Fp32,
        };
        unknown_options(&options, &WORDS.map(|(name, _)| name))?;
        ensure!(
            !(cuda_graph && keep_outputs),
            "option keep_outputs: a CUDA graph writes to the same memory each time: use cuda_graph = false"
        );
        Ok(Self { prepacking, rows, growth, cuda_graph, fused, keep_outputs, accuracy })
    }
}

/// Checks that the decode forwards of a model can be captured.
pub(crate) fn check_capture(lengths: Lengths, growth: Growth) -> Result<()> {
    ensure!(lengths == Lengths::Given, "option cuda_graph: a model file's inputs can't stay in one place");
    ensure!(
        growth == Growth::Static,
        "option cuda_graph: nothing may move in a captured graph: use kv_cache = \"static\""
    );
    Ok(())
}
