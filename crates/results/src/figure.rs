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

    /// The same figure where its last zeros may stand for digits that were rounded away: `13800` can be 13 842, if it was printed with
    /// three digits. Fewer than three are taken for exact.
    pub(crate) fn with_rounded_zeros(self) -> Self {
        // A whole number without an exponent.
        if self.half_width != 0.5 || self.value < 1000.0 {
            return self;
        }
        let zeros = (1..16).take_while(|zeros| self.value % 10f64.powi(*zeros) == 0.0).count();
        let half_unit = 0.5 * 10f64.powi(i32::try_from(zeros).unwrap_or(0));
        Self { half_width: half_unit.min(0.005 * self.value).max(self.half_width), ..self }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_zeros_may_have_been_rounded() {
        let half_width = |value: f64, half_width: f64| {
            Figure { half_width, ..Figure::mean(value) }.with_rounded_zeros().half_width
        };
        assert_eq!(half_width(13_800.0, 0.5), 50.0);
        assert_eq!(half_width(13_842.0, 0.5), 0.5);
        assert_eq!(half_width(20_000.0, 0.5), 100.0);
        assert_eq!(half_width(100.0, 0.5), 0.5);
        assert_eq!(half_width(13_800.0, 0.05), 0.05);
        assert_eq!(half_width(0.0, 0.5), 0.5);
    }
}
