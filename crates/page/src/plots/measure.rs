//! The figures of a cell that plots show.

use results::{Figures, Row};

use crate::plot::{ChosenUnit, DataTable, FigureQuantity};
use crate::scene::{ListedRow, Scene};

/// The least of a series, and its 99th percentile.
type Spread = fn(&Figures) -> (f64, f64);

/// A figure of a cell.
pub(crate) struct Measure {
    /// Its name in links and file names.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What an axis says; `{}` is the unit.
    pub(crate) axis: &'static str,
    pub(crate) quantity: FigureQuantity,
    /// The value in seconds, bytes, …
    pub(crate) value: fn(&Row, &Figures) -> Option<f64>,
    /// The least of the series, and its 99th percentile.
    pub(crate) spread: Option<Spread>,
    /// Whether the device's memory limits it: then the limit is drawn, and the cells that ran into it.
    pub(crate) is_memory: bool,
    /// How the figure is computed, and which way is better.
    pub(crate) note: &'static str,
}

impl Measure {
    /// The figure of a cell; `None` where it has none.
    pub(crate) fn of(&self, row: &Row) -> Option<f64> {
        row.figures.as_ref().and_then(|figures| (self.value)(row, figures))
    }

    /// Whether a cell has one sample alone.
    pub(crate) fn is_alone(&self, figures: &Figures) -> bool {
        self.spread.is_some_and(|spread| {
            let (least, most) = spread(figures);
            least == most
        })
    }

    /// What an axis in this unit says.
    pub(crate) fn axis_words(&self, unit: ChosenUnit, is_log: bool) -> String {
        let scale = if is_log { ", logarithmic" } else { "" };
        format!("{}{scale}", self.axis.replace("{}", unit.name))
    }
}

/// These figures of every cell, or how it ended.
pub(crate) fn measure_table(scene: &Scene<'_>, cells: &[ListedRow<'_>], measures: &[&Measure]) -> DataTable {
    let unit =
        |measure: &Measure| measure.quantity.unit(cells.iter().filter_map(|cell| measure.of(cell.row)));
    let units: Vec<ChosenUnit> = measures.iter().map(|measure| unit(measure)).collect();
    let names =
        measures.iter().zip(&units).map(|(measure, unit)| format!("{} ({})", measure.title, unit.name));
    let row = |cell: &ListedRow<'_>| {
        let figures = measures.iter().zip(&units).map(|(measure, unit)| {
            measure
                .of(cell.row)
                .map_or_else(|| cell.row.outcome_text().to_owned(), |value| unit.number(value))
        });
        scene.cell_head(&cell.row.key, cell.run).into_iter().chain(figures).collect()
    };
    DataTable::of_cells(names, cells.iter().map(row).collect())
}

/// Mean of the timed prefills.
pub(crate) const PROMPT_LATENCY: Measure = Measure {
    id: "prompt-latency",
    title: "Prompt latency (time to first token)",
    axis: "{} per prefill",
    quantity: FigureQuantity::Time,
    value: |_, figures| Some(figures.prompt.mean),
    spread: Some(|figures| (figures.prompt.least, figures.prompt.p99)),
    is_memory: false,
    note: "The mean of all timed prefills. Lower is better.",
};

/// Mean of all decode forwards.
pub(crate) const TOKEN_LATENCY: Measure = Measure {
    id: "token-latency",
    title: "Token latency",
    axis: "{} per decode forward",
    quantity: FigureQuantity::Time,
    value: |_, figures| Some(figures.token.mean),
    spread: Some(|figures| (figures.token.least, figures.token.p99)),
    is_memory: false,
    note: "The mean of all generated tokens. Lower is better.",
};

/// Mean of the generations' wall clocks.
pub(crate) const WALL_CLOCK: Measure = Measure {
    id: "wall-clock",
    title: "Wall-clock latency",
    axis: "{} per generation",
    quantity: FigureQuantity::Time,
    value: |_, figures| Some(figures.wall.mean),
    spread: Some(|figures| (figures.wall.least, figures.wall.p99)),
    is_memory: false,
    note: "The mean of whole generations: prefill, all decode forwards, and choosing the tokens. Lower is better.",
};

/// Batch size over the mean of all decode forwards.
pub(crate) const TOKEN_THROUGHPUT: Measure = Measure {
    id: "token-throughput",
    title: "Decode throughput",
    axis: "generated {}",
    quantity: FigureQuantity::TokenRate,
    value: |row, figures| Some(f64::from(row.key.batch_size) / figures.token.mean),
    spread: None,
    is_memory: false,
    note: "Batch size over the mean latency of a decode forward. Higher is better.",
};

/// Batch size × prompt length over the mean prefill.
pub(crate) const PROMPT_THROUGHPUT: Measure = Measure {
    id: "prompt-throughput",
    title: "Prompt throughput",
    axis: "prompt {}",
    quantity: FigureQuantity::TokenRate,
    value: |row, figures| {
        Some(f64::from(row.key.batch_size) * f64::from(row.key.prompt_length) / figures.prompt.mean)
    },
    spread: None,
    is_memory: false,
    note: "Batch size × prompt length over the mean latency of a prefill. Higher is better.",
};

/// The most memory that a replicate held.
pub(crate) const PEAK_MEMORY: Measure = Measure {
    id: "peak-memory",
    title: "Peak memory",
    axis: "{} per device",
    quantity: FigureQuantity::Memory,
    value: |row, _| row.peak_bytes().map(|bytes| bytes as f64),
    spread: None,
    is_memory: true,
    note: "The most memory that the worker held during the cell, of any replicate: weights and KV cache included.",
};

/// Energy of a token of the prompt.
pub(crate) const PREFILL_ENERGY: Measure = Measure {
    id: "prefill-energy",
    title: "Energy per prompt token (prefill)",
    axis: "{} per prompt token",
    quantity: FigureQuantity::Energy,
    value: |row, _| row.efficiency.joules_per_prompt_token,
    spread: None,
    is_memory: false,
    note: "Mean GPU power during the timed prefills, times their mean latency, over batch size × prompt length. Without a figure: cells \
           whose prefills took less than a second in all, or mostly warmed up. Lower is better.",
};

/// Energy of a generated token.
pub(crate) const DECODE_ENERGY: Measure = Measure {
    id: "energy",
    title: "Energy per generated token (decode)",
    axis: "{} per generated token",
    quantity: FigureQuantity::Energy,
    value: |row, _| row.efficiency.joules_per_token,
    spread: None,
    is_memory: false,
    note: "Mean GPU power during decode, times the mean latency of a decode forward, over the batch size. Lower is better.",
};

/// Energy of a generated token, its share of the prefill included.
pub(crate) const TOTAL_ENERGY: Measure = Measure {
    id: "total-energy",
    title: "Energy per generated token (total)",
    axis: "{} per generated token",
    quantity: FigureQuantity::Energy,
    value: |row, _| row.efficiency.total_joules_per_token,
    spread: None,
    is_memory: false,
    note: "Mean GPU power while generating, times the mean wall clock of a generation, over its tokens: the prefill and the time \
           between forwards are included. Lower is better.",
};
