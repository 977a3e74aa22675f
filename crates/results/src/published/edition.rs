//! The two editions of the published LLaMA-2 tables, compiled in.

use super::{Document, markdown};

/// An edition of the published LLaMA-2 tables: of 7B and 13B on one A100, of 70B on four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Edition {
    /// The first, of 2023, whose names of columns this program prints.
    #[default]
    First,
    /// The one of 2024: other names, PyTorch measured anew, and `onnxruntime` for 13B at batch size 16.
    Second,
}

impl Edition {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// What names it on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "llama2-a100",
            Self::Second => "llama2-a100-2024",
        }
    }

    /// Where it stands in the repository.
    pub fn file(self) -> &'static str {
        match self {
            Self::First => "results/published/llama2-a100.md",
            Self::Second => "results/published/llama2-a100-2024.md",
        }
    }

    /// Its markdown.
    pub fn text(self) -> &'static str {
        match self {
            Self::First => include_str!("../../../../results/published/llama2-a100.md"),
            Self::Second => include_str!("../../../../results/published/llama2-a100-2024.md"),
        }
    }

    /// Its tables.
    ///
    /// # Panics
    /// Never: the files are compiled in, and a test reads them.
    pub fn document(self) -> Document {
        markdown::parse(self.text(), self.file()).expect("the built-in tables")
    }
}
