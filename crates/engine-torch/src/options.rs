//! The engine's own options, as a sweep writes them.

use worker::{OptionError, take_word, unknown_options};

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

const ATTENTION: [&str; 2] = ["sdpa", "eager"];
const KV_CACHE: [&str; 2] = ["dynamic", "static"];
const LOGITS: [&str; 2] = ["last", "all"];

/// Names and words, the default first.
pub(crate) const WORDS: [(&str, &[&str]); 3] =
    [("attention", &ATTENTION), ("kv_cache", &KV_CACHE), ("logits", &LOGITS)];

/// The options of both engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) attention: AttentionKind,
    pub(crate) kv_cache: CacheKind,
    pub(crate) logits: LogitsKept,
}

impl Options {
    /// Reads the options of a request. The first word of each is the default.
    pub(crate) fn read(options: &protocol::Options) -> Result<Self, OptionError> {
        let mut left = options.clone();
        let attention = match take_word(&mut left, "attention", &ATTENTION)? {
            "eager" => AttentionKind::Eager,
            _ => AttentionKind::Sdpa,
        };
        let kv_cache = match take_word(&mut left, "kv_cache", &KV_CACHE)? {
            "static" => CacheKind::Static,
            _ => CacheKind::Dynamic,
        };
        let logits = match take_word(&mut left, "logits", &LOGITS)? {
            "all" => LogitsKept::All,
            _ => LogitsKept::Last,
        };
        unknown_options(&left, &WORDS.map(|(name, _)| name))?;
        Ok(Self { attention, kv_cache, logits })
    }
}
