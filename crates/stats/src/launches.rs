//! One side of a comparison: what its launches of the process measured, or a lone figure.

use crate::{Interval, mean, student};

/// Two figures nearer to each other than this share are equal: a clock's tick on a second. Keeps a metric without any noise,
/// such as a peak of memory, from proving a difference by the rounding of a logarithm.
pub(crate) const RESOLUTION: f64 = 1e-9;

/// One side's launches of the process, in the order in which they ran, each as the logarithm of its median figure.
///
/// The launch is the unit of replication: figures of one process share its memory layout and clocks, so more of them say
/// more about that process and nothing about the next. The spread between launch medians holds the noise within launches as
/// well (Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013), so no second level is needed to
/// count it.
#[derive(Debug, Clone, PartialEq)]
pub struct Launches {
    logs: Vec<f64>,
}

impl Launches {
    /// Of each launch's series of figures, in any one unit; `None` where there is no launch, a launch without a figure, or a
    /// figure that is not positive and finite.
    pub fn of<'a>(series: impl IntoIterator<Item = &'a [f64]>) -> Option<Self> {
        let mut scratch = Vec::new();
        let logs = series.into_iter().map(|figures| {
            let sound = figures.iter().all(|figure| *figure > 0.0 && figure.is_finite());
            scratch.clear();
            scratch.extend_from_slice(figures);
            sound.then(|| median(&mut scratch).map(f64::ln)).flatten()
        });
        let logs = logs.collect::<Option<Vec<_>>>()?;
        (!logs.is_empty()).then_some(Self { logs })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.logs.len()
    }

    /// The side's figure: the geometric mean over launches of each launch's median, in the figures' own unit.
    pub fn centre(&self) -> f64 {
        self.log_centre().exp()
    }

    /// Each launch's median, in the figures' own unit.
    pub fn medians(&self) -> impl Iterator<Item = f64> {
        self.logs.iter().map(|log| log.exp())
    }

    /// The relative standard deviation between launches; `None` of a single launch.
    pub fn spread(&self) -> Option<f64> {
        Some(self.variance()?.sqrt())
    }

    /// Half the width of the centre's 95 % interval as a share of it: benchstat's `± 1%`. `None` of a single launch.
    ///
    /// The farther end of [`Launches::interval`], which is the upper one.
    pub fn half_width(&self) -> Option<f64> {
        Some(self.log_half_width()?.exp_m1())
    }

    /// The centre's 95 % interval, in the figures' own unit: Student's, of the mean of the logarithms. `None` of a single launch.
    pub fn interval(&self) -> Option<Interval> {
        let (centre, half_width) = (self.log_centre(), self.log_half_width()?);
        Some(Interval { low: (centre - half_width).exp(), high: (centre + half_width).exp() })
    }

    fn log_half_width(&self) -> Option<f64> {
        let count = self.logs.len() as f64;
        let error = (self.variance()? / count).sqrt();
        Some(student::quantile(0.05, count - 1.0) * error)
    }

    /// This side over another, launch by launch: the n-th launch of the result is the ratio of both sides' n-th, without a unit.
    /// `None` where the counts differ.
    ///
    /// For two sides measured interleaved, in the order in which they ran: what the machine does to both at the same time is
    /// not in the ratio. [`Trend::of`](crate::Trend::of) it sees the drift that the two do not share, and no other.
    pub fn over(&self, baseline: &Self) -> Option<Self> {
        let ratio = || self.logs.iter().zip(&baseline.logs).map(|(own, other)| own - other).collect();
        (self.count() == baseline.count()).then(|| Self { logs: ratio() })
    }

    pub(crate) fn logs(&self) -> &[f64] {
        &self.logs
    }

    pub(crate) fn log_centre(&self) -> f64 {
        mean(&self.logs).expect("a side has a launch")
    }

    /// Sample variance of the logarithms.
    pub(crate) fn variance(&self) -> Option<f64> {
        let centre = self.log_centre();
        let squares: f64 = self.logs.iter().map(|log| (log - centre).powi(2)).sum();
        (self.logs.len() > 1).then(|| (squares / (self.logs.len() - 1) as f64).max(RESOLUTION * RESOLUTION))
    }

    /// The geometric mean over cells, launch by launch: the n-th launch of the result is that of all cells' n-th launches.
    ///
    /// A worker that measures several cells in one launch gives them one noise, and a machine that drifts gives all of a
    /// round the same; averaged round by round, neither is counted as if every cell had seen it independently. Where cells
    /// lack launches, a round is the mean of the deviations from their own centre of the cells that have it.
    fn geometric_mean(cells: &[&Self]) -> Option<Self> {
        let rounds = cells.iter().map(|cell| cell.count()).max()?;
        let deviations = (0..rounds).map(|round| {
            let present = cells.iter().filter_map(|cell| Some(cell.logs.get(round)? - cell.log_centre()));
            mean(&present.collect::<Vec<_>>()).expect("the longest cell has every round")
        });
        let deviations: Vec<_> = deviations.collect();
        let centre = mean(&cells.iter().map(|cell| cell.log_centre()).collect::<Vec<_>>())?;
        let shift = centre - mean(&deviations)?;
        Some(Self { logs: deviations.iter().map(|deviation| deviation + shift).collect() })
    }
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Side {
    /// Measured.
    Launches(Launches),
    /// A figure without a spread, positive and finite: a published table's.
    Figure(f64),
}

impl Side {
    /// The side's figure, in its own unit.
    pub fn centre(&self) -> f64 {
        match self {
            Self::Launches(launches) => launches.centre(),
            Self::Figure(figure) => *figure,
        }
    }

