//! A prompt's token ids, and the text of tokens: what a checkpoint's `tokenizer.json` says, which may come from anywhere.
//!
//! A file of a kilobyte can have the `tokenizers` crate take all memory, panic or never end. So [`encode`] and [`decode`] start
//! this program again, as a process of its own with bounded memory and time (`process.rs`), which reads and checks the files
//! (`checked.rs`) and tokenizes; however it ends, the caller gets an answer or one error.

mod checked;
mod process;
mod prompt_tokenizer;
#[cfg(test)]
mod tests;

pub use checked::CheckedFiles;
pub use process::{GiveUp, decode, encode, process_if_asked};
pub use prompt_tokenizer::TokenizedPrompt;
