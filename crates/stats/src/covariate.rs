//! Explains differences between pairs by the memory speed that was measured beside each replicate.

use std::collections::BTreeMap;

use crate::{Estimate, PooledVariance, Replicates, mean, student};

/// The fewest replicates from which a slope is fitted.
const FEWEST: usize = 5;

/// The chance to see a slope where there is none.
const LEVEL: f64 = 0.01;

/// How the pairs' log ratios of a metric follow a covariate: an analysis of covariance with one slope for all cells (Cox and McCullagh,
/// "Some aspects of analysis of covariance", Biometrics 38, 1982).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Covariate {
    slope: f64,
    variance: f64,
    degrees: f64,
}

impl Covariate {
    /// Fits the slope by least squares within the cells. `covariates` has of each cell the logarithm of candidate / baseline of the
    /// covariate, by the replicate's number. `None` where it is not there for sure, of fewer than five replicates, or where a pair has
    /// no covariate.
    ///
    /// Cells of one replicate can share their noise, and so can their covariates: the slope's error takes each replicate for one
    /// observation; two degrees of freedom are the mean's and the slope's (Liang and Zeger, "Longitudinal data analysis using generalized linear
    /// models", Biometrika 73, 1986).
    pub fn new(ratios: &[&Replicates], covariates: &[BTreeMap<u32, f64>]) -> Option<Self> {
        let mut pairs = Vec::new();
        for (cell, of_cell) in ratios.iter().zip(covariates) {
            let x: Vec<f64> =
                cell.by_number().map(|(number, _)| of_cell.get(&number).copied()).collect::<Option<_>>()?;
            let (centre, log_centre) = (mean(&x)?, cell.log_centre());
            pairs.extend(
                cell.by_number().zip(x).map(|((number, log), x)| (number, x - centre, log - log_centre)),
            );
        }
        let xx: f64 = pairs.iter().map(|(_, x, _)| x * x).sum();
        let slope = pairs.iter().map(|(_, x, y)| x * y).sum::<f64>() / xx;
        let mut replicates: BTreeMap<u32, f64> = BTreeMap::new();
        for (number, x, y) in pairs {
            *replicates.entry(number).or_default() += x * (y - slope * x);
        }
        let count = replicates.len() as f64;
        let squares: f64 = replicates.values().map(|sum| sum * sum).sum();
        let degrees = count - 2.0;
        let variance = squares / (xx * xx) * count / degrees;
        let is_there = replicates.len() >= FEWEST
            && slope.is_finite()
            && student::two_sided(slope.abs() / variance.sqrt(), degrees) <= LEVEL;
        is_there.then_some(Self { slope, variance, degrees })
    }
}

/// Estimates of lines by their pairs' log ratios, of the cells or of the engines' means, less what a covariate explains of them. `None`
/// where a line has fewer than two pairs.
pub fn paired_estimates(
    ratios: &[&Replicates],
    covariates: &[BTreeMap<u32, f64>],
    covariate: Option<&Covariate>,
) -> Vec<Option<Estimate>> {
    let Some(covariate) = covariate else {
        let pool = PooledVariance::new(ratios);
        return ratios.iter().map(|line| Estimate::paired(line, &pool)).collect();
    };
    let explained = ratios.iter().zip(covariates).map(|(line, of_line)| {
        line.without(|number| covariate.slope * of_line.get(&number).copied().unwrap_or_default())
    });
    let rest: Vec<Replicates> = explained.collect();
    let pool = PooledVariance::new(&rest.iter().collect::<Vec<_>>());
    let estimates = rest.iter().zip(covariates).map(|(line, of_line)| {
        let centre: Vec<f64> =
            line.by_number().filter_map(|(number, _)| of_line.get(&number).copied()).collect();
        let error = covariate.variance * mean(&centre)?.powi(2);
        Some(Estimate::paired(line, &pool)?.with_fitted_slope(error, covariate.degrees))
    });
    estimates.collect()
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
        let covariate = Covariate::new(&ratios, &covariates).unwrap();
        let estimate = paired_estimates(&ratios, &covariates, Some(&covariate))[0].clone().unwrap();
        assert!((estimate.ratio() - 0.1_f64.exp()).abs() < 0.002, "{}", estimate.ratio());
        let bare = Estimate::paired(ratios[0], &PooledVariance::NONE).unwrap();
        assert!(estimate.half_width(0.05) < 0.1 * bare.half_width(0.05));
    }

    #[test]
    fn few_replicates_no_slope_and_a_pair_without_a_covariate_leave_all_as_it_is() {
        let fit = |cells: &[(Replicates, BTreeMap<u32, f64>)]| {
            let ratios: Vec<&Replicates> = cells.iter().map(|(cell, _)| cell).collect();
            let covariates: Vec<_> = cells.iter().map(|(_, covariate)| covariate.clone()).collect();
            Covariate::new(&ratios, &covariates)
        };
        assert!(fit(&(0..4).map(|seed| cell(0.1, -1.0, seed)).collect::<Vec<_>>()).is_some());
        assert_eq!(fit(&(0..4).map(|seed| cell(0.1, 0.0, seed)).collect::<Vec<_>>()), None);
        let first_four = |seed| {
            let (replicates, covariate) = cell(0.1, -1.0, seed);
            (Replicates::new((0..4).zip(replicates.figures())).unwrap(), covariate)
        };
        assert_eq!(fit(&(0..4).map(first_four).collect::<Vec<_>>()), None);
        let mut cells: Vec<_> = (0..4).map(|seed| cell(0.1, -1.0, seed)).collect();
        cells[2].1.remove(&3);
        assert_eq!(fit(&cells), None);
    }
}
