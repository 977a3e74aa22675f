//! Drift from replicate to replicate.

use crate::{Replicates, mean, student};

/// The straight line through a side's replicates in the order in which they ran.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// The last replicate over the first, on the fitted line.
    pub ratio: f64,
    /// The two-sided p-value of no trend.
    pub p: f64,
}

impl Trend {
    /// The chance, at most, of reporting a drift in a side that did not drift.
    pub const LEVEL: f64 = 0.01;

    /// Fits one by least squares on the logarithms; p is Student's of the slope. `None` of fewer than four replicates: two
    /// leave nothing to judge a line by, three next to nothing.
    ///
    /// One cell shows only a strong drift, or needs many replicates. [`Replicates::geometric_mean`] of all cells' replicates
    /// shows a small one: noise averages out in it, and the machine's drift does not.
    pub fn fit(side: &Replicates) -> Option<Self> {
        let logs = side.logs();
        if logs.len() < 4 {
            return None;
        }
        let (count, centre) = (logs.len() as f64, side.log_centre());
        let middle = (count - 1.0) / 2.0;
        let places = || (0..logs.len()).map(|place| place as f64 - middle);
        let squares: f64 = places().map(|place| place * place).sum();
        let slope = places().zip(logs).map(|(place, log)| place * log).sum::<f64>() / squares;
        let residuals: Vec<_> =
            places().zip(logs).map(|(place, log)| (log - centre - slope * place).powi(2)).collect();
        let degrees = count - 2.0;
        let variance = (mean(&residuals)? * count / degrees).max(1e-18);
        let t = slope.abs() / (variance / squares).sqrt();
        Some(Self { ratio: (slope * (count - 1.0)).exp(), p: student::two_sided(t, degrees) })
    }

    /// Whether the side drifted: not by chance at [`Self::LEVEL`], and by more than `threshold`, a share such as 0.05.
    pub fn is_drift(&self, threshold: f64) -> bool {
        self.p <= Self::LEVEL && (self.ratio - 1.0).abs() > threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicates::tests::replicates;

    fn fit(medians: &[f64]) -> Option<Trend> {
        Trend::fit(&replicates(medians))
    }

    #[test]
    fn a_line_on_logarithms() {
        // By hand: slope 0.6/10, residual sum of squares 0.016, t = 0.06 / √(0.016/3/10) with 3 degrees of freedom.
        let trend = fit(&[0.0_f64, 0.1, 0.1, 0.3, 0.2].map(f64::exp)).unwrap();
        assert!((trend.ratio - 0.24_f64.exp()).abs() < 1e-12, "{trend:?}");
        assert!((trend.p - 0.080_509_573).abs() < 1e-9, "{trend:?}");
        assert!(!trend.is_drift(0.02));
    }

    #[test]
    fn a_drift_is_more_than_chance_and_more_than_the_threshold() {
        let trend = fit(&[1.0, 1.011, 1.019, 1.031, 1.04, 1.049]).unwrap();
        assert!(trend.is_drift(0.02) && !trend.is_drift(0.1), "{trend:?}");
        assert!(!fit(&[1.0; 6]).unwrap().is_drift(0.0));
        assert_eq!(fit(&[1.0, 1.1, 1.2]), None);
    }

    #[test]
    fn drift_that_two_interleaved_sides_share_is_not_in_their_ratio() {
        let drift = [1.0, 1.02, 1.04, 1.06, 1.08, 1.1];
        let noise = [0.002, -0.001, 0.001, -0.002, -0.001, 0.001];
        let candidate: Vec<_> =
            drift.iter().zip(noise).map(|(level, noise)| 3.0 * level * (1.0 + noise)).collect();
        let (baseline, candidate) = (replicates(&drift), replicates(&candidate));
        assert!([&baseline, &candidate].iter().all(|side| Trend::fit(side).unwrap().is_drift(0.05)));
        let shared = candidate.over(&baseline).unwrap();
        assert!(!Trend::fit(&shared).unwrap().is_drift(0.0), "{:?}", Trend::fit(&shared));
        assert!((shared.centre() - 3.0).abs() < 0.01);
        let own = candidate.over(&replicates(&[1.0, 0.999, 1.001, 1.0, 1.001, 0.999])).unwrap();
        assert!(Trend::fit(&own).unwrap().is_drift(0.05), "the candidate's alone stays");
    }
}
