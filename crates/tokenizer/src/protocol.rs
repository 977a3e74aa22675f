//! What the program and the process that tokenizes say to each other: one line of JSON each, on the process's stdin and stdout.

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

/// The file of a checkpoint that describes its tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The first argument of a process that is to tokenize; then the id of the one that started it, and the checkpoint's folder.
pub const TOKENIZE: &str = "__tokenize";
/// The most that it may allocate.
const MEMORY: u64 = 2 << 30;

/// A question. Its answer is a `Result` of a [`TokenizedPrompt`], or of a text for each row; the error is one line.
#[derive(Debug, Serialize, Deserialize)]
pub enum TokenizerRequest {
    /// Asks for the token ids of a prompt.
    Encode(String),
    /// Asks for the text of each row of tokens, without special ones.
    Decode(Vec<Vec<u32>>),
}

/// A prompt as a model takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizedPrompt {
    /// Its token ids, with those that the checkpoint puts before and behind it.
    pub ids: Vec<u32>,
    /// Where transformers may have other ids.
    pub caveat: Option<String>,
}

/// The most bytes that a process that tokenizes may allocate: 2 GiB, or what this process was given if that is less.
pub fn memory_limit() -> u64 {
    getrlimit(Resource::Data).maximum.map_or(MEMORY, |most| most.min(MEMORY))
}
