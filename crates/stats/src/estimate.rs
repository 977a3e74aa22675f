//! The ratio of two sides of one cell, metric and statistic, with its noise.

use crate::pooled_variance::Variance;
use crate::{PooledVariance, Replicates, student};

/// An interval of a figure or a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The logarithm of candidate / baseline, with its noise. Logarithms turn the ratio into a difference and multiplicative noise
/// into an additive one, of which the two sides' skewness cancels.
///
/// Its interval is Student's *t*, wider by a margin on both sides where there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    log_ratio: f64,
    shares: Vec<VarianceShare>,
    margin: f64,
    /// The replicates of the side that has fewer; `None` of published figures.
    replicates: Option<usize>,
    /// The degrees of freedom of all replicates' variances together.
    most_degrees: f64,
}

/// One source's share in the variance of the logarithm.
#[derive(Debug, Clone, Copy, PartialEq)]
struct VarianceShare {
    variance: Variance,
    weight: f64,
    /// It falls with the number of replicates.
    is_of_replicates: bool,
}

impl Estimate {
    /// Student's *t* of pairs' log ratios; `None` of fewer than two pairs.
    pub fn paired(ratios: &Replicates, pool: &PooledVariance) -> Option<Self> {
        Some(Self {
            log_ratio: ratios.log_centre(),
            shares: vec![VarianceShare::of_replicates(ratios, pool)?],
            margin: 0.0,
            replicates: Some(ratios.count()),
            most_degrees: f64::INFINITY,
        })
    }

    /// Welch's *t* of two sides that are no pairs; `None` where a side has fewer than two replicates. Welch, "The generalization
    /// of 'Student's' problem when several different population variances are involved", Biometrika 34, 1947.
    ///
    /// What differs from one run to the next is not in its interval: [`Estimate::with_run_spread`].
    pub fn separate(baseline: &Replicates, candidate: &Replicates, pool: &PooledVariance) -> Option<Self> {
        Some(Self {
            log_ratio: candidate.log_centre() - baseline.log_centre(),
            shares: vec![
                VarianceShare::of_replicates(baseline, pool)?,
                VarianceShare::of_replicates(candidate, pool)?,
            ],
            margin: 0.0,
            replicates: Some(baseline.count().min(candidate.count())),
            // Both sides borrow from the same cells, which have no more because of that.
            most_degrees: pool.most().max((baseline.count() + candidate.count() - 2) as f64),
        })
    }

    /// Compares two figures of which one was published: each is anything between its two ends.
    pub fn published(baseline: Interval, candidate: Interval) -> Self {
        let [low, high] = [candidate.low / baseline.high, candidate.high / baseline.low].map(f64::ln);
        Self {
            log_ratio: f64::midpoint(low, high),
            shares: Vec::new(),
            margin: (high - low) / 2.0,
            replicates: None,
            most_degrees: f64::INFINITY,
        }
    }

    /// The same of two separate runs, whose levels differ by themselves with this variance of a run's logarithm, known with these
    /// degrees of freedom (infinitely many for an assumed one).
    ///
    /// A variance between runs that was measured has the noise of their replicates in it: `holds_replicates`.
    #[must_use]
    pub fn with_run_spread(mut self, variance: f64, degrees: f64, holds_replicates: bool) -> Self {
        let variance = Variance { value: variance, own_degrees: degrees, borrowed_degrees: 0.0 };
        let runs = VarianceShare { variance, weight: 2.0, is_of_replicates: false };
        if holds_replicates && runs.value() >= self.variance() {
            self.shares.clear();
        }
        if !holds_replicates || self.shares.is_empty() {
            self.shares.push(runs);
        }
        self
    }

    /// The same with an interval that is wider on both sides by `margin`, a logarithm.
    #[must_use]
    pub fn widened(mut self, margin: f64) -> Self {
        self.margin += margin;
        self
    }

    /// The same without any margin.
    #[must_use]
    pub(crate) fn without_margin(&self) -> Self {
        Self { margin: 0.0, ..self.clone() }
    }

    /// The same where a slope was fitted to its replicates: they have a degree of freedom less, and the slope's error is another source
    /// of noise.
    #[must_use]
    pub(crate) fn with_fitted_slope(mut self, variance: f64, degrees: f64) -> Self {
        for VarianceShare { variance, .. } in &mut self.shares {
            let left = (variance.own_degrees - 1.0).max(1.0);
            variance.value *= variance.own_degrees / left;
            variance.own_degrees = left;
        }
        let variance = Variance { value: variance, own_degrees: degrees, borrowed_degrees: 0.0 };
        self.shares.push(VarianceShare { variance, weight: 1.0, is_of_replicates: false });
        self
    }

    /// The candidate over the baseline.
    pub fn ratio(&self) -> f64 {
        self.log_ratio.exp()
    }

