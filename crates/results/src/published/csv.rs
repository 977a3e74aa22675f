//! Tables as csv: the heading in the first column, then the table's own.
//!
//! Where a document does not look as [`super::markdown`] would write it, two more columns keep what it looked like, so
//! that markdown comes back byte for byte: `Markdown Before` (what stands above a row's line; in a record without an
//! engine, at the end of the file) and `Markdown Row` (the line). An empty one means: as it would be written.

use std::collections::HashSet;

use csv::StringRecord;

use super::columns::{Header, MOST_COLUMNS};
use super::csv_syntax::{SEPARATOR, broken_quote, delimiter};
use super::heading_above::HeadingAbove;
use super::headings::clean_heading;
use super::lines::trim;
use super::rows::{RawRow, read_rows, remarks};
use super::write::{canonical_head, canonical_row, write_head, write_row};
use super::{Columns, Document, Piece, PublishedError, PublishedRow, PublishedTable, ReadOptions, markdown};
use crate::COLUMNS;
use crate::text::{formula_mark, remove_formula_mark};

const TABLE: &str = "Table";
const BEFORE: &str = "Markdown Before";
const ROW: &str = "Markdown Row";
/// The first columns of a run's `summary.csv` behind the published ones. They are not read.
const OF_A_RUN: [&str; 2] = ["Outcome", "Phase"];

/// Reads tables from csv; `file` names it in errors. The first column may be `Table`, the heading. Fields are separated by
/// commas, semicolons or tabs, whichever the header has most of.
pub fn parse(text: &str, file: &str) -> Result<Document, PublishedError> {
    parse_with(text, file, &ReadOptions::default())
}

/// Reads as [`parse`] does, with what the caller says of tables that do not say it.
pub fn parse_with(text: &str, file: &str, options: &ReadOptions) -> Result<Document, PublishedError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let delimiter = delimiter(text);
    if let Some((line, what)) = broken_quote(text, delimiter) {
        return Err(PublishedError::new(file, line, what));
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
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
    if text.starts_with(SEPARATOR) && !read(&mut record)? {
        return Err(PublishedError::new(file, None, "no header line"));
    }
    let layout = Layout::read(&record, file, options)?;
    let fields = record.len();
    let mut records = Vec::new();
    while read(&mut record)? {
        if record.len() != fields && !record.iter().all(str::is_empty) {
            let what = format!(
                "expected {fields} fields as in the header, found {}: a field with a separator in it needs quotes",
                record.len()
            );
            return Err(PublishedError::new(file, line(&record), what));
        }
        records.push(layout.record(&record, options));
    }
    let mut document = layout.document(records, file)?;
    let mut said = HashSet::new();
    for table in document.tables_mut() {
        options.complete(table, file)?;
        // All have the same header.
        table.remarks.retain(|remark| said.insert(remark.clone()));
    }
    if document.tables().next().is_none() {
        return Err(PublishedError::new(file, None, "no rows below the header"));
    }
    Ok(document)
}

/// The line of a record, from 1.
fn line(record: &StringRecord) -> usize {
    record.position().map_or(0, |position| usize::try_from(position.line()).unwrap_or(usize::MAX))
}

/// Where the fields of a record are.
struct Layout {
    columns: Columns,
    /// The fields of the columns; `None` where the caller says the engine.
    fields: Vec<Option<usize>>,
    table: Option<usize>,
    before: Option<usize>,
    row: Option<usize>,
}

/// A record: a row, or the markdown at the end.
struct CsvRecord {
    heading: String,
    raw: RawRow,
    before: String,
    row: String,
}

/// The markdown that a record keeps.
struct Kept {
    /// The heading of its table; `None` where it is no row.
    heading: Option<String>,
    before: String,
    row: String,
}

