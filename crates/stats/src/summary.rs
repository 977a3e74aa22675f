//! What a series of figures looks like.

/// What a series of figures looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Figures in it.
    pub count: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (n − 1); 0 for a single figure.
    pub deviation: f64,
    /// The least.
    pub least: f64,
    /// The median.
    pub median: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub largest: f64,
}

impl Summary {
    /// Summarises a series; `None` where it is empty.
    pub fn from_series(series: &[f64]) -> Option<Self> {
        let mut sorted = series.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (least, largest) = (*sorted.first()?, *sorted.last()?);
        let mean = mean(series)?;
        let squares: f64 = series.iter().map(|figure| (figure - mean).powi(2)).sum();
        let deviation = if series.len() > 1 { (squares / (series.len() - 1) as f64).sqrt() } else { 0.0 };
        let [median, p90, p95, p99] = [0.5, 0.9, 0.95, 0.99].map(|q| quantile(&sorted, q));
        Some(Self { count: series.len(), mean, deviation, least, median, p90, p95, p99, largest })
    }

    /// The standard deviation as a share of the mean.
    pub fn variation(&self) -> f64 {
        self.deviation / self.mean
    }
}

/// The arithmetic mean; `None` of nothing.
pub fn mean(series: &[f64]) -> Option<f64> {
    (!series.is_empty()).then(|| series.iter().sum::<f64>() / series.len() as f64)
}

/// The quantile `q` of a sorted, non-empty series: linear between its figures (type 7 of Hyndman and Fan, "Sample
/// Quantiles in Statistical Packages", The American Statistician 50, 1996).
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_series() {
        // R: x <- c(4, 1, 3, 2, 10); mean(x); sd(x); quantile(x, c(.5, .9, .95, .99))
        let summary = Summary::from_series(&[4.0, 1.0, 3.0, 2.0, 10.0]).unwrap();
        assert_eq!((summary.count, summary.mean, summary.median), (5, 4.0, 3.0));
        assert!((summary.deviation - 3.535_533_906).abs() < 1e-9);
        for (found, expected) in [(summary.p90, 7.6), (summary.p95, 8.8), (summary.p99, 9.76)] {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!((summary.least, summary.largest), (1.0, 10.0));
    }

    #[test]
    fn one_figure_and_none() {
        let summary = Summary::from_series(&[2.5]).unwrap();
        assert_eq!((summary.mean, summary.median, summary.deviation), (2.5, 2.5, 0.0));
        assert_eq!(Summary::from_series(&[]), None);
    }

    proptest::proptest! {
        #[test]
        fn quantiles_lie_in_order(series in proptest::collection::vec(1e-6f64..1e6, 1..50)) {
            let s = Summary::from_series(&series).unwrap();
            let rising = [s.least, s.median, s.p90, s.p95, s.p99, s.largest];
            assert!(rising.is_sorted(), "{rising:?}");
            assert!(s.least <= s.mean * (1.0 + 1e-12) && s.mean <= s.largest * (1.0 + 1e-12));
        }
    }
}
