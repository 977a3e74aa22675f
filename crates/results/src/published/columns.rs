//! The columns of a table, told by their names, and the rows that are read with them.

use std::collections::HashSet;

use super::column_names::{ColumnKind, is_same_figure, kind};
use super::decorated::{self, Decorated, HeaderUnit};
use super::error::brief;
use super::lines::trim;
use super::{PrintedFigure, PublishedRow};
use crate::{COLUMNS, Column, Value};

/// More columns than a table has that a person or a script wrote.
pub(super) const MOST_COLUMNS: usize = 256;

/// Names that json and csv have for other things.
const RESERVED: [&str; 5] = ["markdown", "measured", "Table", "Markdown Before", "Markdown Row"];

/// The columns of a table, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(Vec<TableColumn>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct TableColumn {
    name: String,
    kind: ColumnKind,
}

/// What the headers of a table are.
pub(super) enum Header {
    /// A table of this program's kind. It may lack the engine.
    Table(Columns),
    /// One with a header that can't be read: its index, and what is wrong.
    Unreadable(usize, String),
    /// Another table. Its headers name this many of engine, batch size and prompt length.
    Other(usize),
}

impl Default for Columns {
    /// The columns of the first edition.
    fn default() -> Self {
        Self::of_figures(&Column::PUBLISHED)
    }
}

impl Columns {
    /// Reads headers from their plain texts.
    pub(super) fn read(headers: &[String]) -> Header {
        // As they are written anew: a mark of the byte order or of no width, which nobody sees, is no part of a name.
        let headers: Vec<String> =
            headers.iter().map(|header| trim(&crate::one_line(header)).to_owned()).collect();
        // The ratios that `reproduce` prints have a published table's names, and no units.
        let is_reproduction = headers.iter().any(|header| header == "Verdict");
        if headers.len() > MOST_COLUMNS || is_reproduction {
            return Header::Other(0);
        }
        let read: Vec<Result<ColumnKind, String>> = headers.iter().map(|header| kind(header)).collect();
        let has = |wanted: ColumnKind| read.contains(&Ok(wanted));
        let keys = [ColumnKind::Engine, ColumnKind::BatchSize, ColumnKind::PromptLength];
        let is_figure =
            |kind: &Result<ColumnKind, String>| matches!(kind, Err(_) | Ok(ColumnKind::Figure(..)));
        if !has(ColumnKind::BatchSize) || !has(ColumnKind::PromptLength) || !read.iter().any(is_figure) {
            return Header::Other(keys.into_iter().filter(|key| has(*key)).count());
        }
        let mut columns: Vec<TableColumn> = Vec::new();
        let mut names: HashSet<String> = RESERVED.map(str::to_owned).into();
        for (index, (header, kind)) in headers.iter().zip(&read).enumerate() {
            let mut kind = match kind {
                Ok(kind) => *kind,
                // Beside a column that is read, one of the same name with another unit is something else: a change in per cent.
                Err(_) if read.iter().any(|other| is_same_figure(other, header)) => ColumnKind::Unread,
                Err(why) => return Header::Unreadable(index, why.clone()),
            };
            if let Some(first) = columns.iter_mut().find(|column| is_double(column.kind, kind)) {
                match (kind, first.name.eq_ignore_ascii_case("engine")) {
                    // `Backend` beside `Engine`, `Prompt` beside `Prompt Length`.
                    (ColumnKind::Engine, true) => kind = ColumnKind::Unread,
                    (ColumnKind::Engine, false) if header.eq_ignore_ascii_case("engine") => {
                        first.kind = ColumnKind::Unread;
                    }
                    _ => {
                        let what = format!(
                            "{} is the same column as {}: remove one",
                            brief(header),
                            brief(&first.name)
                        );
                        return Header::Unreadable(index, what);
                    }
                }
            }
            // Where cells say their units, what is written anew has them in the header.
            let unit = match kind {
                ColumnKind::Figure(column, HeaderUnit::None) => format!(" ({})", column.unit()),
                _ => String::new(),
            };
            let mut name = format!("{header}{unit}");
            for count in 2.. {
                if names.insert(name.clone()) {
                    break;
                }
                name = match header.as_str() {
                    "" => format!("column {}", index + count - 1),
                    header => format!("{header} ({count})"),
                };
            }
            columns.push(TableColumn { name, kind });
        }
        Header::Table(Self(columns))
    }

