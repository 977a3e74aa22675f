//! What a comparison says: plain data, which the formats write.

use protocol::CellSize;
use stats::{Interval, Verdict};

use results::Metric;

use crate::Missing;

/// A candidate compared with its baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The baseline, as the user named it.
    pub baseline: String,
    /// The candidate, as the user named it.
    pub candidate: String,
    /// What is different about the two, beside their figures.
    pub differences: Vec<Difference>,
    /// The notes, one line each.
    pub notes: Vec<String>,
    /// The tables that both have.
    pub tables: Vec<ComparedTable>,
    /// Tables that one side alone has.
    pub missing: Vec<Missing>,
    /// Whether what one side alone has counts as inconclusive.
    pub missing_counts: bool,
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
    /// The cells of which a replicate failed on a side.
    pub ends: Vec<EndLine>,
    /// What one side alone has.
    pub missing: Vec<Missing>,
}

/// One metric of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The metric.
    pub metric: Metric,
    /// The minimum effect, a share such as 0.05.
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
    /// The candidate's figure over the baseline's, of means.
    pub ratio: f64,
    /// The ratio's 95 % interval; `None` where it is not known, as of two separate runs without a history.
    pub interval: Option<Interval>,
    /// The p-value of no difference, adjusted for its family, where the noise is known.
    pub adjusted_p: Option<f64>,
    /// Pairs of replicates that were compared; `None` where they are no pairs.
    pub pairs: Option<usize>,
    /// The verdict.
    pub verdict: Verdict,
    /// What the medians say, where that is another verdict than what the means say and one of the two is a change.
    pub other_median: Option<OtherMedian>,
    /// Replicates a side that would do, where it is inconclusive.
    pub replicates_needed: Option<usize>,
    /// What drifted, one line each; there also where drift is allowed.
    pub drift: Vec<String>,
    /// It is inconclusive only because it drifted, and would be regressed without.
    pub is_hidden_regression: bool,
    /// The verdict and its p-value are the median's.
    pub is_by_median: bool,
    /// The ratio and its interval are at equal memory bandwidth: what memory gave beside the replicates is taken out.
    pub is_adjusted: bool,
    /// The round in which it was measured: 0, or a later one of what was left open.
    pub round: usize,
    /// The minimum effect of this line, where that is not the section's: of peak memory, at least 1 MB.
    pub own_threshold: Option<f64>,
}

/// Mean and median do not have the same verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OtherMedian {
    /// What the means say.
    pub mean: Verdict,
    /// What the medians say.
    pub median: Verdict,
    /// The candidate's medians over the baseline's.
    pub median_ratio: f64,
    /// Their changes differ by more than the minimum effect: it is the tail of the samples that changed, or that did not.
    pub is_tail: bool,
}

/// One side's figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SideFigure {
    /// The figure in seconds or bytes: the geometric mean of the replicates' means, or what was published.
    pub value: f64,
    /// Replicates that it comes from; `None` for a published figure.
    pub replicates: Option<usize>,
}

/// A cell of which a replicate failed on at least one side.
#[derive(Debug, Clone, PartialEq)]
pub struct EndLine {
    /// The engine.
    pub engine: String,
    /// The cell's sizes.
    pub size: CellSize,
    /// How the baseline's ended: `ok`, `OOM`, `TIMEOUT`, `CRASHED`, `FAILED`; `9 of 10 ok, 1 TIMEOUT`.
    pub baseline: String,
    /// How the candidate's ended.
    pub candidate: String,
    /// The p-value of equal rates of failure, adjusted for its family, where both sides have replicates that ended well and some
    /// that did not.
    pub adjusted_p: Option<f64>,
    /// Regressed where the baseline's alone ended well, or the candidate's failed more often beyond chance; improved likewise;
    /// unchanged where both ran out of memory. `None` where they failed no more often than chance: that is told, and decides nothing.
    pub verdict: Option<Verdict>,
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
    /// [`Verdict::Provisional`].
    pub provisional: usize,
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

    /// The verdicts of all lines and ends; of what one side alone has, inconclusive unless that is allowed.
    pub fn counts(&self) -> Counts {
        let ends = self.tables.iter().flat_map(|table| &table.ends).filter_map(|end| end.verdict);
        let missing = self.tables.iter().flat_map(|table| &table.missing).chain(&self.missing);
        let missing = missing.filter(|_| self.missing_counts).map(|_| Verdict::Inconclusive);
        Counts::from_verdicts(self.lines().map(|(_, line)| line.verdict).chain(ends).chain(missing))
    }

    /// Whether a line is inconclusive only because it drifted, and would be regressed without.
    pub fn has_hidden_regression(&self) -> bool {
        self.lines().any(|(_, line)| line.is_hidden_regression)
    }
}

impl Counts {
    pub(crate) fn from_verdicts(verdicts: impl Iterator<Item = Verdict>) -> Self {
        verdicts.fold(Self::default(), |mut counts, verdict| {
            *match verdict {
                Verdict::Improved => &mut counts.improved,
                Verdict::Regressed => &mut counts.regressed,
                Verdict::Unchanged => &mut counts.unchanged,
                Verdict::Provisional => &mut counts.provisional,
                Verdict::Inconclusive => &mut counts.inconclusive,
            } += 1;
            counts
        })
    }
}
