//! The columns of a table: their names in both editions of the published tables, in scripts' csv files, and as people write
//! them.

use std::collections::HashSet;

use super::decorated::{self, Decorated, HeaderUnit, unit_kind, unit_power};
use super::error::brief;
use super::inline::FOOTNOTE_MARKS;
use super::lines::trim;
use super::{Cell, PublishedRow};
use crate::{COLUMNS, Column, Value};

/// More columns than a table has that a person or a script wrote.
pub(super) const MOST_COLUMNS: usize = 256;

/// Names that a row's object in json has for other things.
const RESERVED: [&str; 2] = ["markdown", "measured"];

/// The columns of a table, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(Vec<TableColumn>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct TableColumn {
    name: String,
    kind: Kind,
}

/// What a column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Engine,
    BatchSize,
    PromptLength,
    /// Decode forwards of a generation.
    GenerationLength,
    Figure(Column, HeaderUnit),
    /// The mean of all tokens of a generation, which is a published column where that has 128 or 256: latency, else throughput.
    AllTokens(bool, HeaderUnit),
    /// The number of the row.
    Index,
    /// Something that is kept, but not read.
    Unread,
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

/// Names of the columns that are no figures, in lower case.
const NAMES: [(&str, Kind); 33] = [
    ("engine", Kind::Engine),
    ("backend", Kind::Engine),
    ("framework", Kind::Engine),
    ("config backend", Kind::Engine),
    ("batch size", Kind::BatchSize),
    ("batch", Kind::BatchSize),
    ("batchsize", Kind::BatchSize),
    ("bs", Kind::BatchSize),
    ("config batch size", Kind::BatchSize),
    ("prompt length", Kind::PromptLength),
    ("prompt", Kind::PromptLength),
    ("prompt len", Kind::PromptLength),
    ("prompt size", Kind::PromptLength),
    ("prompt tokens", Kind::PromptLength),
    ("input length", Kind::PromptLength),
    ("input tokens", Kind::PromptLength),
    ("config prompt length", Kind::PromptLength),
    ("tokens generated", Kind::GenerationLength),
    ("generation length", Kind::GenerationLength),
    ("generated tokens", Kind::GenerationLength),
    ("output length", Kind::GenerationLength),
    ("output tokens", Kind::GenerationLength),
    ("new tokens", Kind::GenerationLength),
    ("config tokens generated", Kind::GenerationLength),
    ("", Kind::Index),
    ("#", Kind::Index),
    ("no", Kind::Index),
    ("nr", Kind::Index),
    ("index", Kind::Index),
    ("idx", Kind::Index),
    ("row", Kind::Index),
    ("unnamed 0", Kind::Index),
    ("№", Kind::Index),
];

/// Words of a figure's name that say nothing more.
const FILLERS: [&str; 14] = [
    "avg",
    "average",
    "mean",
    "of",
    "the",
    "token",
    "tokens",
    "generated",
    "generation",
    "processing",
    "metrics",
    "clock",
    "in",
    "per",
];

/// The words of the published figures' names but for the fillers, in order of the alphabet.
const FIGURES: [(&[&str], Column); 8] = [
    (&["latency", "prompt"], Column::PromptLatency),
    (&["prompt", "throughput"], Column::PromptThroughput),
    (&["128", "first", "latency"], Column::First128Latency),
    (&["128", "first", "throughput"], Column::First128Throughput),
    (&["256", "first", "latency"], Column::First256Latency),
    (&["256", "first", "throughput"], Column::First256Throughput),
    (&["latency", "wall"], Column::WallLatency),
    (&["throughput", "wall"], Column::WallThroughput),
];

impl Default for Columns {
    /// The columns of the first edition.
    fn default() -> Self {
        let names = COLUMNS.map(str::to_owned);
        match Self::read(&names) {
            Header::Table(columns) => columns,
            Header::Unreadable(..) | Header::Other(_) => Self(Vec::new()),
        }
    }
}

