//! What a comparison says: plain data, which the formats write.

use protocol::CellSize;
use stats::{Interval, Verdict};

use results::Metric;

/// A candidate held against its baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The baseline, as the user named it.
    pub baseline: String,
    /// The candidate, as the user named it.
    pub candidate: String,
    /// What is different about the two, beside their figures.
    pub differences: Vec<Difference>,
    /// What a reader must know, one line each.
    pub notes: Vec<String>,
    /// The tables that both have.
    pub tables: Vec<ComparedTable>,
}

/// A fact that is another on either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What: `driver`, `libraries of onnxruntime`, `threads`.
    pub what: String,
    /// The baseline's; `None` where it has none.
    pub baseline: Option<String>,
    /// The candidate's; `None` where it has none.
    pub candidate: Option<String>,
}

/// A model's table on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedTable {
    /// The baseline's heading.
    pub baseline: String,
    /// The candidate's heading.
    pub candidate: String,
    /// The cells that were measured on both sides, metric by metric; those without such a cell are left out.
    pub sections: Vec<Section>,
    /// The cells that were not measured on a side: they ran out of memory, or failed.
    pub ends: Vec<EndLine>,
    /// Cells that only the baseline has.
    pub only_baseline: Vec<(String, CellSize)>,
    /// Cells that only the candidate has.
    pub only_candidate: Vec<(String, CellSize)>,
}

/// One metric of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The metric.
    pub metric: Metric,
    /// The change that counts as none, a share such as 0.05.
    pub threshold: f64,
    /// The cells, in the order of the baseline's rows.
    pub cells: Vec<ComparedFigure>,
    /// The geometric mean of the cells of each engine that has more than one.
    pub means: Vec<ComparedFigure>,
}

/// One comparison: of a cell, or of the geometric mean of an engine's cells.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedFigure {
    /// The engine.
    pub engine: String,
    /// The cell's sizes; `None` for a mean.
    pub size: Option<CellSize>,
    /// The baseline's figure.
    pub baseline: SideFigure,
    /// The candidate's figure.
    pub candidate: SideFigure,
    /// The candidate's figure over the baseline's.
    pub ratio: f64,
    /// The ratio's 95 % interval, where the noise is known.
    pub interval: Option<Interval>,
    /// The p-value of no difference, adjusted for the whole grid, where the noise is known.
    pub adjusted_p: Option<f64>,
    /// The verdict. [`Verdict::Inconclusive`] where there is a drift that is not allowed, however the figures are.
    pub verdict: Verdict,
    /// Launches a side that would do, where it is inconclusive without drift.
    pub launches_needed: Option<usize>,
    /// What drifted, one line each; there also where drift is allowed.
    pub drift: Vec<String>,
}

/// One side's figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SideFigure {
    /// The figure in seconds or bytes: the geometric mean of the launches' medians, or what was published.
    pub value: f64,
    /// Half its 95 % interval, as a share of it; `None` where the spread is not known.
    pub half_width: Option<f64>,
    /// Launches of the worker that it comes from; `None` for a published figure.
    pub launches: Option<usize>,
}

/// A cell that was not measured on at least one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndLine {
    /// The engine.
    pub engine: String,
    /// The cell's sizes.
    pub size: CellSize,
    /// How the baseline's ended: `ok`, `OOM`, `TIMEOUT`, `CRASHED`, `FAILED`.
    pub baseline: &'static str,
    /// How the candidate's ended; `missing` where it may still come.
    pub candidate: &'static str,
    /// Regressed where the baseline's alone ended well, improved where the candidate's alone did; unchanged where both ran
    /// out of memory; else inconclusive.
    pub verdict: Verdict,
}

/// How often each verdict was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Verdict::Improved`].
    pub improved: usize,
    /// [`Verdict::Regressed`].
    pub regressed: usize,
    /// [`Verdict::Unchanged`].
    pub unchanged: usize,
    /// [`Verdict::Inconclusive`].
    pub inconclusive: usize,
}

impl Report {
    /// Every line of every metric, cells and means, with its metric.
    pub fn lines(&self) -> impl Iterator<Item = (Metric, &ComparedFigure)> {
        let sections = self.tables.iter().flat_map(|table| &table.sections);
        sections.flat_map(|section| {
            section.cells.iter().chain(&section.means).map(move |line| (section.metric, line))
        })
    }

    /// The verdicts of all lines and ends.
    pub fn counts(&self) -> Counts {
        let ends = self.tables.iter().flat_map(|table| &table.ends).map(|end| end.verdict);
        Counts::of(self.lines().map(|(_, line)| line.verdict).chain(ends))
    }
}

impl Counts {
    pub(crate) fn of(verdicts: impl Iterator<Item = Verdict>) -> Self {
        verdicts.fold(Self::default(), |mut counts, verdict| {
            *match verdict {
                Verdict::Improved => &mut counts.improved,
                Verdict::Regressed => &mut counts.regressed,
                Verdict::Unchanged => &mut counts.unchanged,
                Verdict::Inconclusive => &mut counts.inconclusive,
            } += 1;
            counts
        })
    }
}