    /// Whether an interval has a width that noise gives it.
    fn has_noise(&self) -> bool {
        !self.shares.is_empty()
    }

    /// The margin that its interval has on both sides, a logarithm.
    pub(crate) fn margin(&self) -> f64 {
        self.margin
    }

    /// The replicates of the side that has fewer; `None` of published figures.
    pub fn replicates(&self) -> Option<usize> {
        self.replicates
    }

    /// The ratio's interval that misses with probability `level`.
    pub fn interval(&self, level: f64) -> Interval {
        let half_width = self.half_width(level);
        Interval { low: (self.log_ratio - half_width).exp(), high: (self.log_ratio + half_width).exp() }
    }

    /// The two-sided p-value of no difference, the level at which the interval's end is 1; `None` of figures without noise.
    pub fn p(&self) -> Option<f64> {
        let beyond = (self.log_ratio.abs() - self.margin).max(0.0);
        self.has_noise().then(|| student::two_sided(beyond / self.variance().sqrt(), self.degrees()))
    }

    pub(crate) fn log_ratio(&self) -> f64 {
        self.log_ratio
    }

    /// Half the interval that misses with probability `level`, a logarithm.
    pub fn half_width(&self, level: f64) -> f64 {
        if self.shares.is_empty() {
            return self.margin;
        }
        student::quantile(level, self.degrees()) * self.variance().sqrt() + self.margin
    }

    /// The fewest replicates a side, of the same spread, with which half an interval at `level` is at most `width` wide in
    /// logarithms; `None` where that is more than `most`.
    pub fn replicates_for(&self, width: f64, level: f64, most: usize) -> Option<usize> {
        let of = |count: usize| {
            let count = count as f64;
            let share = |share: &VarianceShare| match share.is_of_replicates {
                true => VarianceShare {
                    weight: 1.0 / count,
                    variance: Variance { own_degrees: count - 1.0, ..share.variance },
                    ..*share
                },
                false => *share,
            };
            let most_degrees =
                if count > self.replicates.unwrap_or(0) as f64 { f64::INFINITY } else { self.most_degrees };
            Self { shares: self.shares.iter().map(share).collect(), most_degrees, ..self.clone() }
                .half_width(level)
        };
        let (mut few, mut enough) = (1, most);
        if self.shares.is_empty() || of(most) > width {
            return None;
        }
        while enough - few > 1 {
            let middle = usize::midpoint(few, enough);
            if of(middle) <= width { enough = middle } else { few = middle }
        }
        Some(enough)
    }

    fn variance(&self) -> f64 {
        self.shares.iter().map(VarianceShare::value).sum()
    }

    /// Welch and Satterthwaite's degrees of freedom.
    fn degrees(&self) -> f64 {
        let of_each = self.shares.iter().map(|share| share.value().powi(2) / share.variance.degrees());
        let all = self.variance().powi(2) / of_each.sum::<f64>();
        let is_of_replicates = self.shares.iter().all(|share| share.is_of_replicates);
        if is_of_replicates { all.min(self.most_degrees) } else { all }
    }
}

impl VarianceShare {
    fn of_replicates(side: &Replicates, pool: &PooledVariance) -> Option<Self> {
        let weight = 1.0 / side.count() as f64;
        Some(Self { variance: pool.moderate(side)?, weight, is_of_replicates: true })
    }