    pub(super) fn has_engine(&self) -> bool {
        self.0.iter().any(|column| column.kind == ColumnKind::Engine)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Their names as the file says them; a unit that only the cells say is added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|column| column.name.as_str())
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.0.get(index).map_or("", |column| &column.name)
    }

    /// The columns of a run's table: keys, then `figures`, by this program's names.
    pub(crate) fn of_figures(figures: &[Column]) -> Self {
        let keys =
            [ColumnKind::Engine, ColumnKind::BatchSize, ColumnKind::PromptLength].into_iter().zip(COLUMNS);
        let figures =
            figures.iter().map(|column| (ColumnKind::Figure(*column, HeaderUnit::Power(0)), column.header()));
        Self(keys.chain(figures).map(|(kind, name)| TableColumn { name: name.into(), kind }).collect())
    }

    /// The figures, where the columns are those of a published table or of a run's, in their order, by whatever names.
    pub(super) fn figures_of_run(&self) -> Option<Vec<Column>> {
        let kinds = self.0.iter().map(|column| column.kind);
        [256, 128, 1].map(Column::of_generation).into_iter().find(|figures| {
            let figures = figures.iter().map(|column| ColumnKind::Figure(*column, HeaderUnit::Power(0)));
            kinds.clone().eq([ColumnKind::Engine, ColumnKind::BatchSize, ColumnKind::PromptLength]
                .into_iter()
                .chain(figures))
        })
    }

    /// The names of columns that are kept, but not read.
    pub(super) fn unread(&self) -> impl Iterator<Item = &str> {
        let unread =
            self.0.iter().filter(|column| matches!(column.kind, ColumnKind::Unread | ColumnKind::OfHeading));
        unread.map(|column| column.name.as_str())
    }

    pub(super) fn is_size(&self, index: usize) -> bool {
        let sizes = [ColumnKind::BatchSize, ColumnKind::PromptLength, ColumnKind::GenerationLength];
        self.0.get(index).is_some_and(|column| sizes.contains(&column.kind))
    }

    pub(super) fn is_unread(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|column| {
            matches!(column.kind, ColumnKind::Unread | ColumnKind::OfHeading | ColumnKind::Index)
        })
    }

    /// The columns of what a heading says, which are the same in all rows of a table.
    pub(super) fn of_heading(&self) -> impl Iterator<Item = usize> {
        let columns = self.0.iter().enumerate();
        columns.filter(|(_, column)| column.kind == ColumnKind::OfHeading).map(|(index, _)| index)
    }

    /// Whether cells may be a row: their sizes can be read.
    pub(super) fn look_like_row(&self, texts: &[String]) -> bool {
        let is_size = |kind: ColumnKind| {
            let index = self.0.iter().position(|column| column.kind == kind);
            let text = index.and_then(|index| texts.get(index));
            text.is_some_and(|text| decorated::read_prompt_length(text).is_ok())
        };
        texts.len() <= self.len() && is_size(ColumnKind::BatchSize) && is_size(ColumnKind::PromptLength)
    }

    /// Whether a figure among the cells has a decimal point: then a comma separates thousands.
    pub(super) fn has_points(&self, texts: &[String]) -> bool {
        let figures =
            self.0.iter().zip(texts).filter(|(column, _)| matches!(column.kind, ColumnKind::Figure(..)));
        let mut figures = figures.map(|(_, text)| text.as_bytes());
        figures.any(|text| {
            text.windows(2).any(|pair| pair[0] == b'.' && pair[1].is_ascii_digit())
                // 1.336,7
                && !text.windows(5).any(|group| group[0] == b'.' && group[4] == b',')
        })
    }

    /// Reads a row from the plain texts of its cells; missing ones are empty. The error has the index of the column.
    pub(super) fn read_row(&self, texts: &[String], has_points: bool) -> Result<ReadRow, (usize, String)> {
        let mut row = PublishedRow {
            line: 0,
            engine: String::new(),
            batch_size: 0,
            prompt_length: 0,
            cells: std::array::from_fn(|_| PrintedFigure::not_available()),
            more: Vec::new(),
            markdown: None,
        };
        let (mut generation_length, mut has_spread, mut prompt_index) = (None, false, 0);
        for (index, column) in self.0.iter().enumerate() {
            let text = texts.get(index).map_or("", String::as_str);
            let place = |what| (index, what);
            match column.kind {
                ColumnKind::Engine => row.engine = read_engine(text).map_err(place)?,
                ColumnKind::BatchSize => row.batch_size = decorated::read_size(text).map_err(place)?,
                ColumnKind::PromptLength => {
                    row.prompt_length = decorated::read_prompt_length(text).map_err(place)?;
                    prompt_index = index;
                }
                ColumnKind::Figure(figure, unit) => {
                    let read = decorated::read(text, figure, unit, has_points).map_err(place)?;
                    has_spread |= read.has_spread;
                    row.cells[figure as usize] = read.cell;
                }
                // Where tables of several kinds stand in one csv, not all have it.
                ColumnKind::GenerationLength if text.is_empty() => row.more.push(String::new()),
                ColumnKind::GenerationLength => {
                    let length = decorated::read_size(text).map_err(place)?;
                    generation_length = Some((index, length));
                    row.more.push(length.to_string());
                }
                ColumnKind::Index | ColumnKind::OfHeading | ColumnKind::Unread => {
                    row.more.push(text.to_owned());
                }
            }
        }
        let of_prompt =
            [Column::PromptLatency, Column::PromptThroughput, Column::WallLatency, Column::WallThroughput];
        let has_figure = |column: Column| row.cells[column as usize].figure().is_some();
        if row.prompt_length == 0 && of_prompt.into_iter().any(has_figure) {
            let what = "a prompt of 0 tokens has a latency or a wall clock: expected a whole number from 1";
            return Err((prompt_index, what.into()));
        }
        Ok(ReadRow { row, generation_length, has_spread })
    }

    /// The texts of a row that was read with these columns.
    pub(super) fn texts(&self, row: &PublishedRow) -> Vec<String> {
        let mut more = row.more.iter();
        let text = |column: &TableColumn| match column.kind {
            ColumnKind::Engine => row.engine.clone(),
            ColumnKind::BatchSize => row.batch_size.to_string(),
            ColumnKind::PromptLength => row.prompt_length.to_string(),
            ColumnKind::Figure(figure, unit) => {
                row.cells[figure as usize].in_power(header_power(unit)).text().to_owned()
            }
            _ => more.next().cloned().unwrap_or_default(),
        };
        self.0.iter().map(text).collect()
    }

    /// Whether a cell's plain text says the same as one of [`Columns::texts`].
    pub(super) fn says(&self, index: usize, plain: &str, text: &str) -> bool {
        let Some(column) = self.0.get(index) else { return plain == text };
        match column.kind {
            ColumnKind::BatchSize | ColumnKind::PromptLength | ColumnKind::GenerationLength => {
                decorated::read_prompt_length(plain).is_ok_and(|size| Ok(size) == text.parse())
            }
            ColumnKind::Figure(figure, unit) => is_same(plain, text, figure, unit),
            ColumnKind::Engine | ColumnKind::Index | ColumnKind::OfHeading | ColumnKind::Unread => {
                plain == text
            }
        }
    }

    /// Whether the cells of a column are read as names, whose marks of footnotes are no part of them.
    pub(super) fn is_engine(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|column| column.kind == ColumnKind::Engine)
    }

    /// The first edition's, with all other columns of several tables after them.
    pub(super) fn union<'a>(tables: impl Iterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for column in tables.flat_map(|columns| &columns.0) {
            if !all.0.iter().any(|other| other.is_same(column)) {
                all.0.push(column.clone());
            }
        }
        all
    }

    /// A row of other columns as one of these; what only these have is taken from `place`, where there is one. `None` where the row
    /// has a figure that these have no column for.
    pub(super) fn converted(
        &self,
        row: &PublishedRow,
        from: &Self,
        place: Option<&PublishedRow>,
    ) -> Option<PublishedRow> {
        let more = self.more().enumerate().map(|(index, column)| {
            let text = match from.more().position(|other| other.is_same(column)) {
                Some(at) => row.more.get(at),
                None => place.and_then(|place| place.more.get(index)),
            };
            text.cloned().unwrap_or_default()
        });
        let place = place.unwrap_or(row);
        let mut cells = row.cells.clone();
        for (figure, known) in Column::ALL.into_iter().zip(&place.cells) {
            let cell = &mut cells[figure as usize];
            match (self.unit(figure), from.unit(figure)) {
                (Some(unit), Some(_)) => *cell = cell.in_power(header_power(unit)),
                (None, Some(_)) if ![Value::NotAvailable, known.value()].contains(&cell.value()) => {
                    return None;
                }
                (_, None) | (None, _) => cell.clone_from(known),
            }
        }
        Some(PublishedRow { more: more.collect(), cells, ..row.clone() })
    }

    /// The unit that the header of a figure's column says; `None` where there is no such column.
    fn unit(&self, figure: Column) -> Option<HeaderUnit> {
        self.0.iter().find_map(|column| match column.kind {
            ColumnKind::Figure(column, unit) if column == figure => Some(unit),
            _ => None,
        })
    }

    /// The columns whose texts are [`PublishedRow::more`].
    fn more(&self) -> impl Iterator<Item = &TableColumn> {
        self.0.iter().filter(|column| column.is_more())
    }
}

