//! The syntax of a line of markdown: cells, block quotes, fences, escapes.

pub(super) const BLANKS: [char; 2] = [' ', '\t'];

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// The cells of a line, each with where it starts; the empty one after the last pipe is none.
pub(super) struct LineCells<'a> {
    line: &'a str,
    at: Option<usize>,
}

impl<'a> LineCells<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        let start = text_start(line).at;
        let blanks = line[start..].len() - line[start..].trim_start_matches(BLANKS).len();
        let pipe = line[start + blanks..].starts_with('|');
        Self { line, at: Some(if pipe { start + blanks + 1 } else { start }) }
    }
}

/// Where a line's own text starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextStart {
    /// The offset behind the marks of block quotes.
    pub(super) at: usize,
    /// Block quotes around it.
    pub(super) quotes: usize,
}

/// Skips the marks of block quotes, `> `.
pub(super) fn text_start(line: &str) -> TextStart {
    let mut start = TextStart { at: 0, quotes: 0 };
    loop {
        let rest = &line[start.at..];
        let inner = rest.trim_start_matches(' ');
        if rest.len() - inner.len() > 3 || !inner.starts_with('>') {
            return start;
        }
        start.at += rest.len() - inner.len() + 1;
        start.quotes += 1;
        // One blank belongs to the mark.
        start.at += usize::from(line[start.at..].starts_with(' '));
    }
}

impl<'a> Iterator for LineCells<'a> {
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

/// Whether a line has a pipe that is not escaped, or a character that looks like one.
pub(super) fn has_bar(line: &str) -> bool {
    let mut escaped = false;
    line.chars().any(|c| {
        let is_bar = c == '|' && !escaped || ['│', '┃', '｜', '∣', '❘', '￨'].contains(&c);
        escaped = c == '\\' && !escaped;
        is_bar
    })
}

/// Four blanks or a tab before it: code.
pub(super) fn is_code(line: &str) -> bool {
    let line = &line[text_start(line).at..];
    line.starts_with("    ") || line.trim_start_matches(' ').starts_with('\t')
}

/// What ends a table without an empty line.
pub(super) fn starts_block(line: &str) -> bool {
    let line = trim(line);
    ["#", ">", "<", "- ", "* ", "+ ", "```", "~~~"].iter().any(|start| line.starts_with(start))
}

/// Whether a line is the one below a table's header: `|---|:-:|`.
pub(super) fn is_separator(line: &str) -> bool {
    let is_dashes = |cell: &str| {
        let inner = cell.strip_prefix(':').unwrap_or(cell);
        let inner = inner.strip_suffix(':').unwrap_or(inner);
        !inner.is_empty() && inner.bytes().all(|byte| byte == b'-')
    };
    let mut cells = LineCells::new(line).map(|(_, raw)| trim(raw)).peekable();
    line.contains('|') && cells.peek().is_some() && cells.all(is_dashes)
}

/// Follows fenced code: whether `line` opens or closes a fence.
pub(super) fn update_fence(fence: &mut Option<(u8, usize)>, line: &str) -> bool {
    let line = if is_code(line) { "" } else { trim(&line[text_start(line).at..]) };
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

/// Follows comments of several lines: whether `line` is part of one. One that is closed on its line is text.
pub(super) fn update_comment(is_inside: &mut bool, line: &str) -> bool {
    if *is_inside {
        *is_inside = !line.contains("-->");
        return true;
    }
    let rest = if is_code(line) { None } else { trim(&line[text_start(line).at..]).strip_prefix("<!--") };
    *is_inside = rest.is_some_and(|rest| !rest.contains("-->"));
    *is_inside
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