impl Layout {
    fn read(header: &StringRecord, file: &str, options: &ReadOptions) -> Result<Self, PublishedError> {
        let find = |name: &str| header.iter().position(|field| trim(field) == name);
        let (table, before, row) = (find(TABLE).filter(|at| *at == 0), find(BEFORE), find(ROW));
        let published = 1 + COLUMNS.len();
        let is_summary = table.is_some() && header.iter().skip(published).take(2).eq(OF_A_RUN);
        let end = if is_summary { published } else { header.len() };
        let is_kept = |index: &usize| ![table, before, row].contains(&Some(*index));
        let mut fields: Vec<Option<usize>> = (0..end).filter(is_kept).map(Some).collect();
        let names = |fields: &[Option<usize>]| -> Vec<String> {
            let name = |field: &Option<usize>| field.and_then(|field| header.get(field)).unwrap_or("Engine");
            fields.iter().take(MOST_COLUMNS + 1).map(|field| trim(name(field)).to_owned()).collect()
        };
        let mut read = Columns::read(&names(&fields));
        if matches!(&read, Header::Table(columns) if !columns.has_engine()) {
            if options.engine.is_none() {
                return Err(ReadOptions::no_engine(file, None));
            }
            fields.insert(0, None);
            read = Columns::read(&names(&fields));
        }
        match read {
            Header::Table(columns) => Ok(Self { columns, fields, table, before, row }),
            Header::Unreadable(index, what) => {
                let name = names(&fields).swap_remove(index);
                Err(PublishedError::new(file, line(header), what).in_column(&crate::one_line(&name)))
            }
            Header::Other(_) => {
                let found = super::error::brief(&names(&fields).join(","));
                let what = format!(
                    "no table that this program reads: expected columns such as Engine,Batch Size,Prompt Length,Prompt Latency (ms), \
                     found {found}"
                );
                Err(PublishedError::new(file, line(header), what))
            }
        }
    }

    fn record(&self, record: &StringRecord, options: &ReadOptions) -> CsvRecord {
        let get = |index: usize| remove_formula_mark(record.get(index).unwrap_or(""));
        let kept = |index: Option<usize>| index.map(get).unwrap_or_default().to_owned();
        let field = |field: &Option<usize>| match field {
            Some(index) => get(*index).to_owned(),
            None => options.engine.clone().unwrap_or_default(),
        };
        let is_empty = self.fields.iter().flatten().all(|index| get(*index).is_empty());
        let texts = if is_empty { Vec::new() } else { self.fields.iter().map(field).collect() };
        CsvRecord {
            heading: clean_heading(&kept(self.table)),
            raw: RawRow { line: line(record), texts, markdown: None },
            before: kept(self.before),
            row: kept(self.row),
        }
    }

    /// The document that the records make.
    fn document(&self, records: Vec<CsvRecord>, file: &str) -> Result<Document, PublishedError> {
        let has_markdown = self.before.is_some() || self.row.is_some();
        let (mut tables, mut kept): (Vec<(String, Vec<RawRow>)>, _) = (Vec::new(), Vec::new());
        for CsvRecord { heading, raw, before, row } in records {
            let is_row = !raw.texts.is_empty();
            match tables.last_mut() {
                _ if !is_row => {}
                // Markdown above a row is a table's head.
                Some((last, rows)) if *last == heading && before.is_empty() => rows.push(raw),
                _ => tables.push((heading.clone(), vec![raw])),
            }
            if has_markdown {
                kept.push(Kept { heading: is_row.then_some(heading), before, row });
            }
        }
        let read = |(heading, raw): (String, Vec<RawRow>)| self.table(heading, raw, file);
        let tables = tables.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        match has_markdown {
            true => self.restore_markdown(&kept, &tables, file),
            false => Ok(Document { pieces: tables.into_iter().map(Piece::Table).collect() }),
        }
    }

    /// The table of rows of one heading.
    fn table(&self, heading: String, raw: Vec<RawRow>, file: &str) -> Result<PublishedTable, PublishedError> {
        let line = raw.first().map_or(0, |row| row.line);
        let read = read_rows(&self.columns, raw, file)?;
        Ok(PublishedTable {
            heading,
            line,
            remarks: remarks(&self.columns, &read, file, 1),
            is_exact: false,
            generation_length: read.generation_length,
            rows: read.rows,
            columns: self.columns.clone(),
            markdown: None,
        })
    }

