//! Markdown documents: GitHub's tables, with everything around them.
//!
//! Escapes, optional outer pipes and rows that are too short are as in GitHub Flavored Markdown's section on tables;
//! tables in fenced code are examples, and text.

use std::borrow::Cow;

use super::columns::{Header, MOST_COLUMNS};
use super::heading_above::HeadingAbove;
use super::headings::{heading_lines, parse_heading};
use super::html_table::HtmlTable;
use super::inline::{escape_cell, plain_text};
use super::lines::{
    BLANKS, LineCells, is_code, is_separator, split_line_end, starts_block, text_start, trim,
};
use super::lines::{has_bar, update_comment, update_fence};
use super::rows::{RawRow, read_rows, remarks};
use super::write::plain_cell;
pub use super::write::write;
use super::{Columns, Document, MarkdownSource, Piece, PublishedError, PublishedTable, ReadOptions};

/// Reads the tables of a markdown text; `file` names it in errors. A table is one of this program's kind where it has columns of
/// batch sizes, of prompt lengths and of a figure; there must be at least one.
pub fn parse(text: &str, file: &str) -> Result<Document, PublishedError> {
    parse_with(text, file, &ReadOptions::default())
}

/// Reads as [`parse`] does, with what the caller says of tables that do not say it.
pub fn parse_with(text: &str, file: &str, options: &ReadOptions) -> Result<Document, PublishedError> {
    let (document, not_read) = parse_all(text, file, options)?;
    if document.tables().next().is_some() {
        return Ok(document);
    }
    let what = "no table that this program reads: expected a header line | Engine | Batch Size | Prompt Length | Prompt Latency (ms) | …";
    Err(match not_read {
        Some((line, why)) => PublishedError::new(file, line, format!("not read: {why}; the file has {what}")),
        None => PublishedError::new(file, None, what),
    })
}

/// Reads a text that may hold no table.
pub(super) fn parse_any(text: &str, file: &str) -> Result<Document, PublishedError> {
    parse_all(text, file, &ReadOptions::default()).map(|(document, _)| document)
}

/// The document, and the first table that was not read with the reason.
fn parse_all(
    text: &str,
    file: &str,
    options: &ReadOptions,
) -> Result<(Document, Option<(usize, String)>), PublishedError> {
    let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut reader =
        MarkdownReader { text, file, options, at, line: 0, not_read: Vec::new(), quotes: 0, example: None };
    let mut document = Document::default();
    let (mut start, mut heading, mut fence, mut html) = (0, None, None, HtmlTable::default());
    let (mut last, mut is_comment): (Option<Columns>, bool) = (None, false);
    let (mut above, mut is_right_behind) = (HeadingAbove::default(), false);
    while let Some(line) = reader.next() {
        is_right_behind &= !trim(line.content).is_empty();
        if update_fence(&mut fence, line.content) || fence.is_some() {
            is_right_behind = false;
            reader.note_example(&line, "a table in fenced code is an example");
            continue;
        }
        if update_comment(&mut is_comment, line.content) {
            is_right_behind = false;
            reader.note_example(&line, "a table in a comment is not shown");
            continue;
        }
        html.push(line.content, line.number, file)?;
        let lines = heading_lines(&text[line.start..]);
        if let Some(parsed) = parse_heading(lines) {
            reader.skip_to(line.start + lines.len());
            heading = Some((line.start, reader.at, parsed.text));
            is_right_behind = false;
            continue;
        }
        let Some((columns, separator)) = reader.header(&line)? else {
            if let Some(columns) = &last {
                reader.refuse_stray_row(&line, columns)?;
            }
            if is_right_behind && reader.looks_like_rest(&line) {
                let what =
                    "a line with | right behind a table: begin a row with |, put an empty line above text";
                return Err(reader.error(line.number, what));
            }
            continue;
        };
        above.push(&text[start..line.start]);
        let (heading_start, heading_end, heading_text) =
            heading.take().unwrap_or_else(|| (line.start, line.start, above.heading().to_owned()));
        above = HeadingAbove::new(&heading_text);
        push_text(&mut document, &text[start..heading_start]);
        let engine = options.engine.as_deref().filter(|_| !columns.has_engine());
        let header = with_engine(line.raw, engine.map(|_| "Engine".into()));
        let columns = if engine.is_some() { read_columns(&reader, &header, line.number)? } else { columns };
        let markdown = Some(MarkdownSource {
            heading: text[heading_start..heading_end].into(),
            between: text[heading_end..line.start].into(),
            header: header.into_owned(),
            separator: with_engine(separator.raw, engine.map(|_| "---".into())).into_owned(),
        });
        let rows = reader.rows(&line, &columns, engine)?;
        let rows = read_rows(&columns, rows, file)?;
        let mut table = PublishedTable {
            heading: heading_text,
            line: line.number,
            markdown,
            remarks: remarks(&columns, &rows, file, line.number),
            is_exact: false,
            generation_length: rows.generation_length,
            rows: rows.rows,
            columns,
        };
        options.complete(&mut table, file)?;
        (last, is_right_behind) = (Some(table.columns.clone()), true);
        document.pieces.push(Piece::Table(table));
        start = reader.at;
    }
    push_text(&mut document, &text[start..]);
    let not_read = std::mem::take(&mut reader.not_read);
    if let Some(table) = document.tables_mut().last() {
        table.remarks.extend(not_read.iter().map(|(line, why)| format!("{file}:{line}: not read: {why}")));
    }
    let first = not_read.into_iter().next().or(reader.example.take());
    Ok((document, first))
}

