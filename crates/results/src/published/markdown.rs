//! The documents' markdown: GitHub's tables, with everything around them.
//!
//! Escapes, optional outer pipes and rows that are too short are as in GitHub Flavored Markdown's section on tables;
//! tables in fenced code are text.

use super::error::brief;
use super::layout::{SEPARATOR, WIDTHS, escape, header};
use super::lines::{BLANKS, Cells, is_code, parse_heading, split_line_end, starts_block, trim};
use super::lines::{unescape, update_fence};
use super::{Cell, Document, MarkdownSource, Piece, PublishedError, PublishedRow, PublishedTable};
use crate::COLUMNS;

/// Reads the tables of a markdown text; `file` names it in errors. A table whose first header is `Engine` must have the
/// documents' schema; there must be at least one.
pub fn parse(text: &str, file: &str) -> Result<Document, PublishedError> {
    let document = parse_any(text, file)?;
    if document.tables().next().is_none() {
        let what =
            "no table of this schema: expected a header line | Engine | Batch Size | Prompt Length | …";
        return Err(PublishedError::new(file, None, what));
    }
    Ok(document)
}

/// Like [`parse`], of a text that may hold no table.
pub(crate) fn parse_any(text: &str, file: &str) -> Result<Document, PublishedError> {
    let byte_order_mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut reader = Reader { text, file, at: byte_order_mark, line: 0 };
    let mut document = Document::default();
    let (mut start, mut heading, mut fence) = (0, None, None);
    while let Some(line) = reader.next() {
        if update_fence(&mut fence, line.content) || fence.is_some() {
            continue;
        }
        if let Some(parsed) = parse_heading(line.raw) {
            heading = Some((line.start, reader.at, parsed.text));
            continue;
        }
        let Some(separator) = reader.separator_below(&line)? else { continue };
        let (heading_start, heading_end, heading_text) =
            heading.take().unwrap_or((line.start, line.start, String::new()));
        push_text(&mut document, &text[start..heading_start]);
        let markdown = Some(MarkdownSource {
            heading: text[heading_start..heading_end].into(),
            between: text[heading_end..line.start].into(),
            header: line.raw.into(),
            separator: separator.raw.into(),
        });
        let rows = reader.rows()?;
        document.pieces.push(Piece::Table(PublishedTable {
            heading: heading_text,
            line: line.number,
            markdown,
            rows,
        }));
        start = reader.at;
    }
    push_text(&mut document, &text[start..]);
    Ok(document)
}

/// The document as markdown. What was read comes back byte for byte, but for cells and headings that were changed.
pub fn write(document: &Document) -> String {
    let mut text = String::new();
    for piece in &document.pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Table(table) => write_table(table, &mut text),
        }
    }
    text
}

fn write_table(table: &PublishedTable, text: &mut String) {
    write_head(table, text);
    for row in &table.rows {
        write_row(row, text);
    }
}

/// Everything above the rows.
pub(crate) fn write_head(table: &PublishedTable, text: &mut String) {
    let Some(source) = &table.markdown else {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&canonical_head(&table.heading));
        return;
    };
    match parse_heading(&source.heading) {
        Some(parsed) if parsed.text == table.heading => text.push_str(&source.heading),
        Some(parsed) => {
            let marks = &source.heading[..parsed.from];
            text.push_str(marks);
            text.push_str(if marks.ends_with('#') { " " } else { "" });
            text.push_str(&escape(&table.heading));
            text.push_str(&source.heading[parsed.to..]);
        }
        None if table.heading.is_empty() => text.push_str(&source.heading),
        None => text.push_str(&format!("## {}\n\n", escape(&table.heading))),
    }
    for part in [&source.between, &source.header, &source.separator] {
        text.push_str(part);
    }
}

/// Heading, header and separator where no file says otherwise.
pub(crate) fn canonical_head(heading: &str) -> String {
    let heading = if heading.is_empty() { String::new() } else { format!("## {}\n\n", escape(heading)) };
    format!("{heading}{}\n{SEPARATOR}\n", header())
}

/// A row as its line.
pub(crate) fn write_row(row: &PublishedRow, text: &mut String) {
    let Some(source) = &row.markdown else {
        text.push_str(&canonical_row(row));
        return;
    };
    let (content, end) = split_line_end(source);
    let texts = row.texts();
    let (mut at, mut written) = (0, 0);
    for (index, raw) in Cells::of(content).take(texts.len()) {
        text.push_str(&content[at..index]);
        at = index + raw.len();
        push_cell(raw, &texts[written], written, text);
        written += 1;
    }
    text.push_str(&content[at..]);
    let missing = &texts[written..];
    if missing.iter().any(|text| !text.is_empty()) {
        text.push_str(if content.trim_end().ends_with('|') { "" } else { " |" });
        for cell in missing {
            text.push_str(&format!(" {} |", escape(cell)));
        }
    }
    text.push_str(end);
}

/// A row where no file says otherwise.
pub(crate) fn canonical_row(row: &PublishedRow) -> String {
    let cells = row.texts().into_iter().zip(WIDTHS);
    let cells: String = cells.map(|(cell, width)| format!(" {:width$}|", escape(&cell))).collect();
    format!("|{cells}\n")
}

/// The cell `index` of a row, as it stood where it says the same, else in the same width.
fn push_cell(raw: &str, cell: &str, index: usize, text: &mut String) {
    let is_number = index == 1 || index == 2;
    let was = unescape(trim(raw));
    let same_number = |one: &str, other: &str| one.parse::<u32>().is_ok_and(|n| Ok(n) == other.parse());
    if was == cell || (is_number && same_number(&was, cell)) {
        text.push_str(raw);
        return;
    }
    let blanks = &raw[..raw.len() - raw.trim_start_matches(BLANKS).len()];
    let lead = if was.is_empty() { " " } else { blanks };
    let width = raw.chars().count().saturating_sub(lead.chars().count());
    text.push_str(&format!("{lead}{:width$}", escape(cell)));
}

