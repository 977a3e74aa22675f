//! What memory gave beside each replicate, as an explanation of how far pairs differ.

use std::collections::BTreeMap;

use crate::{Estimate, PooledVariance, Replicates, mean, student};

/// Pairs beyond one for each cell from which a slope is fitted.
const FEWEST_DEGREES: usize = 20;

/// The chance to see a slope where there is none.
const LEVEL: f64 = 0.01;

/// Estimates of cells by their pairs' log ratios, less what a covariate explains of them: an analysis of covariance with one slope
/// for all cells (Cox and McCullagh, "Some aspects of analysis of covariance", Biometrics 38, 1982).
///
/// `covariates` has of each cell the logarithm of candidate / baseline of the covariate, by the replicate's number. A slope that is
/// not there for sure, or that explains nothing, is not used; nor is one where a pair has no covariate. `None` where a cell has
/// fewer than two pairs.
pub fn paired_estimates(ratios: &[&Replicates], covariates: &[BTreeMap<u32, f64>]) -> Vec<Option<Estimate>> {
    let Some(slope) = Slope::new(ratios, covariates) else {
        let pool = PooledVariance::new(ratios);
        return ratios.iter().map(|cell| Estimate::paired(cell, &pool)).collect();
    };
    let explained = ratios.iter().zip(covariates).map(|(cell, of_cell)| {
        cell.without(|number| slope.value * of_cell.get(&number).copied().unwrap_or_default())
    });
    let rest: Vec<Replicates> = explained.collect();
    let pool = PooledVariance::new(&rest.iter().collect::<Vec<_>>());
    let estimates = rest.iter().zip(covariates).map(|(cell, of_cell)| {
        let centre = mean(
            &cell.by_number().filter_map(|(number, _)| of_cell.get(&number).copied()).collect::<Vec<_>>(),
        )?;
        Some(Estimate::paired(cell, &pool)?.with_error(slope.variance * centre * centre))
    });
    estimates.collect()
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Slope {
    value: f64,
    variance: f64,
}

impl Slope {
    /// By least squares within the cells; `None` where it is not used.
    fn new(ratios: &[&Replicates], covariates: &[BTreeMap<u32, f64>]) -> Option<Self> {
        let (mut xx, mut xy, mut yy, mut pairs) = (0.0, 0.0, 0.0, 0);
        for (cell, of_cell) in ratios.iter().zip(covariates) {
            let x: Vec<f64> =
                cell.by_number().map(|(number, _)| of_cell.get(&number).copied()).collect::<Option<_>>()?;
            let (centre, log_centre) = (mean(&x)?, cell.log_centre());
            for (x, log) in x.iter().zip(cell.logs()) {
                let (x, y) = (x - centre, log - log_centre);
                xx += x * x;
                xy += x * y;
                yy += y * y;
            }
            pairs += x.len();
        }
        let degrees =
            pairs.checked_sub(ratios.len() + 1).filter(|degrees| *degrees >= FEWEST_DEGREES)? as f64;
        let value = xy / xx;
        let variance = (yy - value * xy).max(0.0) / degrees / xx;
        let is_there =
            value.is_finite() && student::two_sided(value.abs() / variance.sqrt(), degrees) <= LEVEL;
        is_there.then_some(Self { value, variance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicates::tests::replicates;

    /// Ten pairs, of which `slope` times what memory gave is in the ratio, beside a noise of 0.001 or so.
    fn cell(change: f64, slope: f64, seed: usize) -> (Replicates, BTreeMap<u32, f64>) {
        let wave = |at: usize, step: usize| ((at * step + seed) % 7) as f64 / 7.0 - 0.5;
        let covariate: BTreeMap<u32, f64> = (0..10).map(|at| (at as u32, 0.2 * wave(at, 3) + 0.05)).collect();
        let logs = covariate.iter().map(|(at, x)| change + slope * x + 0.002 * wave(*at as usize, 5));
        (replicates(&logs.map(f64::exp).collect::<Vec<_>>()), covariate)
    }

    #[test]
    fn a_slope_that_is_there_is_taken_out_of_the_ratio_and_of_its_noise() {
        let cells: Vec<_> = (0..4).map(|seed| cell(0.1, -1.0, seed)).collect();
        let ratios: Vec<&Replicates> = cells.iter().map(|(cell, _)| cell).collect();
        let covariates: Vec<_> = cells.iter().map(|(_, covariate)| covariate.clone()).collect();
        let estimate = paired_estimates(&ratios, &covariates)[0].clone().unwrap();
        assert!((estimate.ratio() - 0.1_f64.exp()).abs() < 0.002, "{}", estimate.ratio());
        let bare = Estimate::paired(ratios[0], &PooledVariance::NONE).unwrap();
        assert!(estimate.half_width(0.05) < 0.1 * bare.half_width(0.05));
    }

    #[test]
    fn few_pairs_no_slope_and_a_pair_without_a_covariate_leave_all_as_it_is() {
        let same = |cells: &[(Replicates, BTreeMap<u32, f64>)]| {
            let ratios: Vec<&Replicates> = cells.iter().map(|(cell, _)| cell).collect();
            let covariates: Vec<_> = cells.iter().map(|(_, covariate)| covariate.clone()).collect();
            let none = vec![BTreeMap::new(); cells.len()];
            assert_eq!(paired_estimates(&ratios, &covariates), paired_estimates(&ratios, &none));
        };
        same(&[cell(0.1, -1.0, 0)]);
        same(&(0..4).map(|seed| cell(0.1, 0.0, seed)).collect::<Vec<_>>());
        let mut cells: Vec<_> = (0..4).map(|seed| cell(0.1, -1.0, seed)).collect();
        cells[2].1.remove(&3);
        same(&cells);
    }
}
