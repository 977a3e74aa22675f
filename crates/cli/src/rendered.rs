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
pub(crate) struct Sheet {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Sheet {
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

/// Writes records of a JSON text as csv. `path` leads to the list of records; each gets the single values around the list, too.
pub(crate) fn csv_of_json(json: &str, path: &[&str]) -> Result<String> {
    let value: Value = serde_json::from_str(json)?;
    let mut records = Vec::new();
    collect(&value, path, &[], &mut records);
    let mut columns: Vec<String> = Vec::new();
    for (name, _) in records.iter().flatten() {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    let row = |record: &Record| {
        let cell =
            |name: &String| record.iter().find(|(column, _)| column == name).map_or("", |(_, value)| value);
        columns.iter().map(|name| cell(name).to_owned()).collect()
    };
    let rows = records.iter().map(row).collect();
    Ok(Sheet { columns, rows }.to_csv())
}

type Record = Vec<(String, String)>;

fn collect(value: &Value, path: &[&str], around: &[(String, String)], records: &mut Vec<Record>) {
    match (value, path) {
        (Value::Array(items), _) => items.iter().for_each(|item| collect(item, path, around, records)),
        (_, []) => {
            let mut record = around.to_vec();
            flatten("", value, &mut record);
            records.push(record);
        }
        (Value::Object(fields), [key, rest @ ..]) => {
            let mut around = around.to_vec();
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_object() && !value.is_array()) {
                flatten(name, value, &mut around);
            }
            if let Some(inner) = fields.get(*key) {
                collect(inner, rest, &around, records);
            }
        }
        _ => {}
    }
}

/// Adds the single values in `value`. Keys are joined with dots, and a list of single values is one field with spaces.
fn flatten(name: &str, value: &Value, record: &mut Record) {
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
            {"engine": "=x", "size": {"batch": 1}, "interval": [1, 2]}, {"engine": "y", "none": null}]}]}"#;
        assert_eq!(
            csv_of_json(json, &["tables", "lines"]).unwrap(),
            "run,heading,engine,size.batch,interval,none\na,h,'=x,1,1 2,\na,h,y,,,\n"
        );
    }

    #[test]
    fn a_sheet_is_aligned() {
        let mut sheet = Sheet::new(&["engine", "best"]);
        sheet.rows = vec![vec!["a|b".into(), "45.3 GB/s".into()], vec!["long name".into(), "-".into()]];
        assert_eq!(sheet.to_terminal(), "engine          best\na|b        45.3 GB/s\nlong name          -\n");
        assert_eq!(
            sheet.to_markdown(),
            "| engine | best |\n| --- | --- |\n| a\\|b | 45.3 GB/s |\n| long name | \\- |\n"
        );
    }
}
