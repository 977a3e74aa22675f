//! The syntax of a line of markdown: cells, headings, fences, escapes.

pub(super) const BLANKS: [char; 2] = [' ', '\t'];

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// The cells of a line, each with where it starts; the empty one after the last pipe is none.
pub(super) struct Cells<'a> {
    line: &'a str,
    at: Option<usize>,
}

impl<'a> Cells<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        let blanks = line.len() - line.trim_start_matches(BLANKS).len();
        let pipe = usize::from(line[blanks..].starts_with('|'));
        Self { line, at: Some(if pipe == 1 { blanks + 1 } else { 0 }) }
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at?;
        let rest = &self.line[start..];
        let mut escaped = false;
        for (index, byte) in rest.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'|' => {
                    self.at = Some(start + index + 1);
                    return Some((start, &rest[..index]));
                }
                _ => {}
            }
        }
        self.at = None;
        if trim(rest).is_empty() { None } else { Some((start, rest)) }
    }
}

/// A heading's line: its text, and where in the line that stands.
pub(super) struct ParsedHeading {
    pub(super) text: String,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// `## A heading`, or a line that is bold as a whole: `**A heading**`.
pub(super) fn parse_heading(line: &str) -> Option<ParsedHeading> {
    let content = split_line_end(line).0;
    let inner = trim(content);
    if inner.is_empty() || is_code(content) {
        return None;
    }
    let offset = content.len() - content.trim_start_matches(BLANKS).len();
    let marks = inner.len() - inner.trim_start_matches('#').len();
    let (from, inner) = if (1..=6).contains(&marks) {
        let rest = &inner[marks..];
        let text = trim(rest);
        if !rest.is_empty() && !rest.starts_with(BLANKS) {
            return None;
        }
        let open = text.trim_end_matches('#');
        let text =
            if open.is_empty() || open.ends_with(BLANKS) { open.trim_end_matches(BLANKS) } else { text };
        (offset + marks + (rest.len() - rest.trim_start_matches(BLANKS).len()), text)
    } else {
        let text = inner.strip_prefix("**")?.strip_suffix("**")?;
        if text.is_empty() || text.contains("**") || trim(text) != text {
            return None;
        }
        (offset + 2, text)
    };
    Some(ParsedHeading { text: unescape(inner), from, to: from + inner.len() })
}

/// Four blanks or a tab before it: code.
pub(super) fn is_code(line: &str) -> bool {
    line.starts_with("    ") || line.trim_start_matches(' ').starts_with('\t')
}

/// What ends a table without an empty line.
pub(super) fn starts_block(line: &str) -> bool {
    let line = trim(line);
    ["#", ">", "<", "- ", "* ", "+ ", "```", "~~~"].iter().any(|start| line.starts_with(start))
}

/// Follows fenced code: whether `line` opens or closes a fence.
pub(super) fn update_fence(fence: &mut Option<(u8, usize)>, line: &str) -> bool {
    let line = if is_code(line) { "" } else { trim(line) };
    let mark = line.bytes().next().filter(|mark| [b'`', b'~'].contains(mark));
    let Some(mark) = mark else { return false };
    let length = line.bytes().take_while(|byte| *byte == mark).count();
    match *fence {
        None if length >= 3 && !(mark == b'`' && line[length..].contains('`')) => {
            *fence = Some((mark, length));
        }
        Some((open, least)) if open == mark && length >= least && line.len() == length => *fence = None,
        _ => return false,
    }
    true
}

pub(super) fn split_line_end(line: &str) -> (&str, &str) {
    let content = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
    line.split_at(content.len())
}

/// A backslash before punctuation is none (CommonMark 0.31, 2.4).
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(next)) if next.is_ascii_punctuation() => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    plain
}
