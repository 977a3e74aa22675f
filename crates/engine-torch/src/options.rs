//! The engine's own options, as a sweep writes them.

use worker::{OptionError, take_word, unknown_options};

use crate::TorchEngine;

/// How attention is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttentionKind {
    /// `scaled_dot_product_attention`: HF's default.
    Sdpa,
    /// Matmul, softmax, matmul: the scores are materialised.
    Eager,
}

/// How the KV cache grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheKind {
    /// By concatenation, as HF's `DynamicCache`.
    Dynamic,
    /// Not at all: allocated for the whole generation and written in place.
    Static,
}

/// Which positions of a prompt the head is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogitsKept {
    /// The last, as HF's `generate` asks (`logits_to_keep=1`).
    Last,
    /// Every one, as HF's `forward` does by itself.
    All,
}

/// What computes the linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinearKind {
    /// `at::linear`, as HF: on a CPU MKL in FP32, oneDNN in half precision.
    Aten,
    /// oneDNN, on weights that are laid out for it.
    OneDnn,
}

const ATTENTION: [&str; 3] = ["sdpa", "eager", "cudnn"];
/// What [`TorchEngine::Aoti`] is compiled for.
const ATTENTION_COMPILED: [&str; 1] = ["sdpa"];
const KV_CACHE: [&str; 2] = ["dynamic", "static"];
/// Of a decode forward that is captured once, nothing may move; compiled code writes into buffers that it is given.
const KV_CACHE_STATIC: [&str; 1] = ["static"];
const LOGITS: [&str; 2] = ["last", "all"];
const LINEAR: [&str; 2] = ["aten", "onednn"];
/// oneDNN is for the CPU, where there are no CUDA graphs; and is not built into the script.
const LINEAR_OF_OTHERS: [&str; 1] = ["aten"];

/// Names and words, the default first.
pub(crate) fn words(engine: TorchEngine) -> [(&'static str, &'static [&'static str]); 4] {
    let (attention, kv_cache, linear): (&[&str], &[&str], &[&str]) = match engine {
        TorchEngine::Eager => (&ATTENTION, &KV_CACHE, &LINEAR),
        TorchEngine::Compile => (&ATTENTION, &KV_CACHE, &LINEAR_OF_OTHERS),
        TorchEngine::CudaGraph => (&ATTENTION, &KV_CACHE_STATIC, &LINEAR_OF_OTHERS),
        TorchEngine::Aoti => (&ATTENTION_COMPILED, &KV_CACHE_STATIC, &LINEAR),
    };
    [("attention", attention), ("kv_cache", kv_cache), ("linear", linear), ("logits", &LOGITS)]
}

/// The engines' options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) attention: AttentionKind,
    /// Whether `sdpa` may choose cuDNN's kernels on a GPU. On Hopper libtorch prefers them, and plans anew for every length,
    /// which is every token's.
    pub(crate) cudnn: bool,
    pub(crate) kv_cache: CacheKind,
    pub(crate) linear: LinearKind,
    pub(crate) logits: LogitsKept,
}

impl Options {
    /// Reads the options of a request. The first word of each is the default.
    pub(crate) fn read(engine: TorchEngine, options: &protocol::Options) -> Result<Self, OptionError> {
        let mut left = options.clone();
        let words = words(engine);
        let (attention, cudnn) = match take_word(&mut left, "attention", words[0].1)? {
            "eager" => (AttentionKind::Eager, false),
            word => (AttentionKind::Sdpa, word == "cudnn"),
        };
        let kv_cache = match take_word(&mut left, "kv_cache", words[1].1)? {
            "static" => CacheKind::Static,
            _ => CacheKind::Dynamic,
        };
        let linear = match take_word(&mut left, "linear", words[2].1)? {
            "onednn" => LinearKind::OneDnn,
            _ => LinearKind::Aten,
        };
        let logits = match take_word(&mut left, "logits", words[3].1)? {
            "all" => LogitsKept::All,
            _ => LogitsKept::Last,
        };
        unknown_options(&left, &words.map(|(name, _)| name))?;
        Ok(Self { attention, cudnn, kv_cache, linear, logits })
    }
}
