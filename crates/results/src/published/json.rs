//! Tables as json: `{"schema": 2, "pieces": [{"text": …} | {"heading": …, "rows": [{"Engine": …, …}]}]}`. A row has the table's
//! columns by their names; figures are texts as they were printed, or numbers where this program measured them.
//!
//! A text without a `schema` is of an earlier version: the same, but for numbers.

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::columns::{Header, MOST_COLUMNS};
use super::error::brief;
use super::headings::clean_heading;
use super::json_lines::RowLines;
use super::rows::{RawRow, read_rows, remarks};
use super::{Columns, Document, MarkdownSource, Piece, PublishedError, PublishedRow, PublishedTable};
use super::{ReadOptions, markdown};
use crate::format_g10;

/// The version of the format.
pub const SCHEMA: u32 = 2;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with pieces")]
struct JsonDocument {
    #[serde(default)]
    schema: Option<u32>,
    pieces: Vec<JsonPiece>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a piece: an object with a text, or with rows")]
struct JsonPiece {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    markdown: Option<JsonMarkdown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<JsonRow>>,
    /// What a run says of its table beside its rows.
    #[serde(skip_serializing)]
    measured: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonMarkdown {
    heading: String,
    between: String,
    header: String,
    separator: String,
}

/// A row: its table's columns by name, in order, and `markdown` where it has it.
struct JsonRow {
    fields: Vec<(String, JsonText)>,
    markdown: Option<String>,
}

/// What a column has: sizes are numbers, and so are figures that were measured and not printed.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a text or a number")]
enum JsonText {
    Text(String),
    Whole(u64),
    Number(f64),
    Null(()),
}

impl JsonText {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => format_g10(number),
            Self::Null(()) => String::new(),
        }
    }
}

impl Serialize for JsonRow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        for (name, text) in &self.fields {
            map.serialize_entry(name, text)?;
        }
        if let Some(markdown) = &self.markdown {
            map.serialize_entry("markdown", markdown)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for JsonRow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> serde::de::Visitor<'de> for RowVisitor {
    type Value = JsonRow;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a row: an object with the columns by name")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<JsonRow, A::Error> {
        let mut row = JsonRow { fields: Vec::new(), markdown: None };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "markdown" => row.markdown = Some(map.next_value()?),
                "measured" => drop(map.next_value::<IgnoredAny>()?),
                _ if row.fields.len() >= MOST_COLUMNS => {
                    return Err(A::Error::custom(format!("more than {MOST_COLUMNS} columns")));
                }
                _ => {
                    let text = map.next_value()?;
                    row.fields.push((key, text));
                }
            }
        }
        Ok(row)
    }
}

/// Reads tables from json as [`write()`] makes it, or `table --format json` of a run; `file` names it in errors.
pub fn parse(text: &str, file: &str) -> Result<Document, PublishedError> {
    parse_with(text, file, &ReadOptions::default())
}

/// Reads as [`parse`] does, with what the caller says of tables that do not say it.
pub fn parse_with(text: &str, file: &str, options: &ReadOptions) -> Result<Document, PublishedError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: JsonDocument = serde_json::from_str(text).map_err(|error| explain(&error, text, file))?;
    if let Some(other) = document.schema.filter(|schema| *schema != SCHEMA) {
        let what =
            format!("schema: expected {SCHEMA}, found {other}: it is of another version of this program");
        return Err(PublishedError::new(file, None, what));
    }
    let mut lines = RowLines::new(text);
    let mut pieces = Vec::new();
    for piece in document.pieces {
        pieces.push(match piece {
            JsonPiece { text: Some(text), heading: None, markdown: None, rows: None, .. } => {
                Piece::Text(text)
            }
            JsonPiece { text: None, rows: Some(_), .. } => {
                Piece::Table(table(piece, &mut lines, file, options)?)
            }
            _ => {
                return Err(PublishedError::new(
                    file,
                    None,
                    "expected pieces that have either a text or rows",
                ));
            }
        });
    }
    let mut document = Document { pieces };
    if document.tables().next().is_none() {
        return Err(PublishedError::new(file, None, "no table among the pieces"));
    }
    if !is_consistent(&document) {
        return Err(PublishedError::new(file, None, "markdown: does not make tables of these rows"));
    }
    for table in document.tables_mut() {
        options.complete(table, file)?;
    }
    Ok(document)
}