fn push_text(document: &mut Document, text: &str) {
    if !text.is_empty() {
        document.pieces.push(Piece::Text(text.into()));
    }
}

/// A line of a table with a first cell before it, where there is one.
fn with_engine<'a>(line: &'a str, cell: Option<Cow<'_, str>>) -> Cow<'a, str> {
    let Some(cell) = cell else { return Cow::Borrowed(line) };
    let Some((at, _)) = LineCells::new(line).next() else { return Cow::Borrowed(line) };
    let (before, after) = line.split_at(at);
    Cow::Owned(if before.ends_with('|') {
        format!("{before} {cell} |{after}")
    } else {
        format!("{before}{cell} | {after}")
    })
}

/// The columns of a header that can be read.
fn read_columns(reader: &MarkdownReader<'_>, header: &str, line: usize) -> Result<Columns, PublishedError> {
    match Columns::read(&plain_headers(split_line_end(header).0)) {
        Header::Table(columns) => Ok(columns),
        Header::Unreadable(_, what) => Err(reader.error(line, what)),
        Header::Other(_) => Err(reader.error(line, "a column of engines does not belong here")),
    }
}

fn plain_headers(header: &str) -> Vec<String> {
    let cells = LineCells::new(header).take(MOST_COLUMNS + 1).map(|(_, raw)| trim(raw));
    cells.map(|raw| trim(&plain_text(raw).unwrap_or(Cow::Borrowed(raw))).to_owned()).collect()
}

fn opens_with_pipe(line: &str) -> bool {
    line[text_start(line).at..].trim_start_matches(BLANKS).starts_with('|')
}

/// A line of the text.
#[derive(Clone, Copy)]
struct SourceLine<'a> {
    number: usize,
    start: usize,
    /// The line with its line end.
    raw: &'a str,
    /// The line without it.
    content: &'a str,
}

struct MarkdownReader<'a> {
    text: &'a str,
    file: &'a str,
    options: &'a ReadOptions,
    /// Where the next line starts.
    at: usize,
    /// Lines read.
    line: usize,
    /// Tables that look like one of ours and are none, with the reason.
    not_read: Vec<(usize, String)>,
    /// Block quotes around the last table.
    quotes: usize,
    /// The first table in fenced code or in a comment.
    example: Option<(usize, String)>,
}

