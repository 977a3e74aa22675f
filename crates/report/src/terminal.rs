//! A table for a screen: short headers, four digits, as many columns as fit, notes that wrap.

use results::published::{Document, PrintedFigure, PublishedRow};
use results::screen::{ScreenColumn, ScreenTable, left_out_note, wrapped};
use results::{Column, Exported, Exporter, Figures, Grid, Row, Table, Terminal, format_short, one_line};

use crate::export_input::{ExportInput, tables_of};

impl Exporter<ExportInput<'_>> for Terminal {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn write(&self, input: &ExportInput<'_>) -> Exported {
        match input {
            ExportInput::Runs(runs) => write(tables_of(runs), self.width).into(),
            ExportInput::Document(document) => write_published(document, self.width).into(),
        }
    }
}

#[derive(Clone, Copy)]
enum Shows {
    /// A figure.
    Figure(Column),
    /// The variation of the prefills.
    PromptSpread,
    /// The variation of the decode forwards.
    TokenSpread,
}

/// The columns of figures: header, name where it is left out, and rank. The highest rank is left out first, 0 never: variations, then
/// the first 128 tokens, prompt throughput, wall-clock throughput, decode throughput, and wall-clock latency.
const FIGURES: [(&str, &str, u8, Shows); 13] = [
    ("prompt ms", "prompt ms", 0, Shows::Figure(Column::PromptLatency)),
    ("±", "prompt ±", 6, Shows::PromptSpread),
    ("prompt tok/s", "prompt tok/s", 4, Shows::Figure(Column::PromptThroughput)),
    ("128: ms/tok", "128: ms/tok", 5, Shows::Figure(Column::First128Latency)),
    ("256: ms/tok", "256: ms/tok", 0, Shows::Figure(Column::First256Latency)),
    ("ms/tok", "ms/tok", 0, Shows::Figure(Column::TokenLatency)),
    ("TPOT ms", "TPOT ms", 0, Shows::Figure(Column::Tpot)),
    ("±", "decode ±", 6, Shows::TokenSpread),
    ("256: tok/s", "256: tok/s", 2, Shows::Figure(Column::First256Throughput)),
    ("tok/s", "tok/s", 2, Shows::Figure(Column::TokenThroughput)),
    ("decode tok/s", "decode tok/s", 2, Shows::Figure(Column::DecodeThroughput)),
    ("wall s", "wall s", 1, Shows::Figure(Column::WallLatency)),
    ("wall tok/s", "wall tok/s", 3, Shows::Figure(Column::WallThroughput)),
];

/// The place of the first 128 tokens among [`FIGURES`], and those of what a decode latency is shown by else.
const FIRST_128: usize = 3;
const OTHER_DECODE: [usize; 3] = [4, 5, 6];

