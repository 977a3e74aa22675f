//! Every output format behind one trait, and the formats that several kinds of input have.

/// The text that was written, and remarks on what could not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The text in the format.
    pub text: String,
    /// What is missing from the text or may surprise a reader, one line each.
    pub remarks: Vec<String>,
}

/// A format that an `Input` is written in, such as tables (`report`) or a comparison (`compare`). The crate of the input implements it.
pub trait Exporter<Input: ?Sized> {
    /// The format's name on the command line.
    fn name(&self) -> &'static str;

    /// Writes the input in this format.
    fn write(&self, input: &Input) -> Exported;
}

/// A text that lacks nothing.
impl From<String> for Exported {
    fn from(text: String) -> Self {
        Self { text, remarks: Vec::new() }
    }
}

/// Text for a screen.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Columns of the screen; `None` writes every column of a table.
    pub width: Option<u16>,
    /// Whether ANSI escapes colour the text.
    pub is_coloured: bool,
}

/// Markdown as GitHub shows it.
#[derive(Debug, Clone, Copy)]
pub struct Markdown;

/// Records with a header (RFC 4180).
#[derive(Debug, Clone, Copy)]
pub struct Csv;

/// One value for programs: seconds, bytes, and all that is known.
#[derive(Debug, Clone, Copy)]
pub struct Json;
