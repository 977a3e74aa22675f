//! The time that a published table of several devices leaves for collectives: its latencies minus those of rank 0 alone.

use std::fmt::Write as _;

use protocol::CellSize;
use results::{Column, DeviceKind, Heading, ResultRow, ResultTable, escape_markdown, format_short};

/// The columns of the prompt and of a token: the mean of the first 256, else of the first 128.
const PROMPT: [Column; 1] = [Column::PromptLatency];
const TOKEN: [Column; 2] = [Column::First256Latency, Column::First128Latency];

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
    /// Batch size and prompt length.
    pub size: CellSize,
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
    /// The notes, one line each.
    pub notes: Vec<String>,
}

impl CollectivesLeft {
    /// The table among `published` with the whole model that a table headed `here` is rank 0's part of, on GPUs; `None` where
    /// there is none.
    pub fn find_published<'t, 'a>(
        published: &'t [ResultTable<'a>],
        here: &Heading,
    ) -> Option<(&'t ResultTable<'a>, &'t Heading)> {
        let ranks = here.one_rank_of.filter(|_| here.kind == DeviceKind::Cuda)?;
        published.iter().find_map(|table| {
            let heading = table.heading.as_ref().ok()?;
            let is_whole = heading.one_rank_of.is_none() && heading.count == ranks;
            let is_same =
                (&heading.model, heading.precision, heading.kind) == (&here.model, here.precision, here.kind);
            (is_whole && is_same).then_some((table, heading))
        })
    }

    /// The cells of `here` that `there` has, too. `least` says the seconds that the sums of a cell's prefill and of a decode
    /// forward take at least.
    pub fn new(
        there: &ResultTable<'_>,
        here: &ResultTable<'_>,
        least: impl Fn(CellSize) -> Option<[f64; 2]>,
    ) -> Self {
        let cells = there.cells();
        let row = |mine: &ResultRow<'_>| {
            let published = cells.get(&(mine.engine, mine.size))?;
            let least = least(mine.size);
            let left = |columns: &[Column], least: Option<f64>| {
                columns.iter().find_map(|&column| {
                    let (published, rank) = (published.seconds(column)?.value, mine.seconds(column)?.value);
                    Some(Left { published, rank, least })
                })
            };
            let prompt = left(&PROMPT, least.map(|least| least[0]));
            let token = left(&TOKEN, least.map(|least| least[1]));
            let engine = mine.engine.to_owned();
            (prompt.is_some() || token.is_some()).then_some(LeftRow {
                engine,
                size: mine.size,
                prompt,
                token,
            })
        };
        Self {
            there: there.title.to_string(),
            rows: here.rows.iter().filter_map(row).collect(),
            notes: Vec::new(),
        }
    }

    /// Writes markdown that stands under the tables.
    pub fn to_markdown(&self) -> String {
        let mut text =
            format!("\n**Left for collectives: {}, less rank 0 alone**\n\n", escape_markdown(&self.there));
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
            let CellSize { batch_size, prompt_length } = row.size;
            let _ = writeln!(
                text,
                "| {batch_size} | {prompt_length} | {} | {figures} |",
                escape_markdown(&row.engine)
            );
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "- {}", escape_markdown(note));
        }
        text
    }
}