/// Tables under their headings; without a width, every column.
pub fn write<'a>(tables: impl IntoIterator<Item = &'a Table>, width: Option<u16>) -> String {
    let tables = tables.into_iter().map(|table| {
        let columns = table.columns();
        let rows = table.rows.iter().map(|row| measured_row(row, &columns)).collect();
        let notes: String =
            table.notes.iter().map(|note| wrapped("! ", &one_line(&note.text), width)).collect();
        let efficiency = Grid::efficiency(table).map(|grid| efficiency(&grid, width)).unwrap_or_default();
        format!("{}{notes}{efficiency}", titled(&table.heading.to_string(), &figures_table(rows), width))
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// Published tables under their headings, without the text around them; without a width, every column.
fn write_published(document: &Document, width: Option<u16>) -> String {
    let tables = document.tables().map(|table| {
        let rows = table.rows.iter().map(published_row).collect();
        titled(&table.heading, &figures_table(rows), width)
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// A title, its table, and which columns the screen has no room for.
fn titled(title: &str, table: &ScreenTable, width: Option<u16>) -> String {
    let lines = table.lines(width);
    let left_out = left_out_note(&lines.left_out, "all columns: --format markdown", width);
    format!("{}{}\n{left_out}", wrapped("", &one_line(title), width), lines.lines.join("\n"))
}

fn measured_row(row: &Row, columns: &[Column]) -> Vec<String> {
    let text = |figures: &Figures, shows: Shows| match shows {
        Shows::Figure(column) if !columns.contains(&column) => String::new(),
        Shows::Figure(column) => figures.get(column).map_or_else(|| "N/A".into(), format_short),
        Shows::PromptSpread => percent(figures.prompt.variation()),
        Shows::TokenSpread => percent(figures.token.variation()),
    };
    let texts = match &row.figures {
        Some(figures) => FIGURES.map(|(_, _, _, shows)| text(figures, shows)).into(),
        None => outcome(row.outcome_text()),
    };
    screen_row(&row.key.engine, row.key.batch_size, row.key.prompt_length, texts)
}

/// A published row has no variation.
fn published_row(row: &PublishedRow) -> Vec<String> {
    let text = |cell: &PrintedFigure| match cell.figure() {
        Some(figure) => format_short(figure.value),
        None => one_line(cell.text()),
    };
    let text = |(_, _, _, shows)| match shows {
        Shows::Figure(column) => text(&row.cells[column as usize]),
        Shows::PromptSpread | Shows::TokenSpread => String::new(),
    };
    screen_row(&row.engine, row.batch_size, row.prompt_length, FIGURES.map(text).into())
}

fn screen_row(engine: &str, batch_size: u32, prompt_length: u32, texts: Vec<String>) -> Vec<String> {
    [vec![one_line(engine), batch_size.to_string(), prompt_length.to_string()], texts].concat()
}

/// How a cell without figures ended, in the first column of figures alone.
fn outcome(word: &str) -> Vec<String> {
    let mut texts = vec![String::new(); FIGURES.len()];
    word.clone_into(&mut texts[0]);
    texts
}

/// The table of rows of [`FIGURES`]. A column without any figure is left out.
fn figures_table(mut rows: Vec<Vec<String>>) -> ScreenTable {
    let first_figure = 3;
    let has_figure = |rows: &[Vec<String>], index: usize| {
        rows.iter().any(|row| !["", "N/A"].contains(&row[first_figure + index].as_str()))
    };
    for index in 0..FIGURES.len() {
        if !has_figure(&rows, index) {
            rows.iter_mut().for_each(|row| row[first_figure + index].clear());
        }
    }
    let has_other_decode = OTHER_DECODE.into_iter().any(|index| has_figure(&rows, index));
    let figures = FIGURES.into_iter().enumerate().map(|(index, (header, name, rank, _))| {
        let rank = if index == FIRST_128 && !has_other_decode { 0 } else { rank };
        screen_column(header, name, rank, false)
    });
    let keys = [("engine", true), ("batch", false), ("prompt", false)];
    let keys = keys.map(|(header, is_left)| screen_column(header, header, 0, is_left));
    ScreenTable { columns: keys.into_iter().chain(figures).collect(), rows }
}

/// The table that stands under that of the figures.
fn efficiency(grid: &Grid, width: Option<u16>) -> String {
    // The engine first, as above.
    let mut shown: Vec<usize> =
        (0..grid.columns.len()).filter(|index| grid.columns[*index].screen.is_some()).collect();
    shown.sort_by_key(|index| grid.columns[*index].is_number());
    let column = |index: &usize| {
        let column = grid.columns[*index];
        column.screen.map(|(header, rank)| screen_column(header, header, rank, !column.is_number()))
    };
    let columns = shown.iter().filter_map(column).collect();
    let row = |row: &Vec<String>| shown.iter().map(|index| one_line(&row[*index])).collect();
    let table = ScreenTable { columns, rows: grid.rows.iter().map(row).collect() };
    format!("\n{}", titled(&grid.caption, &table, width))
}

fn screen_column(header: &str, name: &str, rank: u8, is_left: bool) -> ScreenColumn {
    ScreenColumn { header: header.into(), name: name.into(), rank, is_left }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
