//! The tables as csv: the heading in the first column, then the documents' eleven.
//!
//! Where a document does not look as [`super::markdown`] would write it, two more columns keep what it looked like, so
//! that markdown comes back byte for byte: `Markdown Before` (what stands above a row's line; in a record without an
//! engine, at the end of the file) and `Markdown Row` (the line). An empty one means: as it would be written.

use csv::StringRecord;

use super::lines::trim;
use super::markdown::{canonical_head, canonical_row, first_difference, read_row, write_head, write_row};
use super::{Document, Piece, PublishedError, PublishedRow, PublishedTable, markdown};
use crate::COLUMNS;

const TABLE: &str = "Table";
const BEFORE: &str = "Markdown Before";
const ROW: &str = "Markdown Row";

/// Reads tables from csv; `file` names it in errors. The first column may be `Table`, the heading; columns after the
/// documents' are ignored, as those of a run's `summary.csv`, but for the two that keep the markdown.
pub fn parse(text: &str, file: &str) -> Result<Document, PublishedError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    let mut read = |record: &mut StringRecord| {
        let more = reader.read_record(record);
        more.map_err(|error| PublishedError::new(file, None, format!("not csv: {error}")))
    };
    if !read(&mut record)? {
        return Err(PublishedError::new(
            file,
            None,
            "empty: expected a header line Table,Engine,Batch Size,…",
        ));
    }
    let first = usize::from(record.get(0) == Some(TABLE));
    if let Some(what) = first_difference(record.iter().skip(first).take(COLUMNS.len())) {
        return Err(PublishedError::new(file, line(&record), what));
    }
    let find = |name: &str| record.iter().position(|header| header == name);
    let columns = Columns { first, before: find(BEFORE), row: find(ROW) };

    let mut parts = Parts::default();
    while read(&mut record)? {
        parts.push(&record, &columns, file)?;
    }
    parts.into_document(file)
}

/// The line of a record, from 1.
fn line(record: &StringRecord) -> usize {
    record.position().map_or(0, |position| usize::try_from(position.line()).unwrap_or(usize::MAX))
}

/// Where the columns are.
struct Columns {
    /// Of the engine.
    first: usize,
    before: Option<usize>,
    row: Option<usize>,
}

/// What is read: rows under their headings, and the markdown that they make.
#[derive(Default)]
struct Parts {
    rows: Vec<(String, PublishedRow)>,
    markdown: String,
}

impl Parts {
    fn push(&mut self, record: &StringRecord, columns: &Columns, file: &str) -> Result<(), PublishedError> {
        let get = |index: usize| refuse_formula_mark(record.get(index).unwrap_or(""));
        let kept = |index: Option<usize>| index.map(get).unwrap_or_default();
        let before = kept(columns.before);
        let texts: [String; 11] = std::array::from_fn(|index| get(columns.first + index).to_owned());
        if texts.iter().all(String::is_empty) {
            self.markdown.push_str(before);
            return Ok(());
        }
        let mut row = read_row(&texts).map_err(|(column, what)| {
            PublishedError::new(file, line(record), what).in_column(COLUMNS[column])
        })?;
        row.line = line(record);
        let heading = if columns.first == 1 { trim(get(0)) } else { "" };
        let is_first = self.rows.last().is_none_or(|(last, _)| last != heading);
        if !before.is_empty() {
            self.markdown.push_str(before);
        } else if is_first {
            self.markdown.push_str(if self.markdown.is_empty() { "" } else { "\n" });
            self.markdown.push_str(&canonical_head(heading));
        }
        match kept(columns.row) {
            "" => self.markdown.push_str(&canonical_row(&row)),
            line => self.markdown.push_str(line),
        }
        self.rows.push((heading.to_owned(), row));
        Ok(())
    }

    /// The document that the markdown makes, with what the csv's columns say.
    fn into_document(self, file: &str) -> Result<Document, PublishedError> {
        let inconsistent = || {
            PublishedError::new(file, None, format!("{BEFORE} and {ROW} do not make tables of these rows"))
        };
        let mut document = markdown::parse_any(&self.markdown, file).map_err(|_| inconsistent())?;
        let mut rows = self.rows.into_iter();
        for table in document.tables_mut() {
            for (index, place) in table.rows.iter_mut().enumerate() {
                let (heading, row) = rows.next().ok_or_else(inconsistent)?;
                if index == 0 {
                    table.line = row.line;
                    table.heading = heading;
                }
                *place = PublishedRow { markdown: place.markdown.take(), ..row };
            }
        }
        if rows.next().is_some() {
            return Err(inconsistent());
        }
        if document.tables().next().is_none() {
            return Err(PublishedError::new(file, None, "no rows below the header"));
        }
        Ok(document)
    }
}

/// The tables as csv.
pub fn write(document: &Document) -> String {
    let records = records(document);
    let keeps_markdown = records.iter().any(|record| !record.before.is_empty() || !record.row.is_empty());
    let mut writer = csv::Writer::from_writer(Vec::new());
    let kept: &[&str] = if keeps_markdown { &[BEFORE, ROW] } else { &[] };
    let header = [TABLE].into_iter().chain(COLUMNS).chain(kept.iter().copied());
    writer.write_record(header).expect("memory takes every record");
    for record in &records {
        let kept: &[&String] = if keeps_markdown { &[&record.before, &record.row] } else { &[] };
        let fields = record.fields.iter().chain(kept.iter().copied()).map(|field| formula_mark(field));
        writer.write_record(fields).expect("memory takes every record");
    }
    String::from_utf8(writer.into_inner().expect("memory takes every record")).expect("text was written")
}

struct Record {
    /// Heading and eleven columns.
    fields: [String; 12],
    before: String,
    row: String,
}

fn records(document: &Document) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let (mut above, mut is_start) = (String::new(), true);
    for piece in &document.pieces {
        let table: &PublishedTable = match piece {
            Piece::Text(text) => {
                above.push_str(text);
                continue;
            }
            Piece::Table(table) => table,
        };
        // The blank line between tables that are in no file depends on there being something above.
        if table.markdown.is_none() && !is_start && above.is_empty() {
            above.push('\n');
        }
        write_head(table, &mut above);
        for row in &table.rows {
            let last = records.last().map(|record| record.fields[0].as_str());
            let canonical = format!("{}{}", if is_start { "" } else { "\n" }, canonical_head(&table.heading));
            let starts = last != Some(&table.heading);
            let before = std::mem::take(&mut above);
            let before = if starts && before == canonical { String::new() } else { before };
            let mut line = String::new();
            write_row(row, &mut line);
            let line = if line == canonical_row(row) { String::new() } else { line };
            let mut texts = row.texts().into_iter();
            let fields = std::array::from_fn(|index| match index {
                0 => table.heading.clone(),
                _ => texts.next().unwrap_or_default(),
            });
            records.push(Record { fields, before, row: line });
            is_start = false;
        }
    }
    if !above.is_empty() {
        records.push(Record { fields: Default::default(), before: above, row: String::new() });
    }
    records
}

/// A text that a spreadsheet would take for a formula gets a quote before it; so does one that already has quotes there.
fn formula_mark(text: &str) -> String {
    if is_formula(text) { format!("'{text}") } else { text.to_owned() }
}

fn refuse_formula_mark(text: &str) -> &str {
    text.strip_prefix('\'').filter(|text| is_formula(text)).unwrap_or(text)
}

fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}
