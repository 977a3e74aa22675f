//! The `tokenizers` crate, with a checkpoint's files that were checked.

use std::path::Path;

use anyhow::{Result, anyhow};
use tokenizer::TokenizedPrompt;
use tokenizers::Tokenizer;

use crate::checked::CheckedFiles;

/// A checkpoint's tokenizer.
pub(crate) struct PromptTokenizer {
    tokenizer: Tokenizer,
    files: CheckedFiles,
}

impl PromptTokenizer {
    /// Reads the tokenizer of the checkpoint in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let files = CheckedFiles::read(dir)?;
        let mut tokenizer =
            Tokenizer::from_bytes(&files.tokenizer).map_err(|error| anyhow!("{}: {error}", files.path()))?;
        tokenizer.set_encode_special_tokens(files.split_special_tokens);
        Ok(Self { tokenizer, files })
    }

    pub(crate) fn encode(&self, text: &str) -> Result<TokenizedPrompt> {
        let encoding = self.tokenizer.encode(text, true).map_err(|error| anyhow!("--prompt: {error}"))?;
        Ok(TokenizedPrompt { ids: encoding.get_ids().to_vec(), caveat: self.files.caveat(text) })
    }

    /// The text of tokens, without special ones.
    pub(crate) fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| anyhow!("decoding: {error}"))
    }
}