impl<'a> MarkdownReader<'a> {
    fn line_at(&self, at: usize, number: usize) -> Option<SourceLine<'a>> {
        let raw = self.text[at..].split_inclusive('\n').next()?;
        Some(SourceLine { number, start: at, raw, content: split_line_end(raw).0 })
    }

    fn peek(&self) -> Option<SourceLine<'a>> {
        self.line_at(self.at, self.line + 1)
    }

    fn next(&mut self) -> Option<SourceLine<'a>> {
        let line = self.peek()?;
        self.at += line.raw.len();
        self.line = line.number;
        Some(line)
    }

    /// Skips whole lines.
    fn skip_to(&mut self, at: usize) {
        while self.at < at && self.next().is_some() {}
    }

    fn error(&self, line: usize, what: impl Into<String>) -> PublishedError {
        PublishedError::new(self.file, line, what)
    }

    /// Where `line` is the header of a table of ours: its columns, and the separator below it, which is taken. Another table is
    /// skipped.
    fn header(&mut self, line: &SourceLine<'a>) -> Result<Option<(Columns, SourceLine<'a>)>, PublishedError> {
        if !line.content.contains('|') || is_separator(line.content) {
            return Ok(None);
        }
        let quotes = text_start(line.content).quotes;
        let below = self
            .peek()
            .filter(|below| is_separator(below.content) && text_start(below.content).quotes == quotes);
        let header = Columns::read(&plain_headers(line.content));
        if is_code(line.content) {
            if let (Header::Table(_), Some(_)) = (header, below) {
                let why =
                    "a table that is indented by four blanks or more is code: indent it by three at most";
                self.not_read.push((line.number, why.into()));
            }
            return Ok(None);
        }
        match (header, below) {
            (Header::Other(keys), Some(below)) => {
                self.skip_other(&below);
                if keys == 3 && !is_of_our_reports(line.content) {
                    let why = "no column of this table has figures that this program knows, such as Prompt Latency (ms)";
                    self.not_read.push((line.number, why.into()));
                }
                Ok(None)
            }
            (Header::Other(_) | Header::Unreadable(..), None) => Ok(None),
            (Header::Unreadable(index, what), Some(_)) => {
                let column = plain_headers(line.content).swap_remove(index);
                Err(self.error(line.number, what).in_column(&crate::one_line(&column)))
            }
            // In a sentence, the names of columns are no header.
            (Header::Table(_), None) if !opens_with_pipe(line.content) => Ok(None),
            (Header::Table(columns), None) => {
                let what =
                    format!("expected a line |---|---|… of {} columns below the header", columns.len());
                Err(self.error(line.number + 1, what))
            }
            (Header::Table(columns), Some(below)) => {
                if !columns.has_engine() && self.options.engine.is_none() {
                    return Err(ReadOptions::no_engine(self.file, Some(line.number)));
                }
                let found = LineCells::new(below.content).take(MOST_COLUMNS + 1).count();
                if found != columns.len() {
                    let what = format!("expected {} columns as in the header, found {found}", columns.len());
                    return Err(self.error(below.number, what));
                }
                self.next();
                Ok(Some((columns, below)))
            }
        }
    }

    /// Skips a table that is none of ours.
    fn skip_other(&mut self, separator: &SourceLine<'a>) {
        let quotes = text_start(separator.content).quotes;
        self.next();
        while let Some(line) = self.peek() {
            let is_row = line.content.contains('|') && text_start(line.content).quotes == quotes;
            if !is_row || starts_block(&line.content[text_start(line.content).at..]) {
                break;
            }
            self.next();
        }
    }

    /// Remembers the first table that is no part of the document, and why.
    fn note_example(&mut self, line: &SourceLine<'a>, why: &str) {
        let is_header = self.example.is_none()
            && line.content.contains('|')
            && self.peek().is_some_and(|below| is_separator(below.content))
            && matches!(Columns::read(&plain_headers(line.content)), Header::Table(_));
        if is_header {
            self.example = Some((line.number, why.into()));
        }
    }

    /// The rows below a header and its separator.
    fn rows(
        &mut self,
        header: &SourceLine<'a>,
        columns: &Columns,
        engine: Option<&str>,
    ) -> Result<Vec<RawRow>, PublishedError> {
        let mut rows = Vec::new();
        let (most, given) = (columns.len(), usize::from(engine.is_some()));
        let quotes = text_start(header.content).quotes;
        self.quotes = quotes;
        while let Some(line) = self.peek() {
            let start = text_start(line.content);
            let own = &line.content[start.at..];
            let cells = LineCells::new(line.content).take(most + 1).count() + given;
            let opens = opens_with_pipe(line.content);
            // Without a pipe before it, a line is a row only when it has a row's cells: text may follow at once.
            if start.quotes != quotes || (!opens && (cells != most || starts_block(own))) {
                break;
            }
            if cells > most {
                let what = format!("expected {} cells, found {}", most - given, cells - given);
                return Err(self.error(line.number, what));
            }
            self.next();
            let raw = with_engine(line.raw, engine.map(|engine| escape_cell(engine).into()));
            let texts = self.plain_cells(&line, split_line_end(&raw).0, columns)?;
            rows.push(RawRow { line: line.number, texts, markdown: Some(raw.clone().into_owned()) });
        }
        if rows.is_empty() {
            let mut after = self.peek();
            while let Some(line) = after.filter(|line| trim(line.content).is_empty()) {
                after = self.line_at(line.start + line.raw.len(), line.number + 1);
            }
            if let Some(line) = after {
                self.refuse_stray_row(&line, columns)?;
            }
            return Err(
                self.error(header.number, "a table without rows: expected them below its |---|---|… line")
            );
        }
        Ok(rows)
    }

    /// Whether a line right behind a table would be a row of it, as GitHub or its author sees it.
    fn looks_like_rest(&self, line: &SourceLine<'a>) -> bool {
        let start = text_start(line.content);
        let is_comment = trim(&line.content[start.at..]).starts_with("<!--");
        has_bar(line.content) && !is_comment && self.quotes == start.quotes
    }

    fn plain_cells(
        &self,
        line: &SourceLine<'a>,
        content: &str,
        columns: &Columns,
    ) -> Result<Vec<String>, PublishedError> {
        let cells = LineCells::new(content).enumerate().map(|(index, (_, raw))| {
            plain_cell(columns, index, raw)
                .map_err(|what| self.error(line.number, what).in_column(columns.name(index)))
        });
        cells.collect()
    }

    /// Refuses a row of the table above that an empty line or text parts from it: nothing shows it as one.
    fn refuse_stray_row(&self, line: &SourceLine<'a>, columns: &Columns) -> Result<(), PublishedError> {
        if !opens_with_pipe(line.content) || is_code(line.content) {
            return Ok(());
        }
        let engines = usize::from(self.options.engine.is_some());
        let cells = || LineCells::new(line.content).take(MOST_COLUMNS + 1).map(|(_, raw)| raw);
        let is_row = |skipped: usize| {
            let texts = std::iter::repeat_n("", skipped).chain(cells()).enumerate();
            let texts: Vec<String> =
                texts.map(|(index, raw)| plain_cell(columns, index, raw).unwrap_or_default()).collect();
            columns.look_like_row(&texts)
        };
        if !(0..=engines).any(is_row) {
            return Ok(());
        }
        let what = "a row apart from its table: remove the empty line or the text between them";
        Err(self.error(line.number, what))
    }
}

/// Whether a header is of the tables that this program prints below those of a run, which have no published column.
fn is_of_our_reports(header: &str) -> bool {
    ["MBU", "Peak", "Sums At Least", "Verdict", "Collectives", "Energy", "TPOT"]
        .iter()
        .any(|name| header.contains(name))
}
