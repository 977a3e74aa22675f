//! A table for a screen: short headers, four digits, as many columns as fit.

use comfy_table::{CellAlignment, LineStyle, TableStyle};

use results::published::{Cell, Document, PublishedRow};
use results::{Column, Figures, Grid, Row, Table, format_short, one_line};

use crate::exporter::{ExportInput, Exported, Exporter, tables_of};

/// A table for a screen.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Columns of the screen; every column of the table where that is not known.
    pub width: Option<u16>,
}

impl Exporter for Terminal {
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

/// A column: its header, and when it gives way on a narrow screen (the highest rank first, 0 never).
struct ScreenColumn {
    header: &'static str,
    rank: u8,
    shows: Shows,
}

#[derive(Clone, Copy)]
enum Shows {
    /// A published column.
    Figure(Column),
    /// The variation of the prefills.
    PromptSpread,
    /// The variation of the decode forwards.
    TokenSpread,
}

const COLUMNS: [ScreenColumn; 11] = [
    column("prompt ms", 0, Shows::Figure(Column::PromptLatency)),
    column("±", 5, Shows::PromptSpread),
    column("prompt tok/s", 3, Shows::Figure(Column::PromptThroughput)),
    column("128: ms/tok", 4, Shows::Figure(Column::First128Latency)),
    column("256: ms/tok", 0, Shows::Figure(Column::First256Latency)),
    column("±", 5, Shows::TokenSpread),
    column("tok/s", 1, Shows::Figure(Column::First256Throughput)),
    column("ms/tok", 0, Shows::Figure(Column::TokenLatency)),
    column("TPOT ms", 0, Shows::Figure(Column::Tpot)),
    column("wall s", 0, Shows::Figure(Column::WallLatency)),
    column("wall tok/s", 2, Shows::Figure(Column::WallThroughput)),
];

const fn column(header: &'static str, rank: u8, shows: Shows) -> ScreenColumn {
    ScreenColumn { header, rank, shows }
}

const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// A row: engine and sizes, then the text of each column, or one text for all.
struct ScreenRow {
    head: [String; 3],
    texts: Vec<String>,
}

impl ScreenRow {
    fn new(engine: &str, batch_size: u32, prompt_length: u32, texts: Vec<String>) -> Self {
        Self { head: [one_line(engine), batch_size.to_string(), prompt_length.to_string()], texts }
    }

    fn of(row: &Row) -> Self {
        let text = |figures: &Figures, shows: Shows| match shows {
            Shows::Figure(column) => figures.get(column).map_or_else(|| "N/A".into(), format_short),
            Shows::PromptSpread => share(figures.prompt.variation()),
            Shows::TokenSpread => share(figures.token.variation()),
        };
        let texts = match &row.figures {
            Some(figures) => COLUMNS.iter().map(|column| text(figures, column.shows)).collect(),
            None => vec![row.outcome_text().to_owned()],
        };
        Self::new(&row.key.engine, row.key.batch_size, row.key.prompt_length, texts)
    }

    /// A published row has no spread.
    fn of_published(row: &PublishedRow) -> Self {
        let text = |cell: &Cell| match cell.figure() {
            Some(figure) => format_short(figure.value),
            None => one_line(cell.text()),
        };
        let text = |column: &ScreenColumn| match column.shows {
            Shows::Figure(column) => text(&row.cells[column as usize]),
            Shows::PromptSpread | Shows::TokenSpread => String::new(),
        };
        let texts = COLUMNS.iter().map(text).collect();
        Self::new(&row.engine, row.batch_size, row.prompt_length, texts)
    }
}

/// Tables under their headings; without a width, every column.
pub fn write<'a>(tables: impl IntoIterator<Item = &'a Table>, width: Option<u16>) -> String {
    let tables = tables.into_iter().map(|table| {
        let rows: Vec<ScreenRow> = table.rows.iter().map(ScreenRow::of).collect();
        let notes: String = table.notes.iter().map(|note| format!("! {}\n", one_line(&note.text))).collect();
        let efficiency = Grid::efficiency(table).map(|grid| efficiency(&grid)).unwrap_or_default();
        format!("{}\n{}\n{notes}{efficiency}", one_line(&table.heading.to_string()), grid(&rows, width))
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// The table that stands under the documents'.
fn efficiency(grid: &Grid) -> String {
    let mut screen = comfy_table::Table::new();
    screen.load_style(STYLE);
    // The engine first, as above.
    let mut shown: Vec<(usize, &str)> =
        grid.columns.iter().enumerate().filter_map(|(at, column)| Some((at, column.short?))).collect();
    shown.sort_by_key(|(at, _)| grid.columns[*at].is_number());
    screen.set_header(shown.iter().map(|(_, short)| *short));
    for row in &grid.rows {
        screen.add_row(shown.iter().map(|(at, _)| one_line(&row[*at])));
    }
    for column in screen.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("\n{}\n{screen}\n", one_line(&grid.caption))
}

/// Published tables under their headings, without the text around them; without a width, every column.
fn write_published(document: &Document, width: Option<u16>) -> String {
    let tables = document.tables().map(|table| {
        let rows: Vec<ScreenRow> = table.rows.iter().map(ScreenRow::of_published).collect();
        format!("{}\n{}\n", one_line(&table.heading.to_string()), grid(&rows, width))
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// The grid with as many columns as fit.
fn grid(rows: &[ScreenRow], width: Option<u16>) -> comfy_table::Table {
    let fits = |grid: &comfy_table::Table| {
        let widest = grid.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        width.is_none_or(|width| widest <= usize::from(width))
    };
    let ranks = (1..=COLUMNS.iter().map(|column| column.rank).max().unwrap_or(0)).rev();
    let grids = ranks.map(|rank| grid_of(rows, rank));
    grids.into_iter().find(fits).unwrap_or_else(|| grid_of(rows, 0))
}

/// The grid of the columns up to `rank` that have a text.
fn grid_of(rows: &[ScreenRow], rank: u8) -> comfy_table::Table {
    let figures: Vec<&ScreenRow> = rows.iter().filter(|row| row.texts.len() > 1).collect();
    // A table that lacks a published column says so; others are shown where there are any.
    let is_published = |index: usize| match COLUMNS[index].shows {
        Shows::Figure(column) => Column::PUBLISHED.contains(&column),
        Shows::PromptSpread | Shows::TokenSpread => true,
    };
    let is_shown = |index: usize, text: &str| !text.is_empty() && (text != "N/A" || is_published(index));
    let has_text = |index: usize| match figures[..] {
        [] => is_published(index),
        _ => figures.iter().any(|row| is_shown(index, &row.texts[index])),
    };
    let chosen: Vec<usize> =
        (0..COLUMNS.len()).filter(|&index| COLUMNS[index].rank <= rank && has_text(index)).collect();
    let mut grid = comfy_table::Table::new();
    grid.load_style(STYLE);
    let headers = chosen.iter().map(|&index| COLUMNS[index].header);
    grid.set_header(["engine", "batch", "prompt"].into_iter().chain(headers));
    for row in rows {
        let texts: Vec<&String> = match &row.texts[..] {
            [one] => vec![one],
            texts => chosen.iter().map(|&index| &texts[index]).collect(),
        };
        grid.add_row(row.head.iter().chain(texts));
    }
    for column in grid.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    grid
}

fn share(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
