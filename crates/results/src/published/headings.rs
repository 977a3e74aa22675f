//! Headings: `## A heading`, a line that is underlined or bold as a whole, `<summary>` and `<h2>`, and a line that says a table's
//! model and device.

use super::inline::plain_text;
use super::lines::{BLANKS, is_code, split_line_end, text_start, trim};
use crate::Heading;

/// A heading: its text, and where in its lines that stands.
pub(super) struct ParsedHeading {
    pub(super) text: String,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Tags whose text is a heading; `<b>` only where it is the whole line.
const TAGS: [&str; 7] = ["summary", "h1", "h2", "h3", "h4", "h5", "h6"];

/// Lines from one with a heading's opening tag to the one that closes it.
const MOST_LINES: usize = 8;

/// The lines of the heading that `text` starts with, with their line ends; empty where that is none.
pub(super) fn heading_lines(text: &str) -> &str {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next() else { return "" };
    if let Some(tag) = opening_tag(first) {
        let mut end = 0;
        for line in text.split_inclusive('\n').take(MOST_LINES) {
            end += line.len();
            if find_ignoring_case(line, &format!("</{}", tag.name)).is_some() {
                return if parse_heading(&text[..end]).is_some() { &text[..end] } else { "" };
            }
        }
    }
    if parse_heading(first).is_some() {
        return first;
    }
    let both = lines.next().map_or("", |second| &text[..first.len() + second.len()]);
    if parse_heading(both).is_some() { both } else { "" }
}

/// Parses a heading's lines.
pub(super) fn parse_heading(lines: &str) -> Option<ParsedHeading> {
    let first = split_line_end(lines.split_inclusive('\n').next()?).0;
    if is_code(first) {
        return None;
    }
    let found = in_tag(lines).or_else(|| {
        let rest = &lines[first.len()..];
        let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
        if rest.is_empty() { on_one_line(first) } else { underlined(first, split_line_end(rest).0) }
    });
    let (from, inner) = found?;
    let text = plain_text(inner.trim()).ok()?;
    Some(ParsedHeading { text: clean_heading(&text), from, to: from + inner.len() })
}

/// A heading's text on one line, without a colon after what it says of a table.
pub(super) fn clean_heading(text: &str) -> String {
    let text = crate::one_line(text);
    let text = trim(&text);
    let without = trim(text.trim_end_matches(':'));
    if without.len() < text.len() && Heading::parse(without).is_ok() { without } else { text }.to_owned()
}

/// `## A heading`, `**A heading**`, or the words of a table's heading alone.
fn on_one_line(line: &str) -> Option<(usize, &str)> {
    let start = text_start(line).at;
    let inner = trim(&line[start..]);
    if inner.is_empty() {
        return None;
    }
    let offset = line.len() - line[start..].trim_start_matches(BLANKS).len();
    let marks = inner.len() - inner.trim_start_matches('#').len();
    if (1..=6).contains(&marks) {
        let rest = &inner[marks..];
        let text = trim(rest);
        if !rest.is_empty() && !rest.starts_with(BLANKS) {
            return None;
        }
        let open = text.trim_end_matches('#');
        let text =
            if open.is_empty() || open.ends_with(BLANKS) { open.trim_end_matches(BLANKS) } else { text };
        return Some((offset + marks + (rest.len() - rest.trim_start_matches(BLANKS).len()), text));
    }
    for (open, close) in [("**", "**"), ("__", "__"), ("<b>", "</b>"), ("<strong>", "</strong>")] {
        // `**A heading**:`
        let bold = inner.trim_end_matches(':').strip_suffix(close).and_then(|inner| inner.strip_prefix(open));
        if let Some(text) =
            bold.filter(|text| !text.contains(open) && trim(text) == *text && !text.is_empty())
        {
            return Some((offset + open.len(), text));
        }
    }
    let inner = trim(inner.trim_end_matches(':'));
    (inner.len() < 200 && says_table(inner)).then_some((offset, inner))
}

/// Whether a line is a table's heading and nothing else: a sentence that ends in one has another model's name.
fn says_table(line: &str) -> bool {
    let has_parts = line.contains(" CUDA") || line.contains(" CPU");
    let heading = || Heading::parse(trim(&plain_text(line).ok()?)).ok();
    let is_known = |name: &str| ["llama2-", "tinyllama-"].iter().any(|family| name.starts_with(family));
    has_parts && !line.contains('|') && heading().is_some_and(|heading| is_known(&heading.model))
}

/// A line above a line of `===` or `---`.
fn underlined<'a>(line: &'a str, below: &str) -> Option<(usize, &'a str)> {
    let (start, under) = (text_start(line), text_start(below));
    let (text, marks) = (trim(&line[start.at..]), trim(&below[under.at..]));
    let is_line = |mark: char| !marks.is_empty() && marks.chars().all(|c| c == mark);
    // A row of a table, or what starts something else, is no paragraph.
    let is_paragraph = !text.is_empty() && !text.contains('|') && !super::lines::starts_block(text);
    let is_heading = is_paragraph && start.quotes == under.quotes && !is_code(below);
    let offset = line.len() - line[start.at..].trim_start_matches(BLANKS).len();
    (is_heading && (is_line('=') || is_line('-'))).then_some((offset, text))
}

