//! HTML tables in markdown.

use super::PublishedError;
use super::lines::is_code;

/// Follows HTML tables, which are not read.
#[derive(Default)]
pub(super) struct HtmlTable {
    /// Where it starts, and which of a batch size, a prompt and a figure it has named.
    open: Option<(usize, [bool; 3])>,
}

impl HtmlTable {
    /// Refuses one that looks like a table of ours.
    pub(super) fn push(&mut self, content: &str, line: usize, file: &str) -> Result<(), PublishedError> {
        if self.open.is_none() && !content.contains('<') {
            return Ok(());
        }
        let lower = content.to_ascii_lowercase();
        if self.open.is_none() && lower.contains("<table") && !is_code(content) {
            self.open = Some((line, [false; 3]));
        }
        let Some((start, named)) = &mut self.open else { return Ok(()) };
        for (named, words) in
            named.iter_mut().zip([["batch", "batch"], ["prompt", "prompt"], ["latency", "throughput"]])
        {
            *named |= words.iter().any(|word| lower.contains(word));
        }
        if *named == [true; 3] {
            let what = "an HTML table is not read: write it as markdown, | Engine | Batch Size | …";
            return Err(PublishedError::new(file, *start, what));
        }
        if lower.contains("</table") {
            self.open = None;
        }
        Ok(())
    }
}
