//! A command's result in each of its formats.

use std::path::Path;

use anyhow::{Context, Result};
use results::{Exported, csv_of_rows, escape_markdown, one_line, plain};

use crate::args::{ResultArgs, ResultFormat};
use crate::files::write_output;
use crate::{printer, sources};

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

/// Writes a text in the format of this name to a file or to stdout, and its remarks as notes.
pub(crate) fn write_exported(format: &str, exported: &Exported, out: Option<&Path>) -> Result<()> {
    write(&exported.text, out)?;
    exported.remarks.iter().for_each(|remark| sources::note(format!("{format}: {remark}")));
    Ok(())
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
        csv_of_rows(std::iter::once(&self.columns).chain(&self.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
