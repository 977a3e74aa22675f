//! The process that tokenizes: a checkpoint's files checked (`checked.rs`), the `tokenizers` crate (`prompt_tokenizer.rs`), and one
//! question answered within bounded memory (`process.rs`).

mod checked;
mod process;
mod prompt_tokenizer;
#[cfg(test)]
mod tests;

pub use checked::CheckedFiles;
pub use process::answer_if_asked;
