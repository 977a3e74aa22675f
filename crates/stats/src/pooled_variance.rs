//! Pools the variance between replicates over the cells of a metric.

use crate::special::{digamma, trigamma, trigamma_inverse};
use crate::{Replicates, mean};

/// A variance with the degrees of freedom that it is known by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Variance {
    pub(crate) value: f64,
    /// Those of the cell's own replicates.
    pub(crate) own_degrees: f64,
    /// Those that the other cells add.
    pub(crate) borrowed_degrees: f64,
}

impl Variance {
    pub(crate) fn degrees(&self) -> f64 {
        self.own_degrees + self.borrowed_degrees
    }
}

/// The distribution of the variances of a metric's cells, by which each cell's own is moderated: Smyth, "Linear models and
/// empirical Bayes methods for assessing differential expression in microarray experiments", Statistical Applications in
/// Genetics and Molecular Biology 3, 2004, as limma's `squeezeVar` does it.
///
/// Five replicates say little about a spread, eighteen cells of five say much. Where the cells' variances differ by no more than
/// chance, each becomes their mean; where they truly differ, each stays nearer to itself.
///
/// Cells that one worker measures can share their noise, and then eighteen say no more than one. So no cell borrows more
/// degrees than as many independent cells have, of which there are G/(1 + (G − 1)ρ²), ρ² being the mean squared correlation of
/// two cells' replicates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PooledVariance {
    value: f64,
    degrees: f64,
    /// The most degrees of freedom of a moderated variance.
    most: f64,
}

impl PooledVariance {
    /// The prior that leaves each cell to its own variance.
    pub const NONE: Self = Self { value: 0.0, degrees: 0.0, most: 0.0 };

    /// The distribution that `cells` were drawn from, of each the replicates or their ratios; those of a single replicate say
    /// nothing.
    pub fn new(cells: &[&Replicates]) -> Self {
        let known = cells.iter().filter_map(|cell| Some((cell.variance()?, (cell.count() - 1) as f64)));
        let known: Vec<(f64, f64)> = known.collect();
        let count = known.len() as f64;
        if known.len() < 2 {
            return Self::NONE;
        }
        let logs: Vec<f64> = known
            .iter()
            .map(|(variance, degrees)| variance.ln() - digamma(degrees / 2.0) + (degrees / 2.0).ln())
            .collect();
        let centre = mean(&logs).expect("two cells");
        let squares: f64 = logs.iter().map(|log| (log - centre).powi(2)).sum();
        let by_chance = known.iter().map(|(_, degrees)| trigamma(degrees / 2.0)).sum::<f64>() / count;
        let beyond_chance = squares / (count - 1.0) - by_chance;
        let all_degrees: f64 = known.iter().map(|(_, degrees)| degrees).sum();
        let most = all_degrees / count * independent(cells);
        if beyond_chance > 0.0 {
            let degrees = 2.0 * trigamma_inverse(beyond_chance);
            let value = (centre + digamma(degrees / 2.0) - (degrees / 2.0).ln()).exp();
            return Self { value, degrees, most };
        }
        let value = known.iter().map(|(variance, degrees)| variance * degrees).sum::<f64>() / all_degrees;
        Self { value, degrees: f64::INFINITY, most }
    }

    /// The most degrees of freedom of a variance of these cells.
    pub(crate) fn most(&self) -> f64 {
        self.most
    }

    /// A cell's variance, moderated; `None` of a single replicate.
    pub(crate) fn moderate(&self, cell: &Replicates) -> Option<Variance> {
        let (variance, own_degrees) = (cell.variance()?, (cell.count() - 1) as f64);
        let value = if self.degrees.is_infinite() {
            self.value
        } else {
            (self.degrees * self.value + own_degrees * variance) / (self.degrees + own_degrees)
        };
        let borrowed_degrees = self.degrees.min(self.most - own_degrees).max(0.0);
        Some(Variance { value, own_degrees, borrowed_degrees })
    }
}

