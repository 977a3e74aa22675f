//! What can be wrong with a published table.

use std::fmt;

/// A file whose tables can't be read: where, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1; `None` where it is the whole file.
    pub line: Option<usize>,
    /// The column, by its header.
    pub column: Option<String>,
    /// What is wrong, and what would do.
    pub what: String,
}

impl PublishedError {
    pub(crate) fn new(file: &str, line: impl Into<Option<usize>>, what: impl Into<String>) -> Self {
        Self { file: file.into(), line: line.into(), column: None, what: what.into() }
    }

    pub(crate) fn in_column(self, column: &str) -> Self {
        Self { column: Some(column.into()), ..self }
    }
}

impl fmt::Display for PublishedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = &self.column {
            write!(f, ": {column}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for PublishedError {}

/// A text in an error: short, on one line, with what steers a terminal or can't be seen escaped.
pub(crate) fn brief(text: &str) -> String {
    let mut short = String::new();
    for c in text.chars().take(60) {
        if c.is_control() { short.extend(c.escape_default()) } else { short.push(c) }
    }
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    format!("\"{short}\"")
}
