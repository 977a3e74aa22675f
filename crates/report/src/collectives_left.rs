//! What a published table of several devices leaves for collectives: its latencies less those of rank 0's part alone.

use std::fmt::Write as _;

use results::published::layout::escape;
use results::published::{DeviceKind, Document, Heading, PublishedRow, PublishedTable};
use results::{Row, Table, format_short};

/// The published columns of the prompt and of a token: the mean of the first 256, else of the first 128.
const PROMPT: [usize; 1] = [0];
const TOKEN: [usize; 2] = [4, 2];

/// A forward's latency in both tables. Seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// The published latency: all ranks together.
    pub published: f64,
    /// The latency of rank 0's part alone.
    pub rank: f64,
    /// The least that the sums over ranks take on the published devices; `None` where that is not known.
    pub least: Option<f64>,
}

impl Left {
    /// What is left for collectives; below zero where the rank alone took longer.
    pub fn seconds(&self) -> f64 {
        self.published - self.rank
    }
}

/// A cell that both tables have.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftRow {
    /// The engine.
    pub engine: String,
    /// Sequences at once.
    pub batch_size: u32,
    /// Tokens of the prompt.
    pub prompt_length: u32,
    /// The prefill.
    pub prompt: Option<Left>,
    /// A decode forward, in the mean.
    pub token: Option<Left>,
}

/// What a published table leaves for collectives.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectivesLeft {
    /// The published heading.
    pub there: String,
    /// The cells that both tables have.
    pub rows: Vec<LeftRow>,
    /// What a reader must know, one line each.
    pub notes: Vec<String>,
}

impl CollectivesLeft {
    /// The table of `document` with the whole model that `here` is rank 0's part of, on GPUs; `None` where it has none.
    pub fn find_published<'a>(document: &'a Document, here: &Table) -> Option<(&'a PublishedTable, Heading)> {
        let mine = Heading::parse(&here.heading).ok().filter(|mine| mine.kind == DeviceKind::Cuda)?;
        let ranks = mine.one_rank_of?;
        document.tables().find_map(|table| {
            let heading = Heading::parse(&table.heading).ok()?;
            let is_whole = heading.one_rank_of.is_none() && heading.count == ranks;
            let is_same =
                (&heading.model, heading.precision, heading.kind) == (&mine.model, mine.precision, mine.kind);
            (is_whole && is_same).then_some((table, heading))
        })
    }

    /// The cells of `here` that `there` has, too. `least` says the seconds that the sums of a cell's prefill and of a decode
    /// forward take at least.
    pub fn of(there: &PublishedTable, here: &Table, least: impl Fn(u32, u32) -> Option<[f64; 2]>) -> Self {
        let row = |mine: &Row| {
            let same = |row: &&PublishedRow| {
                (row.engine.as_str(), row.batch_size, row.prompt_length)
                    == (mine.engine.as_str(), mine.batch_size, mine.prompt_length)
            };
            let published = there.rows.iter().find(same)?;
            let figures = mine.figures.as_ref()?.columns();
            let least = least(mine.batch_size, mine.prompt_length);
            let left = |columns: &[usize], least: Option<f64>| {
                columns.iter().find_map(|&column| {
                    let (published, rank) = (published.cells[column].number()?.value, figures[column]?);
                    Some(Left { published: published / 1e3, rank: rank / 1e3, least })
                })
            };
            let (prompt, token) =
                (left(&PROMPT, least.map(|least| least[0])), left(&TOKEN, least.map(|least| least[1])));
            let (engine, batch_size, prompt_length) =
                (mine.engine.clone(), mine.batch_size, mine.prompt_length);
            (prompt.is_some() || token.is_some()).then_some(LeftRow {
                engine,
                batch_size,
                prompt_length,
                prompt,
                token,
            })
        };
        Self {
            there: there.heading.clone(),
            rows: here.rows.iter().filter_map(row).collect(),
            notes: Vec::new(),
        }
    }

    /// As markdown, to stand under the tables.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("\n**Left for collectives: {}, less rank 0 alone**\n\n", escape(&self.there));
        let of =
            |what: &str| format!("{what} (ms) | Rank 0 (ms) | Left (ms) | Left (%) | Sums At Least (ms)");
        let _ = writeln!(
            text,
            "| Batch Size | Prompt Length | Engine | {} | {} |\n|---:|---:|---|{}",
            of("Published Prompt"),
            of("Published Token"),
            "---:|".repeat(10)
        );
        for row in &self.rows {
            let cells = |left: Option<Left>| {
                let Some(left) = left else { return vec!["N/A".to_owned(); 5] };
                let milliseconds = |seconds: f64| format_short(seconds * 1e3);
                vec![
                    milliseconds(left.published),
                    milliseconds(left.rank),
                    milliseconds(left.seconds()),
                    format!("{:.1}", 100.0 * left.seconds() / left.published),
                    left.least.map_or_else(|| "N/A".into(), milliseconds),
                ]
            };
            let figures = [cells(row.prompt), cells(row.token)].concat().join(" | ");
            let (batch_size, prompt_length) = (row.batch_size, row.prompt_length);
            let _ =
                writeln!(text, "| {batch_size} | {prompt_length} | {} | {figures} |", escape(&row.engine));
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "- {}", escape(note));
        }
        text
    }
}
