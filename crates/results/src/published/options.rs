//! What a caller says of files that do not say it themselves.

use super::{PublishedError, PublishedTable};
use crate::Heading;

/// What a caller says of tables that do not say it themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The engine of all rows of a table without a column of engines.
    pub engine: Option<String>,
    /// The heading of a table that has none, or one that does not say model, precision and device.
    pub heading: Option<String>,
    /// Decode forwards of a generation; of a tool's file that counts tokens, tokens.
    pub generation_length: Option<u32>,
    /// The batch size of a tool's file that does not say it.
    pub batch_size: Option<u32>,
    /// The prompt length of a tool's file that does not say it.
    pub prompt_length: Option<u32>,
}

impl ReadOptions {
    /// Adds to a table what it does not say, and checks what it does.
    pub(super) fn complete(&self, table: &mut PublishedTable, file: &str) -> Result<(), PublishedError> {
        if let Some(heading) = self.heading.as_ref().filter(|_| Heading::parse(&table.heading).is_err()) {
            table.heading.clone_from(heading);
        }
        match (table.generation_length, self.generation_length) {
            (Some(stated), Some(given)) if stated != given => {
                let what =
                    format!("--generation-length {given}: this table says that it is of {stated} tokens");
                Err(PublishedError::new(file, table.line, what))
            }
            (stated, given) => {
                table.generation_length = stated.or(given);
                Ok(())
            }
        }
    }

    /// The same but for the lengths.
    pub(super) fn without_lengths(&self) -> Self {
        Self { generation_length: None, batch_size: None, prompt_length: None, ..self.clone() }
    }

    pub(super) fn no_engine(file: &str, line: Option<usize>) -> PublishedError {
        PublishedError::new(file, line, "no Engine column: say which engine it is with --engine NAME")
    }
}
