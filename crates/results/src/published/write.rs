//! Documents as markdown.

use super::heading_above::HeadingAbove;
use super::headings::parse_heading;
use super::inline::{escape_cell, plain_figure, plain_name};
use super::layout::{row_of, separator_of};
use super::lines::{BLANKS, LineCells, split_line_end, trim};
use super::{Columns, Document, Piece, PublishedRow, PublishedTable};

/// The document as markdown. What was read comes back byte for byte, but for cells and headings that were changed.
pub fn write(document: &Document) -> String {
    let (mut text, mut above) = (String::new(), HeadingAbove::default());
    for piece in &document.pieces {
        match piece {
            Piece::Text(piece) => {
                above.push(piece);
                text.push_str(piece);
            }
            Piece::Table(table) => {
                write_head(table, &mut above, &mut text);
                table.rows.iter().for_each(|row| write_row(&table.columns, row, &mut text));
            }
        }
    }
    text
}

/// Everything above the rows. A table that has the heading of the one `above` needs none.
pub(super) fn write_head(table: &PublishedTable, above: &mut HeadingAbove, text: &mut String) {
    let is_below = above.heading() == table.heading;
    *above = HeadingAbove::new(&table.heading);
    let Some(source) = &table.markdown else {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&canonical_head(&table.columns, &table.heading));
        return;
    };
    match parse_heading(&source.heading) {
        Some(parsed) if parsed.text == table.heading => text.push_str(&source.heading),
        Some(parsed) => {
            let marks = &source.heading[..parsed.from];
            text.push_str(marks);
            text.push_str(if marks.ends_with('#') { " " } else { "" });
            text.push_str(&escape_cell(&table.heading));
            text.push_str(&source.heading[parsed.to..]);
        }
        None if table.heading.is_empty() || is_below => text.push_str(&source.heading),
        None => text.push_str(&format!("## {}\n\n", escape_cell(&table.heading))),
    }
    for part in [&source.between, &source.header, &source.separator] {
        text.push_str(part);
    }
}

/// Heading, header and separator where no file says otherwise.
pub(super) fn canonical_head(columns: &Columns, heading: &str) -> String {
    let heading = if heading.is_empty() { String::new() } else { format!("## {}\n\n", escape_cell(heading)) };
    let names: Vec<String> = columns.names().map(escape_cell).collect();
    let separator = match columns.figures_of_run() {
        Some(figures) => separator_of(&figures),
        None => format!("|{}", "---|".repeat(names.len())),
    };
    format!("{heading}| {} |\n{separator}\n", names.join(" | "))
}

/// A row as its line.
pub(super) fn write_row(columns: &Columns, row: &PublishedRow, text: &mut String) {
    let Some(source) = &row.markdown else {
        text.push_str(&canonical_row(columns, row));
        return;
    };
    let (content, end) = split_line_end(source);
    let texts = columns.texts(row);
    let (mut at, mut written) = (0, 0);
    for (index, raw) in LineCells::new(content).take(texts.len()) {
        text.push_str(&content[at..index]);
        at = index + raw.len();
        push_cell(columns, raw, &texts[written], written, text);
        written += 1;
    }
    text.push_str(&content[at..]);
    let missing = &texts[written..];
    if missing.iter().any(|text| !text.is_empty()) {
        text.push_str(if content.trim_end().ends_with('|') { "" } else { " |" });
        for cell in missing {
            text.push_str(&format!(" {} |", escape_cell(cell)));
        }
    }
    text.push_str(end);
}

/// A row where no file says otherwise.
pub(super) fn canonical_row(columns: &Columns, row: &PublishedRow) -> String {
    let texts = columns.texts(row).into_iter().map(|text| escape_cell(&text));
    match columns.figures_of_run() {
        Some(figures) => row_of(&figures, texts),
        None => format!("| {} |\n", texts.collect::<Vec<_>>().join(" | ")),
    }
}

/// The cell `index` of a row, as it stood where it says the same, else in the same width.
fn push_cell(columns: &Columns, raw: &str, cell: &str, index: usize, text: &mut String) {
    let was = plain_cell(columns, index, raw).unwrap_or_default();
    if columns.says(index, &was, cell) {
        text.push_str(raw);
        return;
    }
    let blanks = &raw[..raw.len() - raw.trim_start_matches(BLANKS).len()];
    let lead = if was.is_empty() { " " } else { blanks };
    let width = raw.chars().count().saturating_sub(lead.chars().count());
    text.push_str(&format!("{lead}{:width$}", escape_cell(cell)));
}

/// The text of a cell without its markdown.
pub(super) fn plain_cell(columns: &Columns, index: usize, raw: &str) -> Result<String, &'static str> {
    if columns.is_engine(index) {
        return plain_name(raw);
    }
    // Whatever stands in a column that is not read, it is no reason to refuse the row.
    let is_unread = columns.is_unread(index);
    match plain_figure(trim(raw)) {
        Ok(text) => Ok(trim(&text).to_owned()),
        Err(_) if is_unread => Ok(trim(raw).to_owned()),
        Err(why) => Err(why),
    }
}
