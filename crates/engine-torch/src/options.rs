//! The engine's own options, as a sweep writes them.

use worker::{OptionError, take_flag, take_word, unknown_options};

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
    /// Grows by concatenation, like HF's `DynamicCache`.
    Dynamic,
    /// Does not grow: allocated for the whole generation and written in place.
    Static,
}

/// The positions of a prompt that the head is applied to.
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
    /// `at::linear`, as HF: on a CPU MKL in FP32, oneDNN in half dtype.
    Aten,
    /// oneDNN, on weights that are repacked for it.
    OneDnn,
}

const ATTENTION: [&str; 3] = ["sdpa", "eager", "cudnn"];
/// What [`TorchEngine::Aoti`] is compiled for.
const ATTENTION_COMPILED: [&str; 1] = ["sdpa"];
const KV_CACHE: [&str; 2] = ["dynamic", "static"];
/// The only cache of a captured decode forward, in which nothing may move, and of compiled code, which writes into given buffers.
const KV_CACHE_STATIC: [&str; 1] = ["static"];
const LOGITS: [&str; 2] = ["last", "all"];
const LINEAR: [&str; 2] = ["aten", "onednn"];
/// oneDNN is for the CPU, where there are no CUDA graphs; and is not built into the script.
const LINEAR_OF_OTHERS: [&str; 1] = ["aten"];
/// A graph writes into the same logits and cache each time: it keeps nothing.
const KEEP_OUTPUTS: [&str; 2] = ["false", "true"];

/// Of a precision with quantized weights: libtorch's products with them take other formats on other devices.
const ACTIVATIONS: [&str; 2] = ["precision", "bf16"];

/// Names and words, the default first.
pub(crate) fn words(engine: TorchEngine) -> Vec<(&'static str, &'static [&'static str])> {
    let (attention, kv_cache, linear): (&[&str], &[&str], &[&str]) = match engine {
        TorchEngine::Eager => (&ATTENTION, &KV_CACHE, &LINEAR),
        TorchEngine::Compile => (&ATTENTION, &KV_CACHE, &LINEAR_OF_OTHERS),
        TorchEngine::CudaGraph => (&ATTENTION, &KV_CACHE_STATIC, &LINEAR_OF_OTHERS),
        TorchEngine::Aoti => (&ATTENTION_COMPILED, &KV_CACHE_STATIC, &LINEAR),
    };
    let mut words =
        vec![("attention", attention), ("kv_cache", kv_cache), ("linear", linear), ("logits", &LOGITS[..])];
    if keeps_outputs(engine) {
        words.push(("keep_outputs", &KEEP_OUTPUTS));
    }
    if engine == TorchEngine::Eager {
        words.push(("activations", &ACTIVATIONS));
    }
    words
}

/// Whether the engine has the option `keep_outputs`.
fn keeps_outputs(engine: TorchEngine) -> bool {
    matches!(engine, TorchEngine::Eager | TorchEngine::Compile)
}

/// The engines' options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TorchOptions {
    pub(crate) attention: AttentionKind,
    /// Whether `sdpa` may choose cuDNN's kernels on a GPU. On Hopper libtorch prefers them, and plans anew for every length,
    /// which is every token's.
    pub(crate) cudnn: bool,
    pub(crate) kv_cache: CacheKind,
    pub(crate) linear: LinearKind,
    pub(crate) logits: LogitsKept,
    /// Whether a forward's outputs, logits in FP32 and KV cache, live until the next forward is done, as in the loop that the
    /// published tables were measured with.
    pub(crate) keep_outputs: bool,
    /// Whether activations, and what is not quantized, are in BF16 beside quantized weights.
    pub(crate) bf16_activations: bool,
}

impl TorchOptions {
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
        let keep_outputs = keeps_outputs(engine) && take_flag(&mut left, "keep_outputs", false)?;
        let bf16_activations =
            engine == TorchEngine::Eager && take_word(&mut left, "activations", &ACTIVATIONS)? == "bf16";
        let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
        unknown_options(&left, &names)?;
        Ok(Self { attention, cudnn, kv_cache, linear, logits, keep_outputs, bf16_activations })
    }
}
