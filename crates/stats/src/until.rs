//! Decides when a mean is known well enough to stop measuring, and how well it is known then.

use crate::student;

/// Repeat until the 95 % interval of the mean is narrow enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Until {
    /// The largest half width of the interval, as a share of the mean.
    pub share: f64,
    /// The fewest figures.
    pub least: usize,
    /// The most figures.
    pub most: usize,
}

impl Until {
    /// Whether to stop after `count` figures if the mean is known well enough by then: after the fewest, and then each time
    /// that the count has grown by a quarter. Looking after every figure would find the moments at which a series happens to
    /// look quieter than it is.
    pub fn is_look(&self, count: usize) -> bool {
        let mut look = self.least.max(1);
        while look < count {
            look += look.div_ceil(4);
        }
        look == count
    }

    /// Whether to stop after these series, which have the same length.
    pub fn is_reached(&self, series: &[&[f64]]) -> bool {
        let count = series.first().map_or(0, |series| series.len());
        let is_narrow = |series: &&[f64]| {
            MeanInterval::new(series).is_some_and(|interval| interval.relative() <= self.share)
        };
        count >= self.most || (self.is_look(count) && series.iter().all(is_narrow))
    }
}

/// A 95 % interval of the mean of figures that follow each other in time.
///
/// Latencies that follow each other are alike (clocks, temperature), and a handful of figures does not say by how much. So the
/// interval averages over AR(1) processes with a correlation ρ of 0, 0.05, … 0.95 from figure to figure, each weighted by its
/// likelihood with mean and variance integrated out, times 1/√(1−ρ). Few figures give a wide interval, which presumes
/// correlation; many show what there is. The likelihood is exact: Box, Jenkins and Reinsel, Time Series Analysis, 4th ed.,
/// appendix A7.4. The weights do not depend on when measuring stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanInterval {
    /// The arithmetic mean.
    pub mean: f64,
    /// Half of the interval's width.
    pub half_width: f64,
}

impl MeanInterval {
    /// The interval of a series; `None` for fewer than two figures.
    pub fn new(series: &[f64]) -> Option<Self> {
        let (first, last) = (series.first()?, series.last()?);
        if series.len() < 2 {
            return None;
        }
        let count = series.len() as f64;
        let mean = series.iter().sum::<f64>() / count;
        let squares: f64 = series.iter().map(|figure| (figure - mean).powi(2)).sum();
        if squares == 0.0 {
            return Some(Self { mean, half_width: 0.0 });
        }
        // All in units in which the squares add up to 1.
        let products: f64 = series.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        let (products, scale) = (products / squares, squares.sqrt());
        let (first, last) = ((first - mean) / scale, (last - mean) / scale);
        let processes = (0..20).map(|step| {
            let rho = f64::from(step) / 20.0;
            let fresh = 1.0 - rho;
            let information = fresh * (1.0 + rho + (count - 1.0) * fresh);
            // Where this process puts the mean, from the arithmetic mean on.
            let offset = rho * fresh * (first + last) / information;
            let rest = 1.0 + rho * rho
                - rho * rho * (first * first + last * last)
                - 2.0 * rho * products
                - information * offset * offset;
            let rest = rest.max(f64::MIN_POSITIVE);
            let ln_weight = 0.5 * ((1.0 + rho) / information).ln() - 0.5 * (count - 1.0) * rest.ln();
            (ln_weight, rest / ((count - 1.0) * information) + offset * offset)
        });
        let processes: Vec<(f64, f64)> = processes.collect();
        let largest = processes.iter().map(|(ln_weight, _)| *ln_weight).fold(f64::NEG_INFINITY, f64::max);
        let (mut weights, mut variances) = (0.0, 0.0);
        for (ln_weight, variance) in processes {
            let weight = (ln_weight - largest).exp();
            weights += weight;
            variances += weight * variance;
        }
        let deviation = scale * (variances / weights).sqrt();
        Some(Self { mean, half_width: student::quantile(0.05, count - 1.0) * deviation })
    }

    /// Half of the width as a share of the mean.
    pub fn relative(&self) -> f64 {
        self.half_width / self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(least: usize, most: usize) -> Until {
        Until { share: 0.005, least, most }
    }

    #[test]
    fn looks_are_a_quarter_apart() {
        let looks: Vec<usize> = (0..=100).filter(|count| until(5, 100).is_look(*count)).collect();
        assert_eq!(looks, [5, 7, 9, 12, 15, 19, 24, 30, 38, 48, 60, 75, 94]);
        let looks: Vec<usize> = (0..=10).filter(|count| until(2, 100).is_look(*count)).collect();
        assert_eq!(looks, [2, 3, 4, 5, 7, 9]);
    }

    #[test]
    fn figures_without_spread_are_known_and_one_figure_is_not() {
        assert_eq!(MeanInterval::new(&[2.0; 5]).unwrap(), MeanInterval { mean: 2.0, half_width: 0.0 });
        assert_eq!(MeanInterval::new(&[2.0]), None);
        assert!(!until(1, 5).is_reached(&[&[2.0]]));
        assert!(until(1, 1).is_reached(&[&[2.0]]));
        assert!(!until(2, 5).is_reached(&[&[f64::NAN, 1.0]]));
    }

    #[test]
    fn figures_that_climb_are_known_less_well_than_the_same_shuffled() {
        let climbing: Vec<f64> = (0..30).map(|step| 1.0 + 0.001 * f64::from(step)).collect();
        let shuffled: Vec<f64> = (0..30).map(|step| climbing[(step * 11) % 30]).collect();
        let [climbing, shuffled] = [&climbing, &shuffled].map(|series| MeanInterval::new(series).unwrap());
        assert!((climbing.mean - shuffled.mean).abs() < 1e-12);
        assert!(climbing.half_width > 1.5 * shuffled.half_width, "{climbing:?} {shuffled:?}");
    }

    proptest::proptest! {
        #[test]
        fn an_interval_is_as_wide_in_every_unit(
            series in proptest::collection::vec(1e-3f64..1e3, 2..60),
            unit in 1e-9f64..1e9,
        ) {
            let one = MeanInterval::new(&series).unwrap();
            let scaled: Vec<f64> = series.iter().map(|figure| figure * unit).collect();
            let other = MeanInterval::new(&scaled).unwrap();
            assert!((one.relative() - other.relative()).abs() <= 1e-6 * one.relative() + 1e-12);
            assert!(one.half_width.is_finite() && one.half_width >= 0.0);
        }
    }
}
