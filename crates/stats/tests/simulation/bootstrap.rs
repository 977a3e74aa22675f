//! The intervals that were not chosen, to measure the choice against.

use testing::simulate::Rng;

const RESAMPLES: usize = 400;

fn mean(series: &[f64]) -> f64 {
    series.iter().sum::<f64>() / series.len() as f64
}

fn variance(series: &[f64]) -> f64 {
    let centre = mean(series);
    series.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / (series.len() - 1) as f64
}

fn median(series: &[f64]) -> f64 {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

fn resample<T: Clone>(rng: &mut Rng, items: &[T]) -> Vec<T> {
    (0..items.len()).map(|_| items[rng.below(items.len())].clone()).collect()
}

fn log_medians(side: &[Vec<f64>]) -> Vec<f64> {
    side.iter().map(|launch| median(launch).ln()).collect()
}

fn middle_95(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let end = (0.025 * values.len() as f64) as usize;
    (values[end], values[values.len() - 1 - end])
}

/// Launches resampled, then figures within each, and the percentiles of `centre` of the launches' log medians (Davison and Hinkley,
/// Bootstrap Methods and their Application, §3.8).
pub(crate) fn hierarchical(rng: &mut Rng, sides: [&[Vec<f64>]; 2], centre: fn(&[f64]) -> f64) -> (f64, f64) {
    let mut of_side = |side: &[Vec<f64>]| {
        let launches: Vec<Vec<f64>> = (0..side.len())
            .map(|_| {
                let at = rng.below(side.len());
                resample(rng, &side[at])
            })
            .collect();
        centre(&log_medians(&launches))
    };
    middle_95((0..RESAMPLES).map(|_| of_side(sides[1]) - of_side(sides[0])).collect())
}

/// Of the medians over launches of the launches' medians, as [`hierarchical`].
pub(crate) fn hierarchical_median(rng: &mut Rng, sides: [&[Vec<f64>]; 2]) -> (f64, f64) {
    hierarchical(rng, sides, median)
}

/// As [`hierarchical`] of the means.
pub(crate) fn hierarchical_mean(rng: &mut Rng, sides: [&[Vec<f64>]; 2]) -> (f64, f64) {
    hierarchical(rng, sides, mean)
}

/// Launches resampled, and the percentiles of the studentised difference (Davison and Hinkley, §5.2).
pub(crate) fn studentised(rng: &mut Rng, sides: [&[Vec<f64>]; 2]) -> (f64, f64) {
    let logs = sides.map(log_medians);
    let error = |a: &[f64], b: &[f64]| (variance(a) / a.len() as f64 + variance(b) / b.len() as f64).sqrt();
    let difference = mean(&logs[1]) - mean(&logs[0]);
    let scores = (0..RESAMPLES).map(|_| {
        let (a, b) = (resample(rng, &logs[0]), resample(rng, &logs[1]));
        (mean(&b) - mean(&a) - difference) / error(&a, &b).max(1e-12)
    });
    let (low, high) = middle_95(scores.collect());
    let error = error(&logs[0], &logs[1]);
    (difference - high * error, difference - low * error)
}