    /// The document that the kept markdown makes, with what the csv's columns say.
    fn restore_markdown(
        &self,
        kept: &[Kept],
        tables: &[PublishedTable],
        file: &str,
    ) -> Result<Document, PublishedError> {
        let inconsistent = || {
            PublishedError::new(file, None, format!("{BEFORE} and {ROW} do not make tables of these rows"))
        };
        let mut text = String::new();
        let mut last = None;
        let mut rows = tables.iter().flat_map(|table| &table.rows);
        for Kept { heading, before, row } in kept {
            let published = if heading.is_some() { rows.next() } else { None };
            match (heading, before.as_str()) {
                (Some(heading), "") if last != Some(heading) => {
                    text.push_str(if text.is_empty() { "" } else { "\n" });
                    text.push_str(&canonical_head(&self.columns, heading));
                }
                (_, before) => text.push_str(before),
            }
            match (published, row.as_str()) {
                (Some(published), "") => text.push_str(&canonical_row(&self.columns, published)),
                (Some(_), row) => text.push_str(row),
                (None, _) => {}
            }
            last = heading.as_ref().or(last);
        }
        let mut document = markdown::parse_any(&text, file).map_err(|_| inconsistent())?;
        let rows = tables.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row)));
        let mut rows = rows.peekable();
        for table in document.tables_mut() {
            table.remarks.clear();
            if let Some((first, row)) = rows.peek() {
                table.line = row.line;
                table.heading.clone_from(&first.heading);
                table.generation_length = table.generation_length.or(first.generation_length);
                if first.rows.first().is_some_and(|first| first.line == row.line) {
                    table.remarks.clone_from(&first.remarks);
                }
            }
            for place in &mut table.rows {
                let (_, row) = rows.next().ok_or_else(inconsistent)?;
                let row =
                    table.columns.converted(row, &self.columns, Some(place)).ok_or_else(inconsistent)?;
                *place = PublishedRow { markdown: place.markdown.take(), ..row };
            }
        }
        if rows.next().is_some() { Err(inconsistent()) } else { Ok(document) }
    }
}

/// The tables as csv.
pub fn write(document: &Document) -> String {
    let columns = common_columns(document);
    let records = records(document, &columns);
    let keeps_markdown = records.iter().any(|record| !record.before.is_empty() || !record.row.is_empty());
    let kept: &[&str] = if keeps_markdown { &[BEFORE, ROW] } else { &[] };
    let header = [TABLE].into_iter().chain(columns.names()).chain(kept.iter().copied());
    // The header tells a reader the separator: others in a name are in quotes.
    let has_others = columns.names().any(|name| name.contains([';', '\t']));
    let quotes = if has_others { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
    let mut writer = csv::WriterBuilder::new().quote_style(quotes).from_writer(Vec::new());
    writer.write_record(header).expect("memory takes every record");
    for record in &records {
        let kept: &[&String] = if keeps_markdown { &[&record.before, &record.row] } else { &[] };
        let fields = std::iter::once(&record.heading).chain(&record.fields).chain(kept.iter().copied());
        writer
            .write_record(fields.map(|field| formula_mark(field).into_owned()))
            .expect("memory takes every record");
    }
    String::from_utf8(writer.into_inner().expect("memory takes every record")).expect("text was written")
}

/// The columns of all tables: their own where all have the same.
fn common_columns(document: &Document) -> Columns {
    let mut tables = document.tables().map(|table| &table.columns);
    let first = tables.next().cloned().unwrap_or_default();
    if tables.all(|columns| *columns == first) {
        return first;
    }
    Columns::union(document.tables().map(|table| &table.columns))
}

struct Written {
    heading: String,
    fields: Vec<String>,
    before: String,
    row: String,
}

fn records(document: &Document, columns: &Columns) -> Vec<Written> {
    let mut records: Vec<Written> = Vec::new();
    let (mut above, mut is_start, mut heading) = (String::new(), true, HeadingAbove::default());
    for piece in &document.pieces {
        let table: &PublishedTable = match piece {
            Piece::Text(text) => {
                above.push_str(text);
                heading.push(text);
                continue;
            }
            Piece::Table(table) => table,
        };
        // The blank line between tables that are in no file depends on there being something above.
        let head = canonical_head(&table.columns, &table.heading);
        let canonical = format!("{}{head}", if is_start { "" } else { "\n" });
        match table.markdown {
            None if above.is_empty() => {
                heading = HeadingAbove::new(&table.heading);
                above.clone_from(&canonical);
            }
            _ => write_head(table, &mut heading, &mut above),
        }
        // Among tables of several kinds of columns, nothing says of which kind one is but its markdown.
        let is_own = table.columns == *columns;
        for row in &table.rows {
            let last = records.last().map(|record| record.heading.as_str());
            let starts = last != Some(&table.heading);
            let before = std::mem::take(&mut above);
            let before = if starts && is_own && before == canonical { String::new() } else { before };
            let mut line = String::new();
            write_row(&table.columns, row, &mut line);
            let line =
                if is_own && line == canonical_row(&table.columns, row) { String::new() } else { line };
            let fields = match is_own {
                true => columns.texts(row),
                // All figures have a column among those of all tables.
                false => columns
                    .texts(&columns.converted(row, &table.columns, None).unwrap_or_else(|| row.clone())),
            };
            records.push(Written { heading: table.heading.clone(), fields, before, row: line });
            is_start = false;
        }
    }
    if !above.is_empty() {
        let fields = columns.names().map(|_| String::new()).collect();
        records.push(Written { heading: String::new(), fields, before: above, row: String::new() });
    }
    records
}
