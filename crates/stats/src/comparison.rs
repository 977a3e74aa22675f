//! One cell, one metric, two sides: the ratio and what the launches say of its noise.

use crate::student;
use crate::{Launches, Side};

/// What a comparison rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Basis {
    /// Two launches a side or more: the noise is known.
    Launches(Estimate),
    /// Both sides were measured, one of them in a single launch: the noise is not known.
    TooFew,
    /// A side is a figure without a spread: there is no noise to know, and the threshold alone decides.
    Figure,
}

/// A candidate against its baseline in one metric of which less is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The candidate's centre over the baseline's.
    pub ratio: f64,
    /// What it rests on.
    pub basis: Basis,
}

impl Comparison {
    /// Compares two sides, both in one unit.
    pub fn of(baseline: &Side, candidate: &Side) -> Self {
        let basis = match (baseline, candidate) {
            (Side::Launches(baseline), Side::Launches(candidate)) => {
                Estimate::of(baseline, candidate).map_or(Basis::TooFew, Basis::Launches)
            }
            _ => Basis::Figure,
        };
        Self { ratio: candidate.centre() / baseline.centre(), basis }
    }

    /// Like [`Comparison::of`], of sides whose launches are pairs, each measured one after the other: what both launches of a pair
    /// have in common is in neither the ratio nor its noise. As many launches as pairs, or they are none.
    pub fn paired(baseline: &Side, candidate: &Side) -> Self {
        let ratios = match (baseline, candidate) {
            (Side::Launches(baseline), Side::Launches(candidate)) => candidate.over(baseline),
            _ => None,
        };
        match ratios.as_ref().and_then(Estimate::of_pairs) {
            Some(estimate) => Self { ratio: estimate.log_ratio.exp(), basis: Basis::Launches(estimate) },
            None => Self::of(baseline, candidate),
        }
    }

    /// The estimate, where the noise is known.
    pub fn estimate(&self) -> Option<&Estimate> {
        match &self.basis {
            Basis::Launches(estimate) => Some(estimate),
            Basis::TooFew | Basis::Figure => None,
        }
    }

    /// The ratio's 95 % interval, where the noise is known.
    pub fn interval(&self) -> Option<Interval> {
        self.estimate().map(|estimate| estimate.interval(0.05))
    }

    /// The two-sided p-value of no difference, where the noise is known: under 0.05 where the interval leaves 1 out.
    pub fn p(&self) -> Option<f64> {
        self.estimate().map(Estimate::p)
    }
}

/// An interval of a figure or a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The logarithm of a ratio, with its noise.
///
/// Welch's t on the logarithms of the launch medians: Welch, "The generalization of 'Student's' problem when several
/// different population variances are involved", Biometrika 34, 1947. The logarithm turns the ratio into a difference and
/// multiplicative noise into an additive one, of which the two sides' skewness cancels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// ln(candidate / baseline).
    log_ratio: f64,
    /// Sample variances of the launches' logarithms.
    variances: [f64; 2],
    /// Launches a side.
    counts: [f64; 2],
}

impl Estimate {
    fn of(baseline: &Launches, candidate: &Launches) -> Option<Self> {
        Some(Self {
            log_ratio: candidate.log_centre() - baseline.log_centre(),
            variances: [baseline.variance()?, candidate.variance()?],
            counts: [baseline.count() as f64, candidate.count() as f64],
        })
    }

    /// Student's *t* of the pairs' logarithms, which is Welch's where one side has no variance.
    fn of_pairs(ratios: &Launches) -> Option<Self> {
        let count = ratios.count() as f64;
        Some(Self {
            log_ratio: ratios.log_centre(),
            variances: [ratios.variance()?, 0.0],
            counts: [count, count],
        })
    }

    /// The fewest launches that a side has.
    pub(crate) fn launches(&self) -> usize {
        self.counts[0].min(self.counts[1]) as usize
    }

    pub(crate) fn log_ratio(&self) -> f64 {
        self.log_ratio
    }

    /// The ratio's interval that misses with probability `level`.
    pub fn interval(&self, level: f64) -> Interval {
        let half_width = self.half_width(level);
        Interval { low: (self.log_ratio - half_width).exp(), high: (self.log_ratio + half_width).exp() }
    }

    /// The two-sided p-value of no difference: the level at which the interval's end is 1.
    pub fn p(&self) -> f64 {
        student::two_sided(self.log_ratio.abs() / self.error(), self.degrees())
    }

    /// The fewest launches a side, of the same spread, that make half an interval at `level` at most `width` wide in
    /// logarithms; `None` where that is more than `most`.
    pub(crate) fn launches_for(&self, width: f64, level: f64, most: usize) -> Option<usize> {
        let enough =
            |launches: &usize| Self { counts: [*launches as f64; 2], ..*self }.half_width(level) <= width;
        // Fewer than with the most degrees of freedom that there can be will not do.
        let known = self.variances.iter().sum::<f64>()
            * (student::quantile(level, 2.0 * most as f64) / width).powi(2);
        (2.max(known as usize)..=most).find(enough)
    }

    fn half_width(&self, level: f64) -> f64 {
        student::quantile(level, self.degrees()) * self.error()
    }

    fn error(&self) -> f64 {
        self.shares().iter().sum::<f64>().sqrt()
    }

    /// Welch and Satterthwaite's degrees of freedom.
    fn degrees(&self) -> f64 {
        let shares = self.shares();
        let of_each = shares.iter().zip(self.counts).map(|(share, count)| share * share / (count - 1.0));
        shares.iter().sum::<f64>().powi(2) / of_each.sum::<f64>()
    }