    /// The geometric mean of one metric over the cells of a grid, as a side of its own: two of them compare like any two
    /// sides, and their ratio is the geometric mean of the cells' ratios. `None` of no cell. A lone figure among the cells
    /// makes the mean a lone figure.
    ///
    /// Fleming and Wallace, "How not to lie with statistics: the correct way to summarize benchmark results", CACM 29, 1986.
    pub fn geometric_mean(cells: &[&Self]) -> Option<Self> {
        let measured = cells.iter().map(|cell| match cell {
            Self::Launches(launches) => Some(launches),
            Self::Figure(_) => None,
        });
        match measured.collect::<Option<Vec<_>>>() {
            Some(measured) => Launches::geometric_mean(&measured).map(Self::Launches),
            None => {
                let logs: Vec<_> = cells.iter().map(|cell| cell.centre().ln()).collect();
                mean(&logs).map(|log| Self::Figure(log.exp()))
            }
        }
    }
}

/// The median, the mean of the middle two where the count is even; `None` of nothing. Reorders the series.
pub(crate) fn median(series: &mut [f64]) -> Option<f64> {
    let half = series.len() / 2;
    if series.is_empty() {
        return None;
    }
    let even = series.len().is_multiple_of(2);
    let (below, upper, _) = series.select_nth_unstable_by(half, f64::total_cmp);
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(if even { f64::midpoint(lower, *upper) } else { *upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launches(medians: &[f64]) -> Launches {
        Launches::of(medians.chunks(1)).unwrap()
    }

    #[test]
    fn a_launch_is_its_median_and_a_side_their_geometric_mean() {
        let side = Launches::of([&[9.0, 1.0, 2.0][..], &[7.0, 9.0, 0.5, 100.0]]).unwrap();
        assert_eq!(side.count(), 2);
        assert!((side.centre() - 4.0).abs() < 1e-12, "of 2 and 8");
    }

    #[test]
    fn what_is_no_side() {
        assert_eq!(Launches::of(std::iter::empty()), None);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Launches::of([&[1.0, bad][..]]), None);
        }
        assert_eq!(Launches::of([&[1.0][..], &[]]), None);
    }

    #[test]
    fn spread_and_half_width() {
        // t(0.975, 3) = 3.182446; standard deviation of the logs 0.01 · √(20/3)/2 …
        let side = launches(&[0.99, 1.0, 1.01, 1.02].map(|x: f64| x));
        let logs = [0.99_f64.ln(), 0.0, 1.01_f64.ln(), 1.02_f64.ln()];
        let centre = logs.iter().sum::<f64>() / 4.0;
        let deviation = (logs.iter().map(|log| (log - centre).powi(2)).sum::<f64>() / 3.0).sqrt();
        assert!((side.spread().unwrap() - deviation).abs() < 1e-12);
        let expected = (3.182_446_305_284_263 * deviation / 2.0).exp() - 1.0;
        assert!((side.half_width().unwrap() - expected).abs() < 1e-9);
        let interval = side.interval().unwrap();
        assert!((interval.high / side.centre() - 1.0 - expected).abs() < 1e-9, "{interval:?}");
        assert!((interval.low * interval.high - side.centre().powi(2)).abs() < 1e-9, "{interval:?}");
        assert_eq!(launches(&[2.0]).interval(), None);
        assert_eq!(launches(&[2.0]).spread(), None);
        assert_eq!(launches(&[2.0]).half_width(), None);
    }

    #[test]
    fn a_side_over_another_goes_launch_by_launch() {
        let ratio = launches(&[2.0, 6.0, 3.0]).over(&launches(&[1.0, 2.0, 4.0])).unwrap();
        let expected = launches(&[2.0, 3.0, 0.75]);
        assert!(ratio.logs.iter().zip(&expected.logs).all(|(a, b)| (a - b).abs() < 1e-12), "{ratio:?}");
        assert_eq!(launches(&[1.0, 2.0]).over(&launches(&[1.0])), None);
        assert_eq!(launches(&[1.0]).over(&launches(&[1.0, 2.0])), None);
    }

    #[test]
    fn the_geometric_mean_goes_round_by_round() {
        // Two cells that share their noise keep it; two with opposite noise lose it.
        let (up, down) = (launches(&[1.0, 1.1, 1.21]), launches(&[4.84, 4.4, 4.0]));
        let shared = Launches::geometric_mean(&[&up, &up]).unwrap();
        assert!((shared.spread().unwrap() - up.spread().unwrap()).abs() < 1e-12);
        let opposite = Launches::geometric_mean(&[&up, &down]).unwrap();
        assert!(opposite.spread().unwrap() < 1e-8);
        assert!((opposite.centre() - (1.1_f64 * 4.4).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_geometric_mean_of_cells_of_unequal_length_is_that_of_their_centres() {
        let (long, short) = (launches(&[1.0, 2.0, 4.0]), launches(&[8.0, 2.0]));
        let both = Launches::geometric_mean(&[&long, &short]).unwrap();
        assert_eq!(both.count(), 3);
        assert!((both.centre() - (2.0_f64 * 4.0).sqrt()).abs() < 1e-12);
        let figure = Side::geometric_mean(&[&Side::Launches(long), &Side::Figure(8.0)]).unwrap();
        assert!(matches!(figure, Side::Figure(x) if (x - 4.0).abs() < 1e-12));
        assert_eq!(Side::geometric_mean(&[]), None);
    }
}
