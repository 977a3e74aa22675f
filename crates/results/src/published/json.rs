//! The tables as json: `{"pieces": [{"text": …} | {"heading": …, "rows": […]}]}`, figures as the texts that were printed,
//! under the documents' column names.

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::error::brief;
use super::lines::trim;
use super::markdown::{parse_any, read_row, write as write_markdown};
use super::{Document, MarkdownSource, Piece, PublishedError, PublishedRow, PublishedTable};
use crate::COLUMNS;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with pieces")]
struct JsonDocument {
    pieces: Vec<JsonPiece>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a piece: an object with a text, or with rows")]
struct JsonPiece {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    markdown: Option<JsonMarkdown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<JsonRow>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonMarkdown {
    heading: String,
    between: String,
    header: String,
    separator: String,
}

/// A row whose object has the documents' columns in any order, and `markdown` where it has it.
struct JsonRow(PublishedRow);

impl Serialize for JsonRow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let Self(row) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(COLUMNS[0], &row.engine)?;
        map.serialize_entry(COLUMNS[1], &row.batch_size)?;
        map.serialize_entry(COLUMNS[2], &row.prompt_length)?;
        for (name, cell) in COLUMNS[3..].iter().zip(&row.cells) {
            map.serialize_entry(name, cell.text())?;
        }
        if let Some(markdown) = &row.markdown {
            map.serialize_entry("markdown", markdown)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for JsonRow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor).map(Self)
    }
}

struct RowVisitor;

impl<'de> serde::de::Visitor<'de> for RowVisitor {
    type Value = PublishedRow;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a row: an object with the documents' columns")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<PublishedRow, A::Error> {
        let mut texts: [Option<String>; 11] = Default::default();
        let mut markdown = None;
        while let Some(key) = map.next_key::<String>()? {
            match COLUMNS.iter().position(|column| *column == key) {
                Some(index @ (1 | 2)) => texts[index] = Some(map.next_value::<u32>()?.to_string()),
                Some(index) => texts[index] = Some(map.next_value()?),
                None if key == "markdown" => markdown = Some(map.next_value()?),
                None => {
                    let next =
                        texts.iter().position(Option::is_none).map_or("no other", |index| COLUMNS[index]);
                    return Err(A::Error::custom(format!("expected \"{next}\", found {}", brief(&key))));
                }
            }
        }
        if let Some(index) = texts.iter().position(Option::is_none) {
            return Err(A::Error::custom(format!("{}: missing", COLUMNS[index])));
        }
        let row = read_row(&texts.map(Option::unwrap_or_default));
        let row = row.map_err(|(column, what)| A::Error::custom(format!("{}: {what}", COLUMNS[column])))?;
        Ok(PublishedRow { markdown, ..row })
    }
}

/// Reads tables from json as [`write()`] makes it; `file` names it in errors.
pub fn parse(text: &str, file: &str) -> Result<Document, PublishedError> {
    let document: JsonDocument = serde_json::from_str(text).map_err(|error| {
        let line = (error.line() > 0).then_some(error.line());
        PublishedError::new(file, line, without_place(&error.to_string()))
    })?;
    let pieces = document.pieces.into_iter().map(|piece| match piece {
        JsonPiece { text: Some(text), heading: None, markdown: None, rows: None } => Ok(Piece::Text(text)),
        JsonPiece { text: None, heading, markdown, rows: Some(rows) } => {
            Ok(Piece::Table(PublishedTable {
                heading: trim(&heading.unwrap_or_default()).to_owned(),
                line: 0,
                markdown: markdown.map(|JsonMarkdown { heading, between, header, separator }| {
                    MarkdownSource { heading, between, header, separator }
                }),
                rows: rows.into_iter().map(|JsonRow(row)| row).collect(),
            }))
        }
        _ => Err(PublishedError::new(file, None, "expected pieces that have either a text or rows")),
    });
    let mut document = Document { pieces: pieces.collect::<Result<_, _>>()? };
    number_lines(&mut document, text);
    if document.tables().next().is_none() {
        return Err(PublishedError::new(file, None, "no table among the pieces"));
    }
    if !is_consistent(&document) {
        return Err(PublishedError::new(file, None, "markdown: does not make tables of these rows"));
    }
    Ok(document)
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
    let same = |its: &str, again: &str| its == again || trim(&crate::one_line(its)) == again;
    let same_row = |(row, again): (&PublishedRow, &PublishedRow)| {
        row.texts().iter().zip(again.texts()).all(|(its, again)| same(its, &again))
    };
    let same_table = |(table, again): (&PublishedTable, &PublishedTable)| {
        // A csv names a table in its rows: where there are none, the markdown alone says its heading.
        (table.heading == again.heading || (!table.rows.is_empty() && same(&table.heading, &again.heading)))
            && table.rows.len() == again.rows.len()
            && table.rows.iter().zip(&again.rows).all(same_row)
    };
    parse_any(&write_markdown(document), "").is_ok_and(|again| {
        document.tables().count() == again.tables().count()
            && document.tables().zip(again.tables()).all(same_table)
    })
}

/// Gives rows the lines of their keys `Engine`, and tables that of their first row: no other object has that key, and inside
/// a text its quotes would be escaped. Where a key is written with escapes, rows stay without lines.
fn number_lines(document: &mut Document, text: &str) {
    let key = format!("\"{}\"", COLUMNS[0]);
    let is_key = |line: &str, at: usize| {
        !line[..at].ends_with('\\') && line[at + key.len()..].trim_start().starts_with(':')
    };
    let lines = text.lines().enumerate().flat_map(|(index, line)| {
        line.match_indices(&key).filter(move |(at, _)| is_key(line, *at)).map(move |_| index + 1)
    });
    let lines: Vec<usize> = lines.collect();
    if lines.len() != document.tables().map(|table| table.rows.len()).sum::<usize>() {
        return;
    }
    let mut lines = lines.into_iter();
    for table in document.tables_mut() {
        for (row, line) in table.rows.iter_mut().zip(&mut lines) {
            row.line = line;
        }
        table.line = table.rows.first().map_or(0, |row| row.line);
    }
}

/// The parser's words without the place that it adds to them: that stands before them.
fn without_place(error: &str) -> &str {
    error.rfind(" at line ").map_or(error, |end| &error[..end])
}

/// The document as json.
pub fn write(document: &Document) -> String {
    let pieces = document.pieces.iter().map(|piece| match piece {
        Piece::Text(text) => {
            JsonPiece { text: Some(text.clone()), heading: None, markdown: None, rows: None }
        }
        Piece::Table(table) => JsonPiece {
            text: None,
            heading: Some(table.heading.clone()),
            markdown: table.markdown.clone().map(|MarkdownSource { heading, between, header, separator }| {
                JsonMarkdown { heading, between, header, separator }
            }),
            rows: Some(table.rows.iter().cloned().map(JsonRow).collect()),
        },
    });
    let document = JsonDocument { pieces: pieces.collect() };
    let mut text = serde_json::to_string_pretty(&document).expect("texts and numbers are json");
    text.push('\n');
    text
}