impl Columns {
    /// Reads headers from their plain texts.
    pub(super) fn read(headers: &[String]) -> Header {
        if headers.len() > MOST_COLUMNS {
            return Header::Other(0);
        }
        let read: Vec<Result<Kind, String>> = headers.iter().map(|header| kind(header)).collect();
        let has = |wanted: Kind| read.contains(&Ok(wanted));
        let keys = [Kind::Engine, Kind::BatchSize, Kind::PromptLength];
        let is_figure =
            |kind: &Result<Kind, String>| matches!(kind, Err(_) | Ok(Kind::Figure(..) | Kind::AllTokens(..)));
        if !has(Kind::BatchSize) || !has(Kind::PromptLength) || !read.iter().any(is_figure) {
            return Header::Other(keys.into_iter().filter(|key| has(*key)).count());
        }
        let mut columns: Vec<TableColumn> = Vec::new();
        let mut names: HashSet<String> = RESERVED.map(str::to_owned).into();
        for (index, (header, kind)) in headers.iter().zip(&read).enumerate() {
            let mut kind = match kind {
                Ok(kind) => *kind,
                // Beside a column that is read, one of the same name with another unit is something else: a change in per cent.
                Err(_) if read.iter().any(|other| is_same_figure(other, header)) => Kind::Unread,
                Err(why) => return Header::Unreadable(index, why.clone()),
            };
            if let Some(first) = columns.iter_mut().find(|column| is_double(column.kind, kind)) {
                match (kind, first.name.eq_ignore_ascii_case("engine")) {
                    // `Backend` beside `Engine`, `Prompt` beside `Prompt Length`.
                    (Kind::Engine, true) => kind = Kind::Unread,
                    (Kind::Engine, false) if header.eq_ignore_ascii_case("engine") => {
                        first.kind = Kind::Unread
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
                Kind::Figure(column, HeaderUnit::None) => format!(" ({})", column.unit()),
                Kind::AllTokens(_, HeaderUnit::None) => " (ms)".into(),
                _ => String::new(),
            };
            let mut name = format!("{}{unit}", trim(&crate::one_line(header)));
            for count in 2.. {
                if names.insert(name.clone()) {
                    break;
                }
                name = format!("{} ({count})", trim(header));
            }
            columns.push(TableColumn { name, kind });
        }
        Header::Table(Self(columns))
    }

    pub(super) fn has_engine(&self) -> bool {
        self.0.iter().any(|column| column.kind == Kind::Engine)
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

    /// Whether they are the eleven of the published tables, in their order, by whatever names.
    pub(super) fn are_published(&self) -> bool {
        let kinds = self.0.iter().map(|column| column.kind);
        let figures = Column::ALL.map(|column| Kind::Figure(column, HeaderUnit::Power(0)));
        kinds.eq([Kind::Engine, Kind::BatchSize, Kind::PromptLength].into_iter().chain(figures))
    }

    /// The names of columns that are kept, but not read.
    pub(super) fn unread(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|column| column.kind == Kind::Unread).map(|column| column.name.as_str())
    }

    pub(super) fn is_size(&self, index: usize) -> bool {
        let sizes = [Kind::BatchSize, Kind::PromptLength, Kind::GenerationLength];
        self.0.get(index).is_some_and(|column| sizes.contains(&column.kind))
    }

    pub(super) fn is_unread(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|column| matches!(column.kind, Kind::Unread | Kind::Index))
    }

    /// Whether cells may be a row: their sizes can be read.
    pub(super) fn look_like_row(&self, texts: &[String]) -> bool {
        let is_size = |kind: Kind| {
            let index = self.0.iter().position(|column| column.kind == kind);
            index.and_then(|index| texts.get(index)).is_some_and(|text| decorated::read_size(text).is_ok())
        };
        texts.len() <= self.len() && is_size(Kind::BatchSize) && is_size(Kind::PromptLength)
    }

    /// Whether a figure among the cells has a decimal point: then a comma separates thousands.
    pub(super) fn has_points(&self, texts: &[String]) -> bool {
        let figures = self
            .0
            .iter()
            .zip(texts)
            .filter(|(column, _)| matches!(column.kind, Kind::Figure(..) | Kind::AllTokens(..)));
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
            cells: std::array::from_fn(|_| Cell::not_available()),
            more: Vec::new(),
            markdown: None,
        };
        let (mut generation_length, mut all_tokens, mut has_spread) = (None, Vec::new(), false);
        for (index, column) in self.0.iter().enumerate() {
            let text = texts.get(index).map_or("", String::as_str);
            let place = |what| (index, what);
            match column.kind {
                Kind::Engine => row.engine = read_engine(text).map_err(place)?,
                Kind::BatchSize => row.batch_size = decorated::read_size(text).map_err(place)?,
                Kind::PromptLength => row.prompt_length = decorated::read_size(text).map_err(place)?,
                Kind::Figure(figure, unit) => {
                    let read = decorated::read(text, figure, unit, has_points).map_err(place)?;
                    has_spread |= read.has_spread;
                    row.cells[figure as usize] = read.cell;
                }
                Kind::AllTokens(is_latency, unit) => {
                    let figure = mean_of_tokens(is_latency);
                    let read = decorated::read(text, figure, unit, has_points).map_err(place)?;
                    has_spread |= read.has_spread;
                    row.more.push(read.cell.text().to_owned());
                    all_tokens.push((is_latency, read.cell));
                }
                // Where tables of several kinds stand in one csv, not all have it.
                Kind::GenerationLength if text.is_empty() => row.more.push(String::new()),
                Kind::GenerationLength => {
                    let length = decorated::read_size(text).map_err(place)?;
                    generation_length = Some((index, length));
                    row.more.push(length.to_string());
                }
                Kind::Index | Kind::Unread => row.more.push(text.to_owned()),
            }
        }
        for (is_latency, cell) in all_tokens {
            let column = match (generation_length, is_latency) {
                (Some((_, 128)), true) => Column::First128Latency,
                (Some((_, 128)), false) => Column::First128Throughput,
                (Some((_, 256)), true) => Column::First256Latency,
                (Some((_, 256)), false) => Column::First256Throughput,
                _ => continue,
            };
            row.cells[column as usize] = cell;
        }
        Ok(ReadRow { row, generation_length, has_spread })
    }

