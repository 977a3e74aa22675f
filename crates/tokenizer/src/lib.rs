//! A prompt's token ids, and the text of tokens: what a checkpoint's `tokenizer.json` says, which may come from anywhere.
//!
//! A file of a kilobyte can have the `tokenizers` crate take all memory, panic or never end. So [`encode`] and [`decode`] start
//! `llama2-bench-tokenizer`, a process of its own with bounded memory and time (`process.rs`), and ask it (`protocol.rs`);
//! however it ends, the caller gets an answer or one error.

mod process;
mod protocol;

pub use process::{GiveUp, decode, encode};
pub use protocol::{TOKENIZE, TOKENIZER_FILE, TokenizedPrompt, TokenizerRequest, memory_limit};