struct OpeningTag {
    name: &'static str,
    /// The end of the tag.
    end: usize,
}

fn opening_tag(line: &str) -> Option<OpeningTag> {
    TAGS.into_iter().find_map(|name| {
        let at = find_ignoring_case(line, &format!("<{name}"))?;
        let rest = &line[at + 1 + name.len()..];
        let close = rest.find('>').filter(|close| *close == 0 || rest.starts_with(char::is_whitespace))?;
        Some(OpeningTag { name, end: at + 1 + name.len() + close + 1 })
    })
}

/// The text between the tags of a heading.
fn in_tag(lines: &str) -> Option<(usize, &str)> {
    let tag = opening_tag(lines)?;
    let inner = &lines[tag.end..];
    let inner = &inner[..find_ignoring_case(inner, &format!("</{}", tag.name))?];
    let text = inner.trim();
    let from = tag.end + (inner.len() - inner.trim_start().len());
    (!text.is_empty()).then_some((from, text))
}

fn find_ignoring_case(text: &str, word: &str) -> Option<usize> {
    text.as_bytes().windows(word.len()).position(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_found_wherever_people_put_them() {
        const TEXT: &str = "LLaMA-2 7B FP16 CUDA (1 A100 80GB)";
        for lines in [
            "## LLaMA-2 7B FP16 CUDA (1 A100 80GB)\n",
            "# **LLaMA-2 7B FP16 CUDA (1 A100 80GB)** #\r\n",
            "> ### LLaMA-2 7B FP16 CUDA (1 A100 80GB):\n",
            "**LLaMA-2 7B FP16 CUDA (1 A100 80GB)**\n",
            "**LLaMA-2 7B FP16 CUDA (1 A100 80GB)**:\n",
            "__LLaMA-2 7B FP16 CUDA (1 A100 80GB)__",
            "<b>LLaMA-2 7B FP16 CUDA (1 A100 80GB)</b>\n",
            "<details><summary>LLaMA-2 7B FP16 CUDA (1 A100 80GB)</summary>\n",
            "<summary><b>LLaMA-2 7B FP16 CUDA (1 A100 80GB)</b></summary>\n",
            "<SUMMARY>\n  LLaMA-2 7B FP16 CUDA (1 A100 80GB)\n</SUMMARY>\n",
            "<h2 align=\"center\">LLaMA-2 7B FP16 CUDA (1 A100 80GB)</h2>\n",
            "LLaMA-2 7B FP16 CUDA (1 A100 80GB)\n",
            "*LLaMA-2 7B FP16 CUDA (1 A100 80GB)*:\n",
            "**LLaMA-2 7B FP16 CUDA** (1 A100 80GB)\n",
            "## [LLaMA-2 7B](https://a.b) FP16 CUDA (1 A100 80GB)\n",
        ] {
            let found = heading_lines(lines);
            assert_eq!(found, lines);
            assert_eq!(parse_heading(found).map(|heading| heading.text).as_deref(), Some(TEXT), "{lines}");
        }
        for lines in ["Results of May\n---\n", "> Results of May  \r\n> ===\r\n"] {
            assert_eq!(heading_lines(lines), lines);
            assert_eq!(parse_heading(lines).map(|heading| heading.text).as_deref(), Some("Results of May"));
        }
        let sentence = "Here is LLaMA-2 7B FP16 CUDA (1 A100 80GB)\n";
        assert_eq!(heading_lines(sentence), "");
        for lines in
            ["text\n", "| a |\n---\n", "    ## code\n", "<summary>open\n", "#hash\n", "- a\n---\n", "---\n"]
        {
            assert_eq!(heading_lines(lines), "", "{lines}");
        }
    }
}
