//! What stands in a cell of a table, whoever made it.

use protocol::FailureKind;

/// The statistic of the measured latencies that a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statistic {
    /// Their mean.
    Mean,
    /// Their median.
    Median,
    /// The source does not say.
    Unknown,
}

/// A figure in its column's unit, and the interval in which it was before it was rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Half a unit of the last printed digit; 0 where nothing was rounded.
    pub half_width: f64,
    /// Which statistic it is.
    pub statistic: Statistic,
}

impl Figure {
    /// The mean of our own series, as it was computed.
    pub fn mean(value: f64) -> Self {
        Self { value, half_width: 0.0, statistic: Statistic::Mean }
    }

    /// The least that rounds to this, not below 0.
    pub fn least(self) -> f64 {
        (self.value - self.half_width).max(0.0)
    }

    /// The most that rounds to this.
    pub fn most(self) -> f64 {
        self.value + self.half_width
    }
}

/// What a cell says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A figure.
    Figure(Figure),
    /// The cell ended without figures: `OOM`, `TIMEOUT`, …
    Ended(FailureKind),
    /// `N/A` or a dash: the column does not apply.
    NotAvailable,
    /// Nothing.
    Empty,
}

impl Value {
    /// The figure, where it is one.
    pub fn figure(self) -> Option<Figure> {
        match self {
            Self::Figure(figure) => Some(figure),
            _ => None,
        }
    }
}