/// Reads a piece with rows.
fn table(
    piece: JsonPiece,
    lines: &mut RowLines<'_>,
    file: &str,
    options: &ReadOptions,
) -> Result<PublishedTable, PublishedError> {
    let rows = piece.rows.unwrap_or_default();
    let names: Vec<String> =
        rows.first().map(|row| row.fields.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default();
    let first = lines.peek();
    let error = |what: String| PublishedError::new(file, first, what);
    if rows.is_empty() {
        return Err(error("a table without rows".into()));
    }
    let columns = match Columns::read(&names) {
        Header::Table(columns) => columns,
        Header::Unreadable(index, what) => {
            return Err(error(what).in_column(&crate::one_line(&names[index])));
        }
        Header::Other(_) => {
            let found = brief(&names.join(", "));
            return Err(error(format!(
                "no row that this program reads: expected Engine, Batch Size, Prompt Length and figures such as Prompt Latency (ms), found {found}"
            )));
        }
    };
    let engine = options.engine.as_ref().filter(|_| !columns.has_engine());
    if !columns.has_engine() && engine.is_none() {
        return Err(ReadOptions::no_engine(file, first));
    }
    let columns = match engine {
        None => columns,
        Some(_) => {
            let with_engine: Vec<String> = std::iter::once("Engine".into()).chain(names.clone()).collect();
            match Columns::read(&with_engine) {
                Header::Table(columns) => columns,
                _ => return Err(ReadOptions::no_engine(file, first)),
            }
        }
    };
    let has_markdown = engine.is_none();
    let mut raw = Vec::with_capacity(rows.len());
    for JsonRow { mut fields, markdown } in rows {
        let line = lines.next().unwrap_or(0);
        let place = (line > 0).then_some(line);
        let mut texts: Vec<String> = engine.cloned().into_iter().collect();
        for (index, name) in names.iter().enumerate() {
            // Rows have their keys in the same order, as they were written.
            let at = match fields.get(index) {
                Some((key, _)) if key == name => Some(index),
                _ => fields.iter().position(|(key, _)| key == name),
            };
            let Some(at) = at else {
                return Err(PublishedError::new(file, place, "missing in this row").in_column(name));
            };
            texts.push(std::mem::replace(&mut fields[at].1, JsonText::Null(())).into_text());
        }
        if fields.len() > names.len() {
            let other =
                fields.iter().find(|(key, _)| !names.contains(key)).map_or("a key twice", |(key, _)| key);
            let what = format!("{} is not among the columns of the first row", brief(other));
            return Err(PublishedError::new(file, place, what));
        }
        raw.push(RawRow { line, texts, markdown: markdown.filter(|_| has_markdown) });
    }
    let read = read_rows(&columns, raw, file)?;
    let stated = piece.generation_length.filter(|length| *length > 0);
    Ok(PublishedTable {
        heading: clean_heading(&piece.heading.unwrap_or_default()),
        line: first.unwrap_or(0),
        markdown: piece.markdown.filter(|_| has_markdown).map(
            |JsonMarkdown { heading, between, header, separator }| MarkdownSource {
                heading,
                between,
                header,
                separator,
            },
        ),
        remarks: remarks(&columns, &read, file, first.unwrap_or(0)),
        is_exact: false,
        generation_length: read.generation_length.or(stated),
        columns,
        rows: read.rows,
    })
}

/// Says what is wrong with a text that is no such json.
fn explain(error: &serde_json::Error, text: &str, file: &str) -> PublishedError {
    #[derive(Deserialize)]
    struct Ours {
        #[serde(rename = "pieces")]
        _pieces: IgnoredAny,
    }
    #[derive(Deserialize)]
    struct EarlierTable {
        #[serde(rename = "heading")]
        _heading: IgnoredAny,
        #[serde(rename = "rows")]
        _rows: IgnoredAny,
    }
    let line = (error.line() > 0).then_some(error.line());
    let words = without_place(&error.to_string()).to_owned();
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let words = error.to_string();
        let is_number = ["NaN", "Infinity"].iter().any(|word| text.contains(word));
        let note = if is_number { ": NaN and Infinity are no numbers of JSON" } else { "" };
        let what = format!("not JSON: {}{note}", without_place(&words));
        return PublishedError::new(file, (error.line() > 0).then_some(error.line()), what);
    }
    if serde_json::from_str::<Vec<EarlierTable>>(text).is_ok_and(|tables| !tables.is_empty()) {
        let what = "a run's tables from an earlier version of this program, whose figures have no names: print them again with \
                    `llama2-bench table RUN --format json`";
        return PublishedError::new(file, None, what);
    }
    if !text.trim_start().starts_with('{') || serde_json::from_str::<Ours>(text).is_err() {
        let what = format!(
            "not a table of this program: expected what `llama2-bench table --format json` writes, an object with \"schema\" and \
             \"pieces\"; nor results of a tool that it reads: {}",
            crate::import::tools()
        );
        return PublishedError::new(file, None, what);
    }
    PublishedError::new(file, line, words)
}

