//! Replaces the table between two marker comments of a file, and touches nothing else.

use super::lines::{split_line_end, update_fence};

/// The line above a spliced table.
pub const TABLE_MARKER: &str = "<!-- llama2-bench:table -->";
/// The line above a spliced summary, a few rows of a table.
pub const SUMMARY_MARKER: &str = "<!-- llama2-bench:summary -->";
/// The line below it.
pub const END_MARKER: &str = "<!-- llama2-bench:end -->";

/// Why nothing can be spliced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// A marker is not there.
    #[error("no line {0}: put {TABLE_MARKER} above and {END_MARKER} below where the table belongs")]
    Missing(&'static str),
    /// A marker is there again.
    #[error("line {line}: a second {marker}: expected one")]
    Doubled {
        /// The marker.
        marker: &'static str,
        /// The line of its second place, from 1.
        line: usize,
    },
    /// The end stands before the beginning.
    #[error("line {0}: {END_MARKER} stands above the line that begins the table")]
    Reversed(usize),
}

/// `text` with `table` between the lines `marker` and [`END_MARKER`]. A marker is alone on its line; in fenced code
/// it is an example. The table gets
/// the line ends of the first marker's line, and empty lines around it: GitHub takes a table right below a comment for
/// text. Everything outside the markers stays as it is.
pub fn splice(text: &str, marker: &'static str, table: &str) -> Result<String, SpliceError> {
    let (begin, _) = find(text, marker)?;
    let (end, end_line) = find(text, END_MARKER)?;
    if end.start < begin.start {
        return Err(SpliceError::Reversed(end_line));
    }
    let line_end = if text[begin.clone()].ends_with("\r\n") { "\r\n" } else { "\n" };
    let lines = table.trim_matches(['\r', '\n']).lines().flat_map(|line| [line, line_end]);
    let table: String = lines.collect();
    Ok(format!("{}{line_end}{table}{line_end}{}", &text[..begin.end], &text[end.start..]))
}

/// Whether a file has a place for a summary, not for a whole table.
pub fn takes_summary(text: &str) -> bool {
    find(text, SUMMARY_MARKER).is_ok()
}

/// Where the only line of `marker` is, with its line end, and its number.
fn find(text: &str, marker: &'static str) -> Result<(std::ops::Range<usize>, usize), SpliceError> {
    let (mut found, mut fence) = (None, None);
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        update_fence(&mut fence, split_line_end(line).0);
        if line.trim() == marker && fence.is_none() {
            if found.is_some() {
                return Err(SpliceError::Doubled { marker, line: index + 1 });
            }
            found = Some((start..start + line.len(), index + 1));
        }
        start += line.len();
    }
    found.ok_or(SpliceError::Missing(marker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "# A\n\n<!-- llama2-bench:table -->\nold\n<!-- llama2-bench:end -->\nrest";
        let spliced = splice(text, TABLE_MARKER, "| a |\n|---|\n").unwrap();
        let expected =
            "# A\n\n<!-- llama2-bench:table -->\n\n| a |\n|---|\n\n<!-- llama2-bench:end -->\nrest";
        assert_eq!(spliced, expected);
        assert_eq!(
            splice(&spliced, TABLE_MARKER, "| a |\n|---|\n").unwrap(),
            expected,
            "splicing again changes nothing"
        );
    }

    #[test]
    fn line_ends_are_the_file_s() {
        let text = "A\r\n  <!-- llama2-bench:table --> \r\n<!-- llama2-bench:end -->";
        let spliced = splice(text, TABLE_MARKER, "x\ny\n").unwrap();
        let expected = "A\r\n  <!-- llama2-bench:table --> \r\n\r\nx\r\ny\r\n\r\n<!-- llama2-bench:end -->";
        assert_eq!(spliced, expected);
    }

    #[test]
    fn markers_that_are_not_a_pair_are_said() {
        let error = |text: &str| splice(text, TABLE_MARKER, "x").unwrap_err().to_string();
        assert!(error("A").starts_with("no line <!-- llama2-bench:table -->: put"));
        assert!(error(TABLE_MARKER).starts_with("no line <!-- llama2-bench:end -->: put"));
        let reversed = format!("{END_MARKER}\n{TABLE_MARKER}\n");
        assert_eq!(
            error(&reversed),
            "line 1: <!-- llama2-bench:end --> stands above the line that begins the table"
        );
        let doubled = format!("{TABLE_MARKER}\n{END_MARKER}\n{TABLE_MARKER}\n");
        assert_eq!(error(&doubled), "line 3: a second <!-- llama2-bench:table -->: expected one");
        let example = format!("```\n{TABLE_MARKER}\n```\n{TABLE_MARKER}\n{END_MARKER}\n");
        assert!(
            splice(&example, TABLE_MARKER, "x")
                .unwrap()
                .starts_with("```\n<!-- llama2-bench:table -->\n```\n<!--")
        );
        assert!(!takes_summary(&example) && takes_summary(SUMMARY_MARKER));
        let inline = format!("text {TABLE_MARKER} text\n{END_MARKER}\n");
        assert!(error(&inline).starts_with("no line"));
    }
}