/// The number of independent cells that would say as much about the variance as these do.
fn independent(cells: &[&Replicates]) -> f64 {
    let longest = cells.iter().map(|cell| cell.count()).max().unwrap_or(0);
    // Residuals of unit length; cells that lack a replicate do not line up with the others.
    let units = cells.iter().filter(|cell| cell.count() == longest).map(|cell| {
        let centre = cell.log_centre();
        let residuals: Vec<f64> = cell.logs().iter().map(|log| log - centre).collect();
        let length = residuals.iter().map(|residual| residual * residual).sum::<f64>().sqrt();
        residuals.into_iter().map(|residual| residual / length.max(f64::MIN_POSITIVE)).collect::<Vec<_>>()
    });
    let units: Vec<Vec<f64>> = units.collect();
    let count = units.len() as f64;
    if longest < 3 || units.len() < 2 {
        return 1.0;
    }
    // Σ over all pairs of cells of their squared correlation is the squared norm of UᵀU: cheaper than pair by pair.
    let product = |i: usize, j: usize| units.iter().map(|unit| unit[i] * unit[j]).sum::<f64>();
    let all: f64 = (0..longest).flat_map(|i| (0..longest).map(move |j| product(i, j).powi(2))).sum();
    let own: f64 =
        units.iter().map(|unit| unit.iter().map(|residual| residual * residual).sum::<f64>().powi(2)).sum();
    let squared = (all - own) / (count * (count - 1.0));
    let by_chance = 1.0 / (longest as f64 - 1.0);
    let shared = ((squared - by_chance) / (1.0 - by_chance)).clamp(0.0, 1.0);
    cells.len() as f64 / (1.0 + (cells.len() as f64 - 1.0) * shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicates::tests::replicates;

    fn pooled(cells: &[Replicates]) -> PooledVariance {
        PooledVariance::new(&cells.iter().collect::<Vec<_>>())
    }

    /// Five replicates whose logarithms have this deviation, in one of several orders.
    fn cell(deviation: f64, order: usize) -> Replicates {
        let unit = [-1.0, 1.0, -1.0, 1.0, 0.0];
        let logs: Vec<f64> = (0..5).map(|at| deviation * unit[(at + order * (order + 1) / 2) % 5]).collect();
        replicates(&logs.iter().map(|log| log.exp()).collect::<Vec<_>>())
    }

    #[test]
    fn the_prior_matches_limma() {
        // By hand with ψ and ψ' of the tables: variances 1, 4, 16 with 4 degrees each. ln s² − ψ(2) + ln 2 has the variance
        // 1.921812 (of 0, ln 4, ln 16), ψ'(2) = 0.644934: ψ'(d₀/2) is the difference, 1.276878.
        let cells = [1.0, 2.0, 4.0].map(|deviation| cell(deviation, 0));
        let pooled = pooled(&cells);
        assert!((trigamma(pooled.degrees / 2.0) - 1.276_878).abs() < 1e-5, "{pooled:?}");
        let centre = 4.0_f64.ln() - digamma(2.0) + 2.0_f64.ln();
        let expected = (centre + digamma(pooled.degrees / 2.0) - (pooled.degrees / 2.0).ln()).exp();
        assert!((pooled.value - expected).abs() < 1e-9, "{pooled:?} {expected}");
    }

    #[test]
    fn cells_that_differ_by_chance_have_one_variance_and_each_knows_it_by_all() {
        let cells: Vec<Replicates> = (0..5).map(|order| cell(0.02, order)).collect();
        let pooled = pooled(&cells);
        assert!(pooled.degrees.is_infinite());
        let variance = pooled.moderate(&cells[0]).unwrap();
        assert!((variance.value - 4e-4).abs() < 1e-12, "{variance:?}");
        assert!(variance.degrees() > 8.0 && variance.degrees() <= 20.0, "{variance:?}");
    }

    #[test]
    fn cells_that_share_their_noise_say_no_more_than_one() {
        let cells: Vec<Replicates> = (0..6).map(|_| cell(0.02, 0)).collect();
        let variance = pooled(&cells).moderate(&cells[0]).unwrap();
        assert!((variance.degrees() - 4.0).abs() < 1e-9, "{variance:?}");
    }

    #[test]
    fn one_cell_and_one_replicate_say_nothing_of_others() {
        assert_eq!(pooled(&[cell(0.02, 0)]), PooledVariance::NONE);
        assert_eq!(pooled(&[replicates(&[1.0]), cell(0.02, 0)]), PooledVariance::NONE);
        let alone = PooledVariance::NONE.moderate(&cell(0.02, 0)).unwrap();
        assert!((alone.value - 4e-4).abs() < 1e-12 && alone.degrees() == 4.0, "{alone:?}");
        assert_eq!(PooledVariance::NONE.moderate(&replicates(&[1.0])), None);
    }

    #[test]
    fn a_metric_without_noise_stays_without_it() {
        let cells: Vec<Replicates> = (0..4).map(|_| replicates(&[8e9; 5])).collect();
        assert!(pooled(&cells).moderate(&cells[0]).unwrap().value <= 1e-17);
    }
}