    /// The texts of a row that was read with these columns.
    pub(super) fn texts(&self, row: &PublishedRow) -> Vec<String> {
        let mut more = row.more.iter();
        let text = |column: &TableColumn| match column.kind {
            Kind::Engine => row.engine.clone(),
            Kind::BatchSize => row.batch_size.to_string(),
            Kind::PromptLength => row.prompt_length.to_string(),
            Kind::Figure(figure, unit) => {
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
            Kind::BatchSize | Kind::PromptLength | Kind::GenerationLength => {
                decorated::read_size(plain).is_ok_and(|size| Ok(size) == text.parse())
            }
            Kind::Figure(figure, unit) => is_same(plain, text, figure, unit),
            Kind::AllTokens(is_latency, unit) => is_same(plain, text, mean_of_tokens(is_latency), unit),
            Kind::Engine | Kind::Index | Kind::Unread => plain == text,
        }
    }

    /// Whether the cells of a column are read as names, whose marks of footnotes are no part of them.
    pub(super) fn is_engine(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|column| column.kind == Kind::Engine)
    }

    /// The first edition's, with all columns of several tables that are no figures after them.
    pub(super) fn union<'a>(tables: impl Iterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for column in tables.flat_map(|columns| &columns.0) {
            if column.is_more() && all.names().all(|name| name != column.name) {
                all.0.push(column.clone());
            }
        }
        all
    }

    /// A row of other columns as one of these; what only these have is taken from `place`. `None` where the row has a figure that
    /// these have no column for.
    pub(super) fn converted(
        &self,
        row: &PublishedRow,
        from: &Self,
        place: &PublishedRow,
    ) -> Option<PublishedRow> {
        let names: Vec<&str> = from.more().collect();
        let more = self.more().enumerate().map(|(index, name)| {
            let at = names.iter().position(|other| *other == name);
            at.map_or_else(|| place.more.get(index), |at| row.more.get(at)).cloned().unwrap_or_default()
        });
        let mut cells = row.cells.clone();
        for figure in Column::ALL {
            let cell = &mut cells[figure as usize];
            match (self.unit(figure), from.unit(figure)) {
                (Some(unit), Some(_)) => *cell = cell.in_power(header_power(unit)),
                (Some(_), None) => cell.clone_from(&place.cells[figure as usize]),
                (None, Some(_)) if !matches!(cell.value(), Value::NotAvailable) => return None,
                (None, _) => *cell = place.cells[figure as usize].clone(),
            }
        }
        Some(PublishedRow { more: more.collect(), cells, ..row.clone() })
    }

    /// The unit that the header of a figure's column says; `None` where there is no such column.
    fn unit(&self, figure: Column) -> Option<HeaderUnit> {
        self.0.iter().find_map(|column| match column.kind {
            Kind::Figure(column, unit) if column == figure => Some(unit),
            _ => None,
        })
    }

    /// The names of the columns whose texts are [`PublishedRow::more`].
    fn more(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|column| column.is_more()).map(|column| column.name.as_str())
    }
}