/// Whether what the document says of its markdown gives its own tables again.
fn is_consistent(document: &Document) -> bool {
    let has_markdown = |table: &PublishedTable| {
        table.markdown.is_some() || table.rows.iter().any(|row| row.markdown.is_some())
    };
    if !document.tables().any(has_markdown) {
        return true;
    }
    // What is not its markdown's own text is written anew, without what would steer a terminal.
    let same = |text: &str, again: &str| text == again || super::lines::trim(&crate::one_line(text)) == again;
    let same_row = |(row, again): (&PublishedRow, &PublishedRow)| {
        let sizes = |row: &PublishedRow| [row.batch_size, row.prompt_length];
        let mut cells = row.cells.iter().zip(&again.cells);
        same(&row.engine, &again.engine)
            && sizes(row) == sizes(again)
            && cells.all(|(cell, again)| same(cell.text(), again.text()) || cell.value() == again.value())
    };
    let same_table = |(table, again): (&PublishedTable, &PublishedTable)| {
        same(&table.heading, &again.heading)
            && table.columns.names().eq(again.columns.names())
            && table.rows.len() == again.rows.len()
            && table.rows.iter().zip(&again.rows).all(same_row)
    };
    markdown::parse_any(&markdown::write(document), "").is_ok_and(|again| {
        document.tables().count() == again.tables().count()
            && document.tables().zip(again.tables()).all(same_table)
    })
}

/// The parser's words without the place that it adds to them: that stands before them.
fn without_place(error: &str) -> &str {
    error.rfind(" at line ").map_or(error, |end| &error[..end])
}

/// The document as json.
pub fn write(document: &Document) -> String {
    let pieces = document.pieces.iter().map(|piece| match piece {
        Piece::Text(text) => JsonPiece { text: Some(text.clone()), ..JsonPiece::default() },
        Piece::Table(table) => JsonPiece {
            heading: Some(table.heading.clone()),
            generation_length: table.generation_length,
            markdown: table.markdown.clone().map(|MarkdownSource { heading, between, header, separator }| {
                JsonMarkdown { heading, between, header, separator }
            }),
            rows: Some(table.rows.iter().map(|row| json_row(table, row)).collect()),
            ..JsonPiece::default()
        },
    });
    let document = JsonDocument { schema: Some(SCHEMA), pieces: pieces.collect() };
    let mut text = serde_json::to_string_pretty(&document).expect("texts and numbers are json");
    text.push('\n');
    text
}

fn json_row(table: &PublishedTable, row: &PublishedRow) -> JsonRow {
    let texts = table.columns.texts(row).into_iter().enumerate().map(|(index, text)| {
        let number = text.parse().ok().filter(|_| table.columns.is_size(index));
        number.map_or(JsonText::Text(text), JsonText::Whole)
    });
    let names = table.columns.names().map(str::to_owned);
    JsonRow { fields: names.zip(texts).collect(), markdown: row.markdown.clone() }
}
