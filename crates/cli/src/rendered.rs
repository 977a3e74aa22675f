//! A command's result in each of its formats.

use std::path::Path;

use anyhow::{Context, Result};
use results::{csv_field, escape_markdown, one_line, plain};
use serde_json::Value;

use crate::args::{ResultArgs, ResultFormat};
use crate::files::write_output;
use crate::printer;

/// A command's result in each of its formats.
pub(crate) struct Rendered {
    /// The text for a screen; may have colours.
    pub(crate) terminal: String,
    pub(crate) markdown: String,
    pub(crate) csv: String,
    pub(crate) json: String,
}

impl Rendered {
    /// Writes the result in the given format, by default `terminal`.
    pub(crate) fn print(self, args: &ResultArgs) -> Result<()> {
        let format = args.format.given().unwrap_or(ResultFormat::Terminal);
        self.print_as(format, args.out.as_deref())
    }

    /// Writes the result to `out`, or to stdout.
    pub(crate) fn print_as(self, format: ResultFormat, out: Option<&Path>) -> Result<()> {
        let text = match format {
            ResultFormat::Terminal if out.is_some() => {
                anstream::adapter::strip_str(&self.terminal).to_string()
            }
            ResultFormat::Terminal => return printer::text(&self.terminal),
            ResultFormat::Markdown => self.markdown,
            ResultFormat::Csv => self.csv,
            ResultFormat::Json => self.json,
        };
        write(&text, out)
    }
}

/// Writes a result to the file that the user named, or to stdout.
pub(crate) fn write(text: &str, out: Option<&Path>) -> Result<()> {
    match out {
        None => printer::result(text),
        Some(path) => write_output(path, text.as_bytes()).with_context(|| path.display().to_string()),
    }
}

/// The format of a table: the given one, else `terminal` on a screen and `markdown` elsewhere.
pub(crate) fn table_format(given: Option<ResultFormat>, out: Option<&Path>) -> ResultFormat {
    let default =
        if out.is_none() && printer::is_screen() { ResultFormat::Terminal } else { ResultFormat::Markdown };
    given.unwrap_or(default)
}

/// Lines as a markdown list.
pub(crate) fn markdown_list(lines: &str) -> String {
    lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| format!("- {}\n", escape_markdown(line)))
        .collect()
}

/// Puts lines that are aligned for a screen into a block of markdown.
pub(crate) fn markdown_block(text: &str) -> String {
    // Four spaces before every line: no text can end the block.
    plain(text).lines().map(|line| format!("    {line}\n")).collect()
}

/// A table of texts.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextTable {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl TextTable {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    /// The columns aligned: numbers right, words left.
    pub(crate) fn to_terminal(&self) -> String {
        let rows: Vec<Vec<String>> = std::iter::once(&self.columns)
            .chain(&self.rows)
            .map(|row| row.iter().map(|cell| one_line(cell)).collect())
            .collect();
        let width = |cell: &String| console::measure_text_width(cell);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| rows.iter().filter_map(|row| row.get(at)).map(width).max().unwrap_or(0))
            .collect();
        let is_number = |cell: &String| cell == "-" || cell.starts_with(|first: char| first.is_ascii_digit());
        let is_right: Vec<bool> = (0..widths.len())
            .map(|at| self.rows.iter().filter_map(|row| row.get(at)).all(is_number))
            .collect();
        let pad = |(at, cell): (usize, &String)| {
            let space = " ".repeat(widths[at].saturating_sub(width(cell)));
            if is_right[at] { format!("{space}{cell}") } else { format!("{cell}{space}") }
        };
        let line = |row: &Vec<String>| row.iter().enumerate().map(pad).collect::<Vec<_>>().join("  ");
        rows.iter().map(|row| format!("{}\n", line(row).trim_end())).collect()
    }

    pub(crate) fn to_markdown(&self) -> String {
        let line = |row: &[String]| {
            let cells: Vec<String> = row.iter().map(|cell| escape_markdown(cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = format!("|{}\n", " --- |".repeat(self.columns.len()));
        [line(&self.columns), rule].into_iter().chain(self.rows.iter().map(|row| line(row))).collect()
    }

    /// RFC 4180, with a header.
    pub(crate) fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            // Into memory, and every row has as many fields: nothing can fail.
            let _ = writer.write_record(row.iter().map(|cell| csv_field(cell)));
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }
}

/// Writes records of a JSON text as csv, with these columns whatever the records have. Each path leads to a list of records; each record
/// gets the single values around its list, too. A field whose name is taken has its container's name before it, and the column `list` has
/// the name of the record's list.
pub(crate) fn csv_of_json(json: &str, paths: &[&[&str]], columns: &str) -> Result<String> {
    let value: Value = serde_json::from_str(json)?;
    let mut sheet = TextTable::new(&columns.split_whitespace().collect::<Vec<_>>());
    for path in paths {
        collect(&value, "", path, &RecordFields::new(), &mut sheet);
    }
    Ok(sheet.to_csv())
}

type RecordFields = Vec<(String, String)>;

fn collect(value: &Value, container: &str, path: &[&str], around: &RecordFields, sheet: &mut TextTable) {
    match (value, path) {
        (Value::Array(items), _) => {
            items.iter().for_each(|item| collect(item, container, path, around, sheet));
        }
        (_, []) => {
            let mut record = around.clone();
            add("", container, value, &mut record);
            let unknown = record[around.len()..].iter().find(|(name, _)| !is_column(name, &sheet.columns));
            debug_assert!(unknown.is_none(), "no column has {unknown:?}");
            record.push(("list".into(), container.into()));
            let cell = |name: &String| find(&record, name).unwrap_or_default().to_owned();
            sheet.rows.push(sheet.columns.iter().map(cell).collect());
        }
        (Value::Object(fields), [key, rest @ ..]) => {
            let mut around = around.clone();
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_object()) {
                add(name, container, value, &mut around);
            }
            if let Some(inner) = fields.get(*key) {
                collect(inner, key, rest, &around, sheet);
            }
        }
        _ => {}
    }
}

