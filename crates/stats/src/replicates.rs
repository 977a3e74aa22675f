//! The replicates of one cell in one metric.

use std::collections::BTreeMap;

use crate::{Interval, mean, student};

/// Two figures nearer to each other than this share are equal: a clock's tick on a second. Keeps a metric without any noise,
/// such as a peak of memory, from proving a difference by the rounding of a logarithm.
pub(crate) const RESOLUTION: f64 = 1e-9;

/// One figure a replicate, its mean or its median, as logarithms, in the order in which they were measured.
///
/// The replicate is the unit of replication: figures of one process share its memory layout and clocks, so more of them say
/// more about that process and nothing about the next. The spread between replicates holds the noise within them as well
/// (Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013), so no second level is needed to count it.
#[derive(Debug, Clone, PartialEq)]
pub struct Replicates {
    /// Each one's number in its run, rising: those of one number were measured one after the other.
    numbers: Vec<u32>,
    logs: Vec<f64>,
}

impl Replicates {
    /// Each replicate's number and figure, numbers rising; `None` of no replicate, or of a figure that is not positive and finite.
    pub fn new(figures: impl IntoIterator<Item = (u32, f64)>) -> Option<Self> {
        let (mut numbers, mut logs) = (Vec::new(), Vec::new());
        for (number, figure) in figures {
            if !(figure > 0.0 && figure.is_finite()) {
                return None;
            }
            numbers.push(number);
            logs.push(figure.ln());
        }
        (!logs.is_empty()).then_some(Self { numbers, logs })
    }