    /// Each side's share in the variance of the logarithm.
    fn shares(&self) -> [f64; 2] {
        [self.variances[0] / self.counts[0], self.variances[1] / self.counts[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(medians: &[f64]) -> Side {
        Side::Launches(Launches::of(medians.chunks(1)).unwrap())
    }

    #[test]
    fn welch_on_logarithms() {
        // By hand: logs 0, 1, 2 and 1, 2, 3, 4. Means 1 and 2.5; variances 1 and 5/3; shares 1/3 and 5/12, √(3/4) their sum's
        // root; degrees (3/4)² / ((1/3)²/2 + (5/12)²/3) = 4.959184.
        let e = std::f64::consts::E;
        let comparison =
            Comparison::of(&side(&[1.0, e, e * e]), &side(&[e, e.powi(2), e.powi(3), e.powi(4)]));
        assert!((comparison.ratio - 1.5_f64.exp()).abs() < 1e-12);
        let estimate = comparison.estimate().unwrap();
        assert!((estimate.error() - 0.75_f64.sqrt()).abs() < 1e-12);
        assert!((estimate.degrees() - 0.5625 / (1.0 / 18.0 + 25.0 / 432.0)).abs() < 1e-12);
        // mpmath: betainc(nu/2, 1/2, 0, nu/(nu + t*t), regularized=True) at t = 1.5 / √0.75.
        assert!((comparison.p().unwrap() - 0.144_293_043).abs() < 1e-9, "{:?}", comparison.p());
    }

    #[test]
    fn student_on_pairs() {
        // By hand: logs of the ratios 0.1, 0.2, 0.3; mean 0.2, deviation 0.1; what both share is large, and cancels.
        let baseline = side(&[1.0, 20.0, 400.0]);
        let candidate = side(&[0.1_f64.exp(), 20.0 * 0.2_f64.exp(), 400.0 * 0.3_f64.exp()]);
        let comparison = Comparison::paired(&baseline, &candidate);
        assert!((comparison.ratio - 0.2_f64.exp()).abs() < 1e-12);
        let estimate = comparison.estimate().unwrap();
        assert!((estimate.error() - 0.1 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert!((estimate.degrees() - 2.0).abs() < 1e-12);
        // t = 2√3 with 2 degrees: p = 1 - t/√(2 + t²).
        let t = 12.0_f64.sqrt();
        assert!((comparison.p().unwrap() - (1.0 - t / (2.0 + t * t).sqrt())).abs() < 1e-9);

        let longer = side(&[1.0, 1.1, 1.2, 1.3]);
        assert_eq!(
            Comparison::paired(&baseline, &longer),
            Comparison::of(&baseline, &longer),
            "these are no pairs"
        );
    }

    #[test]
    fn the_interval_ends_at_1_where_its_level_is_p() {
        let comparison = Comparison::of(&side(&[1.0, 1.02, 0.99]), &side(&[1.1, 1.04, 1.06, 1.09]));
        let interval = comparison.estimate().unwrap().interval(comparison.p().unwrap());
        assert!((interval.low - 1.0).abs() < 1e-9, "{interval:?}");
        assert!((interval.low * interval.high).sqrt() - comparison.ratio < 1e-9);
    }

    #[test]
    fn turned_round_everything_is() {
        let (a, b) = (side(&[1.0, 1.02, 0.99]), side(&[1.1, 1.04, 1.06, 1.09]));
        let (there, back) = (Comparison::of(&a, &b), Comparison::of(&b, &a));
        assert!((there.ratio * back.ratio - 1.0).abs() < 1e-12);
        assert_eq!(there.p(), back.p());
        assert!((there.interval().unwrap().low * back.interval().unwrap().high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_noise_equal_is_equal_and_different_different() {
        let (a, b) = (side(&[3.0; 5]), side(&[3.3; 4]));
        assert!(Comparison::of(&a, &a).p().unwrap() > 0.999);
        assert!(
            Comparison::of(&a, &side(&[3.0; 7])).p().unwrap() > 0.999,
            "sums of other lengths round otherwise"
        );
        assert!(Comparison::of(&a, &b).p().unwrap() < 1e-12);
        let interval = Comparison::of(&a, &b).interval().unwrap();
        assert!((interval.high - interval.low) < 1e-7);
    }

    #[test]
    fn what_there_is_no_noise_to_know_of() {
        let (measured, once, published) = (side(&[1.0, 1.1]), side(&[1.2]), Side::Figure(1.3));
        assert_eq!(Comparison::of(&measured, &once).basis, Basis::TooFew);
        assert_eq!(Comparison::of(&published, &measured).basis, Basis::Figure);
        assert_eq!(Comparison::of(&once, &published).basis, Basis::Figure);
        assert_eq!(Comparison::of(&measured, &once).interval(), None);
        assert_eq!(Comparison::of(&once, &published).p(), None);
    }

    #[test]
    fn the_launches_asked_for_are_the_fewest() {
        let comparison = Comparison::of(&side(&[1.0, 1.02, 0.99]), &side(&[1.1, 1.04, 1.06, 1.09]));
        let estimate = comparison.estimate().unwrap();
        let width = |launches: usize| Estimate { counts: [launches as f64; 2], ..*estimate }.half_width(0.01);
        let asked = estimate.launches_for(0.02, 0.01, 1000).unwrap();
        assert!(width(asked) <= 0.02 && width(asked - 1) > 0.02, "{asked}");
        assert_eq!(estimate.launches_for(0.02, 0.01, asked - 1), None);
        assert_eq!(estimate.launches_for(0.0, 0.01, 1000), None);
    }
}