/// Adds the single values in `value`, each by a name of its own.
fn add(name: &str, container: &str, value: &Value, record: &mut RecordFields) {
    let mut fields = RecordFields::new();
    flatten(name, value, &mut fields);
    for (name, value) in fields {
        let name = if find(record, &name).is_some() { format!("{container}.{name}") } else { name };
        debug_assert!(find(record, &name).is_none(), "two fields {name}");
        record.push((name, value));
    }
}

fn find<'r>(record: &'r RecordFields, name: &str) -> Option<&'r str> {
    record.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
}

/// Whether a column has the field, or where it is null, its parts.
fn is_column(name: &str, columns: &[String]) -> bool {
    let is_part = |column: &String| column.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    columns.iter().any(|column| column == name || is_part(column))
}

/// Adds the single values in `value`. Keys are joined with dots, and a list of single values is one field with spaces.
fn flatten(name: &str, value: &Value, record: &mut RecordFields) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, record);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {}
        Value::Array(items) => {
            record.push((name.to_owned(), items.iter().map(word).collect::<Vec<_>>().join(" ")));
        }
        single => record.push((name.to_owned(), word(single))),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_json_are_rows_with_what_is_around_them() {
        let json = r#"{"run": "a", "tables": [{"heading": "h", "lines": [
            {"engine": "=x", "size": {"batch": 1}, "interval": [1, 2]}, {"engine": "y", "size": null, "none": null}]}]}"#;
        let columns = "run heading engine size.batch interval none";
        assert_eq!(
            csv_of_json(json, &[&["tables", "lines"]], columns).unwrap(),
            "run,heading,engine,size.batch,interval,none\na,h,'=x,1,1 2,\na,h,y,,,\n"
        );
        assert_eq!(csv_of_json(r#"{"lines": []}"#, &[&["lines"]], "a b").unwrap(), "a,b\n");
    }

    #[test]
    fn fields_of_one_name_keep_their_values() {
        let json =
            r#"{"n": 5, "words": ["a", "b"], "needs": [{"n": 1, "of": {"n": 2}}], "ends": [{"n": "x"}]}"#;
        let columns = "list n words needs.n of.n ends.n";
        assert_eq!(
            csv_of_json(json, &[&["needs"], &["ends"]], columns).unwrap(),
            "list,n,words,needs.n,of.n,ends.n\nneeds,5,a b,1,2,\nends,5,a b,,,x\n"
        );
    }

    #[test]
    #[should_panic(expected = "no column has")]
    fn a_field_without_a_column_is_found() {
        let _ = csv_of_json(r#"{"lines": [{"a": 1, "b": 2}]}"#, &[&["lines"]], "a");
    }

    #[test]
    fn a_sheet_is_aligned() {
        let mut sheet = TextTable::new(&["engine", "best"]);
        sheet.rows = vec![vec!["a|b".into(), "45.3 GB/s".into()], vec!["long name".into(), "-".into()]];
        assert_eq!(sheet.to_terminal(), "engine          best\na|b        45.3 GB/s\nlong name          -\n");
        assert_eq!(
            sheet.to_markdown(),
            "| engine | best |\n| --- | --- |\n| a\\|b | 45.3 GB/s |\n| long name | \\- |\n"
        );
    }
}