impl TableColumn {
    fn is_more(&self) -> bool {
        !matches!(self.kind, Kind::Engine | Kind::BatchSize | Kind::PromptLength | Kind::Figure(..))
    }
}

/// A row, and what it says of its table.
pub(super) struct ReadRow {
    pub(super) row: PublishedRow,
    /// With the index of its column.
    pub(super) generation_length: Option<(usize, u32)>,
    pub(super) has_spread: bool,
}

/// Whether a cell's plain text says the same figure, to the same digit, as a text without decorations.
fn is_same(plain: &str, text: &str, column: Column, unit: HeaderUnit) -> bool {
    let Ok(Decorated { cell, .. }) = decorated::read(plain, column, unit, true) else { return false };
    let figure = Cell::from_number(text).and_then(|other| other.with_power(header_power(unit)).figure());
    cell.text() == text || figure.is_some() && figure == cell.figure()
}

/// The column whose units those of the mean over all tokens are.
fn mean_of_tokens(is_latency: bool) -> Column {
    if is_latency { Column::First256Latency } else { Column::First256Throughput }
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

/// What a header names; an error says why its unit can't be read.
fn kind(header: &str) -> Result<Kind, String> {
    let Some(name) = Name::read(header) else { return Ok(Kind::Unread) };
    if let (None, Some((_, kind))) =
        (name.unit, NAMES.iter().find(|(known, _)| *known == name.words.join(" ")))
    {
        return Ok(*kind);
    }
    // `Prompt Length (tokens)`
    let is_count = name.unit.is_some_and(|unit| ["tokens", "sequences", "seqs"].contains(&unit));
    if let (true, Some((_, kind))) =
        (is_count, NAMES.iter().find(|(known, _)| *known == name.words.join(" ")))
    {
        return Ok(*kind);
    }
    let Some(figure) = name.figure() else { return Ok(Kind::Unread) };
    let column = figure.unwrap_or_else(mean_of_tokens);
    let unit = match name.unit {
        Some(unit) => HeaderUnit::Power(unit_power(unit, column).ok_or_else(|| {
            let units = if column.is_latency() { "ns, us, ms or s" } else { "tps or tokens/s" };
            format!("{} is no unit of this column: expected {units}", brief(unit))
        })?),
        None if column.is_latency() => HeaderUnit::None,
        None => HeaderUnit::Power(0),
    };
    Ok(match figure {
        Ok(column) => Kind::Figure(column, unit),
        Err(is_latency) => Kind::AllTokens(is_latency, unit),
    })
}

/// Whether two columns of a table can't both be there.
fn is_double(one: Kind, other: Kind) -> bool {
    match (one, other) {
        (Kind::Figure(one, _), Kind::Figure(other, _)) => one == other,
        (Kind::AllTokens(one, _), Kind::AllTokens(other, _)) => one == other,
        (Kind::Index | Kind::Unread, _) => false,
        (one, other) => one == other,
    }
}

/// Whether `header` names the same figure as a column that is read.
fn is_same_figure(read: &Result<Kind, String>, header: &str) -> bool {
    let figure = Name::read(header).and_then(|name| name.figure());
    match (read, figure) {
        (Ok(Kind::Figure(column, _)), Some(Ok(figure))) => *column == figure,
        (Ok(Kind::AllTokens(read, _)), Some(Err(is_latency))) => *read == is_latency,
        _ => false,
    }
}

/// A header's words and unit.
struct Name<'a> {
    words: Vec<String>,
    unit: Option<&'a str>,
}