    fn value(&self) -> f64 {
        self.variance.value * self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicates::tests::replicates;

    const ALONE: PooledVariance = PooledVariance::NONE;

    fn separate(baseline: &[f64], candidate: &[f64]) -> Estimate {
        Estimate::separate(&replicates(baseline), &replicates(candidate), &ALONE).unwrap()
    }

    #[test]
    fn welch_on_logarithms() {
        // By hand: logs 0, 1, 2 and 1, 2, 3, 4. Means 1 and 2.5; variances 1 and 5/3; shares 1/3 and 5/12, √(3/4) their sum's
        // root; degrees (3/4)² / ((1/3)²/2 + (5/12)²/3) = 4.959184.
        let e = std::f64::consts::E;
        let estimate = separate(&[1.0, e, e * e], &[e, e.powi(2), e.powi(3), e.powi(4)]);
        assert!((estimate.ratio() - 1.5_f64.exp()).abs() < 1e-12);
        assert!((estimate.variance() - 0.75).abs() < 1e-12);
        assert!((estimate.degrees() - 0.5625 / (1.0 / 18.0 + 25.0 / 432.0)).abs() < 1e-12);
        // mpmath: betainc(nu/2, 1/2, 0, nu/(nu + t*t), regularized=True) at t = 1.5 / √0.75.
        assert!((estimate.p().unwrap() - 0.144_293_043).abs() < 1e-9, "{:?}", estimate.p());
    }

    #[test]
    fn student_on_pairs() {
        // By hand: logs of the ratios 0.1, 0.2, 0.3; mean 0.2, deviation 0.1; what both share is large, and cancels.
        let baseline = replicates(&[1.0, 20.0, 400.0]);
        let candidate = replicates(&[0.1_f64.exp(), 20.0 * 0.2_f64.exp(), 400.0 * 0.3_f64.exp()]);
        let estimate = Estimate::paired(&candidate.over(&baseline).unwrap(), &ALONE).unwrap();
        assert!((estimate.ratio() - 0.2_f64.exp()).abs() < 1e-12);
        assert!((estimate.variance().sqrt() - 0.1 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert!((estimate.degrees() - 2.0).abs() < 1e-12);
        // t = 2√3 with 2 degrees: p = 1 - t/√(2 + t²).
        let t = 12.0_f64.sqrt();
        assert!((estimate.p().unwrap() - (1.0 - t / (2.0 + t * t).sqrt())).abs() < 1e-9);
    }

    #[test]
    fn the_interval_ends_at_1_where_its_level_is_p_also_with_a_margin() {
        let estimate = separate(&[1.0, 1.02, 0.99], &[1.1, 1.04, 1.06, 1.09]);
        for estimate in [estimate.clone(), estimate.widened(0.01)] {
            let interval = estimate.interval(estimate.p().unwrap());
            assert!((interval.low - 1.0).abs() < 1e-9, "{interval:?}");
            assert!((interval.low * interval.high).sqrt() - estimate.ratio() < 1e-9);
        }
    }

    #[test]
    fn turned_round_everything_is() {
        let (a, b) = ([1.0, 1.02, 0.99], [1.1, 1.04, 1.06, 1.09]);
        let (there, back) = (separate(&a, &b), separate(&b, &a));
        assert!((there.ratio() * back.ratio() - 1.0).abs() < 1e-12);
        assert_eq!(there.p(), back.p());
        assert!((there.interval(0.05).low * back.interval(0.05).high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_noise_equal_is_equal_and_different_different() {
        let (a, b) = ([3.0; 5], [3.3; 4]);
        assert!(separate(&a, &a).p().unwrap() > 0.999);
        assert!(separate(&a, &[3.0; 7]).p().unwrap() > 0.999, "sums of other lengths round otherwise");
        assert!(separate(&a, &b).p().unwrap() < 1e-12);
        let interval = separate(&a, &b).interval(0.05);
        assert!((interval.high - interval.low) < 1e-7);
    }

    #[test]
    fn one_replicate_has_no_noise_to_know_of() {
        let (several, one) = (replicates(&[1.0, 1.1]), replicates(&[1.2]));
        assert_eq!(Estimate::separate(&several, &one, &ALONE), None);
        assert_eq!(Estimate::paired(&one, &ALONE), None);
    }

    #[test]
    fn a_published_figure_is_anything_that_rounds_to_it() {
        let rounded = |low, high| Interval { low, high };
        let estimate = Estimate::published(rounded(0.95, 1.05), rounded(2.0, 2.0));
        let interval = estimate.interval(0.05);
        assert!((interval.low - 2.0 / 1.05).abs() < 1e-12 && (interval.high - 2.0 / 0.95).abs() < 1e-12);
        assert_eq!((estimate.p(), estimate.replicates()), (None, None));
    }

    #[test]
    fn the_spread_between_runs_is_that_of_two_runs() {
        let (a, b) = ([1.0, 1.01, 0.99], [1.1, 1.11, 1.09]);
        let assumed = separate(&a, &b).with_run_spread(0.0025, f64::INFINITY, false);
        assert!((assumed.variance() - separate(&a, &b).variance() - 0.005).abs() < 1e-12);
        let measured = separate(&a, &b).with_run_spread(0.0025, 9.0, true);
        assert!((measured.variance() - 0.005).abs() < 1e-12 && (measured.degrees() - 9.0).abs() < 1e-9);
        let quieter = separate(&a, &b).with_run_spread(1e-9, 9.0, true);
        assert_eq!(quieter, separate(&a, &b), "runs whose replicates differ by more than a history says");
    }

    #[test]
    fn the_replicates_asked_for_are_the_fewest() {
        let estimate = separate(&[1.0, 1.02, 0.99], &[1.1, 1.04, 1.06, 1.09]);
        let asked = estimate.replicates_for(0.02, 0.01, 1000).unwrap();
        assert_eq!(estimate.replicates_for(0.02, 0.01, asked), Some(asked));
        assert_eq!(estimate.replicates_for(0.02, 0.01, asked - 1), None);
        assert_eq!(estimate.replicates_for(0.0, 0.01, 1000), None);
        assert_eq!(estimate.clone().widened(0.03).replicates_for(0.02, 0.01, 1000), None);
    }
}