fn push_text(document: &mut Document, text: &str) {
    if !text.is_empty() {
        document.pieces.push(Piece::Text(text.into()));
    }
}

/// A line of the text.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    start: usize,
    /// With its line end.
    raw: &'a str,
    /// Without.
    content: &'a str,
}

struct Reader<'a> {
    text: &'a str,
    file: &'a str,
    /// Where the next line starts.
    at: usize,
    /// Lines read.
    line: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<Line<'a>> {
        let raw = self.text[self.at..].split_inclusive('\n').next()?;
        Some(Line { number: self.line + 1, start: self.at, raw, content: split_line_end(raw).0 })
    }

    fn next(&mut self) -> Option<Line<'a>> {
        let line = self.peek()?;
        self.at += line.raw.len();
        self.line = line.number;
        Some(line)
    }

    fn error(&self, line: usize, what: impl Into<String>) -> PublishedError {
        PublishedError::new(self.file, line, what)
    }

    /// Where `line` is the header of a table of ours, takes the separator below it.
    fn separator_below(&mut self, line: &Line<'a>) -> Result<Option<Line<'a>>, PublishedError> {
        let headers = || Cells::of(line.content).map(|(_, raw)| trim(raw));
        if is_code(line.content) || !line.content.contains('|') || headers().next() != Some(COLUMNS[0]) {
            return Ok(None);
        }
        let is_separator = |line: &Line<'_>| {
            let mut cells = Cells::of(line.content).map(|(_, raw)| trim(raw)).peekable();
            let dashes = |cell: &str| {
                let inner = cell.strip_prefix(':').unwrap_or(cell);
                let inner = inner.strip_suffix(':').unwrap_or(inner);
                !inner.is_empty() && inner.bytes().all(|byte| byte == b'-')
            };
            cells.peek().is_some() && line.content.contains('|') && cells.all(dashes)
        };
        let below = self.peek().filter(is_separator);
        let difference = first_difference(headers());
        match (below, difference) {
            (None, Some(_)) => Ok(None),
            (None, None) => {
                Err(self.error(line.number + 1, "expected a line |---|---|… of 11 columns below the header"))
            }
            (Some(_), Some(what)) => Err(self.error(line.number, what)),
            (Some(below), None) => {
                let columns = Cells::of(below.content).count();
                if columns != COLUMNS.len() {
                    let what = format!("expected 11 columns as in the header, found {columns}");
                    return Err(self.error(below.number, what));
                }
                Ok(self.next())
            }
        }
    }

    /// The rows that follow.
    fn rows(&mut self) -> Result<Vec<PublishedRow>, PublishedError> {
        let mut rows = Vec::new();
        while let Some(line) = self.peek() {
            let cells = Cells::of(line.content).count();
            let opens = line.content.trim_start_matches(BLANKS).starts_with('|');
            // Without a pipe before it, a line is a row only when it has a row's cells: text may follow at once.
            if !opens && (cells != COLUMNS.len() || starts_block(line.content)) {
                break;
            }
            if cells > COLUMNS.len() {
                return Err(self.error(line.number, format!("expected 11 cells, found {cells}")));
            }
            self.next();
            rows.push(self.row(&line)?);
        }
        Ok(rows)
    }

    fn row(&self, line: &Line<'a>) -> Result<PublishedRow, PublishedError> {
        let mut cells = Cells::of(line.content).map(|(_, raw)| unescape(trim(raw)));
        let texts: [String; 11] = std::array::from_fn(|_| cells.next().unwrap_or_default());
        let mut row = read_row(&texts).map_err(|(column, what)| {
            PublishedError::new(self.file, line.number, what).in_column(COLUMNS[column])
        })?;
        row.line = line.number;
        row.markdown = Some(line.raw.into());
        Ok(row)
    }
}

/// The first header that is not the documents', in words.
pub(crate) fn first_difference<'a>(headers: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut headers = headers;
    for (index, expected) in COLUMNS.into_iter().enumerate() {
        match headers.next() {
            Some(found) if found == expected => {}
            Some(found) => {
                let found = brief(found);
                return Some(format!("header {}: expected \"{expected}\", found {found}", index + 1));
            }
            None => return Some(format!("header {}: expected \"{expected}\", found none", index + 1)),
        }
    }
    headers.next().map(|found| format!("header 12: expected none, found {}", brief(found)))
}

/// A row of its eleven texts; the error has the index of the column.
pub(crate) fn read_row(texts: &[String; 11]) -> Result<PublishedRow, (usize, String)> {
    let [engine, batch_size, prompt_length, figures @ ..] = texts;
    let engine = trim(engine);
    if engine.chars().all(|c| c == ' ' || c.is_control()) {
        return Err((0, "expected an engine's name, found nothing".into()));
    }
    let size = |index: usize, text: &str| match text.parse::<u32>() {
        Ok(size) if size > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(size),
        _ => Err((index, format!("expected a whole number from 1 to {}, found {}", u32::MAX, brief(text)))),
    };
    let (batch_size, prompt_length) = (size(1, batch_size)?, size(2, prompt_length)?);
    let mut cells: [Cell; 8] = Default::default();
    for (index, text) in figures.iter().enumerate() {
        cells[index] = Cell::parse(text).map_err(|what| (index + 3, what))?;
    }
    Ok(PublishedRow { line: 0, engine: engine.into(), batch_size, prompt_length, cells, markdown: None })
}