impl<'a> Name<'a> {
    /// `None` where something is behind the name that is no unit and changes what it means.
    fn read(header: &'a str) -> Option<Self> {
        let is_decoration = |c: char| {
            c.is_whitespace() || FOOTNOTE_MARKS.contains(&c) || ['↓', '↑', '▲', '▼', ':'].contains(&c)
        };
        let mut rest = header.trim_matches(is_decoration);
        let mut unit = None;
        // (ms), [ms], (mean, ms), (lower is better)
        while let Some(close) = rest.chars().last().filter(|c| [')', ']'].contains(c)) {
            let Some(open) = rest.rfind(if close == ')' { '(' } else { '[' }) else { break };
            for part in rest[open + 1..rest.len() - 1].split([',', ';']).map(str::trim) {
                let is_remark = ["mean", "avg", "avg.", "average", "lower is better", "higher is better"]
                    .contains(&part.to_lowercase().as_str());
                if !is_remark && unit.replace(part).is_some() {
                    return None;
                }
            }
            rest = rest[..open].trim_end_matches(is_decoration);
        }
        // `Latency, ms`, `latency_ms`, `Latency in ms`, `Throughput tokens/s`
        let last = rest.rfind(|c: char| c.is_whitespace() || ['_', ','].contains(&c));
        let tail = last.map(|at| {
            (at, rest[at..].trim_start_matches(|c: char| c.is_whitespace() || ['_', ','].contains(&c)))
        });
        if let (None, Some((at, tail))) = (unit, tail.filter(|(_, tail)| unit_kind(tail).is_some())) {
            unit = Some(tail);
            rest = &rest[..at];
        }
        let (mut spaced, mut was_lower) = (String::new(), false);
        for c in rest.chars() {
            // `promptLatency`
            if was_lower && c.is_uppercase() {
                spaced.push(' ');
            }
            was_lower = c.is_lowercase();
            let is_letter = c.is_alphanumeric() || c == '#' || c == '№';
            spaced.push(if is_letter { c } else { ' ' });
        }
        Some(Self { words: spaced.split_whitespace().take(16).map(str::to_lowercase).collect(), unit })
    }

    /// The figure that it names: a published column, or the mean over all tokens, of latencies or of throughputs.
    fn figure(&self) -> Option<Result<Column, bool>> {
        let has = |words: &[&str]| self.words.iter().any(|word| words.contains(&word.as_str()));
        let mut words: Vec<&str> = self
            .words
            .iter()
            .map(|word| match word.as_str() {
                "prefill" => "prompt",
                "time" => "latency",
                "wallclock" => "wall",
                word => word,
            })
            .filter(|word| !FILLERS.contains(word))
            .collect();
        // `Prompt (ms)`, `Prompt (tok/s)`
        if let (false, Some(is_time)) =
            (has(&["latency", "throughput", "time"]), self.unit.and_then(unit_kind))
        {
            words.push(if is_time { "latency" } else { "throughput" });
        }
        words.sort_unstable();
        // A prompt's latency for each of its tokens is another figure.
        let is_per = has(&["per"]) && !has(&["first"]);
        if let Some((_, column)) = FIGURES.iter().find(|(name, _)| *name == words && !is_per) {
            return Some(Ok(*column));
        }
        let is_of_tokens = has(&["token", "tokens"]) && has(&["generation", "generated"]);
        match words[..] {
            ["latency"] if is_of_tokens => Some(Err(true)),
            ["throughput"] if is_of_tokens => Some(Err(false)),
            _ => None,
        }
    }
}