    /// The mean of each replicate's samples. `None` where there is no replicate, a replicate without samples, or a sample that is
    /// not positive and finite.
    pub fn means<'a>(series: impl IntoIterator<Item = (u32, &'a [f64])>) -> Option<Self> {
        Self::summaries(series, |samples| mean(samples))
    }

    /// The median of each replicate's samples. `None` as of [`Replicates::means`].
    pub fn medians<'a>(series: impl IntoIterator<Item = (u32, &'a [f64])>) -> Option<Self> {
        Self::summaries(series, median)
    }

    fn summaries<'a>(
        series: impl IntoIterator<Item = (u32, &'a [f64])>,
        summary: fn(&mut [f64]) -> Option<f64>,
    ) -> Option<Self> {
        let mut scratch = Vec::new();
        let figures = series.into_iter().map(|(number, samples)| {
            let sound = samples.iter().all(|sample| *sample > 0.0 && sample.is_finite());
            scratch.clear();
            scratch.extend_from_slice(samples);
            Some((number, sound.then(|| summary(&mut scratch)).flatten()?))
        });
        Self::new(figures.collect::<Option<Vec<_>>>()?)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.logs.len()
    }

    /// The geometric mean of the figures, in their own unit.
    pub fn centre(&self) -> f64 {
        self.log_centre().exp()
    }

    /// Each replicate's figure, in its own unit.
    pub fn figures(&self) -> impl Iterator<Item = f64> {
        self.logs.iter().map(|log| log.exp())
    }

    /// The relative standard deviation between replicates; `None` of a single one.
    pub fn spread(&self) -> Option<f64> {
        Some(self.variance()?.sqrt())
    }

    /// The centre's 95 % interval, in the figures' own unit: Student's, of the mean of the logarithms. `None` of a single replicate.
    pub fn interval(&self) -> Option<Interval> {
        let count = self.logs.len() as f64;
        let error = (self.variance()? / count).sqrt();
        let half_width = student::quantile(0.05, count - 1.0) * error;
        let centre = self.log_centre();
        Some(Interval { low: (centre - half_width).exp(), high: (centre + half_width).exp() })
    }

    /// The ratio to `baseline` of each pair of replicates of one number, without a unit; `None` where there is no pair.
    ///
    /// Divides, for two sides measured interleaved: what the machine does to both at the same time is not in the ratio.
    /// [`Trend::fit`](crate::Trend::fit) it sees the drift that the two do not share, and no other.
    pub fn over(&self, baseline: &Self) -> Option<Self> {
        let of_baseline: BTreeMap<u32, f64> = baseline.by_number().collect();
        let ratio = |(number, log): (u32, f64)| Some((number, log - of_baseline.get(&number)?));
        let (numbers, logs): (Vec<u32>, Vec<f64>) = self.by_number().filter_map(ratio).unzip();
        (!logs.is_empty()).then_some(Self { numbers, logs })
    }

    /// The geometric mean over cells, number by number; `None` of no cell.
    ///
    /// A worker that measures several cells gives them one noise, and a machine that drifts gives all of a round the same;
    /// averaged round by round, neither is counted as if every cell had seen it independently. Where cells lack replicates, a
    /// round is the mean of the deviations from their own centre of the cells that have it.
    ///
    /// Fleming and Wallace, "How not to lie with statistics: the correct way to summarize benchmark results", CACM 29, 1986.
    pub fn geometric_mean(cells: &[&Self]) -> Option<Self> {
        let mut rounds: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for cell in cells {
            let centre = cell.log_centre();
            for (number, log) in cell.by_number() {
                rounds.entry(number).or_default().push(log - centre);
            }
        }
        let deviations: Vec<f64> = rounds.values().filter_map(|round| mean(round)).collect();
        let centre = mean(&cells.iter().map(|cell| cell.log_centre()).collect::<Vec<_>>())?;
        let shift = centre - mean(&deviations)?;
        let logs = deviations.iter().map(|deviation| deviation + shift).collect();
        Some(Self { numbers: rounds.into_keys().collect(), logs })
    }

    /// The same, of logarithms that a covariate explains in part: `explained` is taken off each.
    pub(crate) fn without(&self, explained: impl Fn(u32) -> f64) -> Self {
        let logs = self.by_number().map(|(number, log)| log - explained(number)).collect();
        Self { numbers: self.numbers.clone(), logs }
    }

    pub(crate) fn by_number(&self) -> impl Iterator<Item = (u32, f64)> {
        self.numbers.iter().copied().zip(self.logs.iter().copied())
    }

    pub(crate) fn logs(&self) -> &[f64] {
        &self.logs
    }

    pub(crate) fn log_centre(&self) -> f64 {
        mean(&self.logs).expect("at least one replicate")
    }

    /// Sample variance of the logarithms; `None` of a single one.
    pub(crate) fn variance(&self) -> Option<f64> {
        let centre = self.log_centre();
        let squares: f64 = self.logs.iter().map(|log| (log - centre).powi(2)).sum();
        (self.logs.len() > 1).then(|| (squares / (self.logs.len() - 1) as f64).max(RESOLUTION * RESOLUTION))
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
pub(crate) mod tests {
    use super::*;

    /// Replicates of these figures, numbered from 0.
    pub(crate) fn replicates(figures: &[f64]) -> Replicates {
        Replicates::new((0..).zip(figures.iter().copied())).unwrap()
    }

    #[test]
    fn a_replicate_is_its_mean_or_its_median_and_a_side_their_geometric_mean() {
        let series: [&[f64]; 2] = [&[9.0, 1.0, 2.0], &[7.0, 9.0, 0.5, 99.5]];
        let of = |side: Option<Replicates>| (side.as_ref().unwrap().count(), side.unwrap().centre());
        let (count, centre) = of(Replicates::medians((0..).zip(series)));
        assert!(count == 2 && (centre - 4.0).abs() < 1e-12, "of 2 and 8");
        let (_, centre) = of(Replicates::means((0..).zip(series)));
        assert!((centre - (4.0_f64 * 29.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_side() {
        assert_eq!(Replicates::new([]), None);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Replicates::medians([(0, &[1.0, bad][..])]), None);
            assert_eq!(Replicates::new([(0, bad)]), None);
        }
        assert_eq!(Replicates::means([(0, &[1.0][..]), (1, &[])]), None);
    }

    #[test]
    fn spread_and_interval() {
        let side = replicates(&[0.99, 1.0, 1.01, 1.02]);
        let logs = [0.99_f64.ln(), 0.0, 1.01_f64.ln(), 1.02_f64.ln()];
        let centre = logs.iter().sum::<f64>() / 4.0;
        let deviation = (logs.iter().map(|log| (log - centre).powi(2)).sum::<f64>() / 3.0).sqrt();
        assert!((side.spread().unwrap() - deviation).abs() < 1e-12);
        // t(0.975, 3) = 3.182446
        let expected = (3.182_446_305_284_263 * deviation / 2.0).exp() - 1.0;
        let interval = side.interval().unwrap();
        assert!((interval.high / side.centre() - 1.0 - expected).abs() < 1e-9, "{interval:?}");
        assert!((interval.low * interval.high - side.centre().powi(2)).abs() < 1e-9, "{interval:?}");
        assert_eq!((replicates(&[2.0]).interval(), replicates(&[2.0]).spread()), (None, None));
    }

    #[test]
    fn a_side_over_another_goes_pair_by_pair_where_both_have_one() {
        let baseline = replicates(&[1.0, 2.0, 4.0]);
        let ratio = replicates(&[2.0, 6.0, 3.0]).over(&baseline).unwrap();
        let expected = [2.0_f64, 3.0, 0.75].map(f64::ln);
        assert!(ratio.logs.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{ratio:?}");
        let without_the_second = Replicates::new([(0, 2.0), (2, 3.0)]).unwrap();
        let ratio = without_the_second.over(&baseline).unwrap();
        assert!(ratio.count() == 2 && (ratio.logs[1] - 0.75_f64.ln()).abs() < 1e-12, "{ratio:?}");
        assert_eq!(Replicates::new([(7, 1.0)]).unwrap().over(&baseline), None);
    }

    #[test]
    fn the_geometric_mean_goes_round_by_round() {
        // Two cells that share their noise keep it; two with opposite noise lose it.
        let (up, down) = (replicates(&[1.0, 1.1, 1.21]), replicates(&[4.84, 4.4, 4.0]));
        let shared = Replicates::geometric_mean(&[&up, &up]).unwrap();
        assert!((shared.spread().unwrap() - up.spread().unwrap()).abs() < 1e-12);
        let opposite = Replicates::geometric_mean(&[&up, &down]).unwrap();
        assert!(opposite.spread().unwrap() < 1e-8);
        assert!((opposite.centre() - (1.1_f64 * 4.4).sqrt()).abs() < 1e-12);
        assert_eq!(Replicates::geometric_mean(&[]), None);
    }

    #[test]
    fn the_geometric_mean_of_cells_of_unequal_length_is_that_of_their_centres() {
        let (long, short) = (replicates(&[1.0, 2.0, 4.0]), Replicates::new([(0, 8.0), (2, 2.0)]).unwrap());
        let both = Replicates::geometric_mean(&[&long, &short]).unwrap();
        assert_eq!(both.numbers, [0, 1, 2]);
        assert!((both.centre() - (2.0_f64 * 4.0).sqrt()).abs() < 1e-12);
    }
}