impl TableColumn {
    /// Whether two columns are one in a csv of several tables: by name, or since a table has only one of them.
    fn is_same(&self, other: &Self) -> bool {
        match (self.kind, other.kind) {
            (ColumnKind::Figure(one, _), ColumnKind::Figure(other, _)) => one == other,
            (one, other) if !self.is_more() || one == ColumnKind::GenerationLength => one == other,
            _ => self.name == other.name,
        }
    }

    fn is_more(&self) -> bool {
        !matches!(
            self.kind,
            ColumnKind::Engine | ColumnKind::BatchSize | ColumnKind::PromptLength | ColumnKind::Figure(..)
        )
    }
}

/// A row, and what it says of its table.
pub(super) struct ReadRow {
    pub(super) row: PublishedRow,
    /// The length, with the index of its column.
    pub(super) generation_length: Option<(usize, u32)>,
    pub(super) has_spread: bool,
}

/// Whether a cell's plain text says the same figure, to the same digit, as a text without decorations.
fn is_same(plain: &str, text: &str, column: Column, unit: HeaderUnit) -> bool {
    let Ok(Decorated { cell, .. }) = decorated::read(plain, column, unit, true) else { return false };
    let figure =
        PrintedFigure::from_number(text).and_then(|other| other.with_power(header_power(unit)).figure());
    cell.text() == text || figure.is_some() && figure == cell.figure()
}

fn header_power(unit: HeaderUnit) -> i32 {
    match unit {
        HeaderUnit::Power(power) => power,
        HeaderUnit::None => 0,
    }
}

/// An engine's name, as it stands: marks of footnotes belong to the syntax of markdown.
fn read_engine(text: &str) -> Result<String, String> {
    let name = trim(text);
    if name.chars().all(|c| c.is_whitespace() || c.is_control()) {
        return Err("expected an engine's name, found nothing: write it in every row".into());
    }
    if ["\"", "''", "″", "〃", "”"].contains(&name) {
        return Err(format!("{} is no engine's name: write it in every row", brief(name)));
    }
    Ok(name.to_owned())
}

/// Whether two columns of a table can't both be there.
fn is_double(one: ColumnKind, other: ColumnKind) -> bool {
    match (one, other) {
        (ColumnKind::Figure(one, _), ColumnKind::Figure(other, _)) => one == other,
        (ColumnKind::Index | ColumnKind::OfHeading | ColumnKind::Unread, _) => false,
        (one, other) => one == other,
    }
}
