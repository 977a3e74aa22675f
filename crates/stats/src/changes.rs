//! Drift inside a replicate: places in a series where the level changes and stays changed.

use crate::replicates::median;

/// The fewest figures in which a change is looked for.
const SHORTEST: usize = 32;

/// The fewest replicates that separate what the engine does at a place from what happened to one replicate there.
const FEWEST_REPLICATES: usize = 3;

/// A place in a replicate's series at which its level changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The replicate's index.
    pub replicate: usize,
    /// The index of the first figure of the new level.
    pub position: usize,
    /// The new level over the old one.
    pub ratio: f64,
}

impl Change {
    /// The chance, at most about this, of finding a change in a side in which no replicate changed.
    pub const LEVEL: f64 = 0.01;

    /// Whether the level changed by more than `threshold`, a share such as 0.05.
    pub fn exceeds(&self, threshold: f64) -> bool {
        (self.ratio - 1.0).abs() > threshold
    }
}

/// Finds the changes of level inside the replicates of one side, replicate after replicate, in order.
///
/// A change that all replicates share at the same place is the engine's: a cache that grows, a kernel that changes at a length.
/// So each replicate is divided by the median of all replicates, figure by figure. Fewer than three replicates, or fewer than 32
/// figures in a replicate, give no change.
///
/// The test is Wilcoxon's for a change point: the CUSUM of the ranks, so that an outlier counts as one figure (Pettitt,
/// Applied Statistics 28, 1979), over their long-run deviation, so that autocorrelation is not taken for a change (Dehling,
/// Fried and Wendler, "A robust method for shift detection in time series", Biometrika 107, 2020). Replicates share that
/// deviation's ratio to the plain one, their median: a replicate that changed does not hide its change. Where one is found,
/// both parts are searched in turn (binary segmentation: Vostrikova, Soviet Mathematics Doklady 24, 1981).
pub fn changes(replicates: &[&[f64]]) -> Vec<Change> {
    let length = replicates.iter().map(|series| series.len()).min().unwrap_or(0);
    if replicates.len() < FEWEST_REPLICATES || length < SHORTEST {
        return Vec::new();
    }
    let relative = relative(replicates, length);
    let ranks: Vec<_> = relative.iter().map(|series| centred_ranks(series)).collect();
    let mut inflations: Vec<_> = ranks.iter().map(|ranks| inflation(ranks)).collect();
    let inflation = median(&mut inflations).expect("three replicates");
    let test = Test { level: Change::LEVEL / replicates.len() as f64, inflation };
    let mut found = Vec::new();
    for (replicate, (series, ranks)) in relative.iter().zip(&ranks).enumerate() {
        test.search(series, ranks, 0, &mut |position, ratio| {
            found.push(Change { replicate, position, ratio });
        });
    }
    found
}

/// The replicates' first `length` figures over each replicate's median, then over the median of all replicates at the same place.
fn relative(replicates: &[&[f64]], length: usize) -> Vec<Vec<f64>> {
    let mut relative: Vec<Vec<f64>> = replicates.iter().map(|series| series[..length].to_vec()).collect();
    let mut scratch = Vec::with_capacity(length);
    for series in &mut relative {
        scratch.clone_from(series);
        let level = median(&mut scratch).expect("a replicate has figures");
        series.iter_mut().for_each(|figure| *figure /= level);
    }
    for place in 0..length {
        scratch.clear();
        scratch.extend(relative.iter().map(|series| series[place]));
        let usual = median(&mut scratch).expect("three replicates");
        relative.iter_mut().for_each(|series| series[place] /= usual);
    }
    relative
}

/// How a change is told from noise.
struct Test {
    /// The chance to find one in a series that has none.
    level: f64,
    /// The long-run variance over the plain one.
    inflation: f64,
}

impl Test {
    fn search(&self, series: &[f64], ranks: &[f64], start: usize, found: &mut impl FnMut(usize, f64)) {
        if series.len() < SHORTEST {
            return;
        }
        let (height, place) = peak(ranks);
        if kolmogorov(height / self.inflation.sqrt()) > self.level {
            return;
        }
        let (before, after) = series.split_at(place);
        let level = |part: &[f64]| median(&mut part.to_vec()).expect("a part has a figure");
        self.search(before, &centred_ranks(before), start, found);
        found(start + place, level(after) / level(before));
        self.search(after, &centred_ranks(after), start + place, found);
    }
}

/// The CUSUM's largest height in deviations of independent figures, and the length of the part before it.
fn peak(centred: &[f64]) -> (f64, usize) {
    let squares: f64 = centred.iter().map(|rank| rank * rank).sum();
    let mut sum = 0.0;
    let (mut height, mut place) = (0.0, 0);
    for (index, rank) in centred.iter().enumerate() {
        sum += rank;
        if f64::abs(sum) > height {
            (height, place) = (sum.abs(), index + 1);
        }
    }
    (if squares > 0.0 { height / squares.sqrt() } else { 0.0 }, place)
}

/// The probability that a Brownian bridge rises or falls beyond `height`: Kolmogorov's distribution, the limit of the
/// CUSUM's, which for few figures is on the safe side.
fn kolmogorov(height: f64) -> f64 {
    if height < 0.3 {
        return 1.0;
    }
    let terms = (1..=20).map(|k| {
        let k = f64::from(k);
        let sign = if k % 2.0 == 1.0 { 2.0 } else { -2.0 };
        sign * (-2.0 * k * k * height * height).exp()
    });
    terms.sum::<f64>().clamp(0.0, 1.0)
}

/// The long-run variance of a series around 0 over its plain one, at least 1: Geyer's initial positive sequence ("Practical
/// Markov chain Monte Carlo", Statistical Science 7, 1992), which sums autocorrelations, two by two, while they are
/// positive.
fn inflation(centred: &[f64]) -> f64 {
    let products = |lag: usize| centred.iter().zip(&centred[lag..]).map(|(a, b)| a * b).sum::<f64>();
    let squares = products(0);
    if squares == 0.0 {
        return 1.0;
    }
    let pairs = (0..centred.len() / 8).map(|pair| (products(2 * pair) + products(2 * pair + 1)) / squares);
    (2.0 * pairs.take_while(|pair| *pair > 0.0).sum::<f64>() - 1.0).max(1.0)
}

/// Each figure's rank less the mean rank; equal figures share the mean of theirs.
fn centred_ranks(series: &[f64]) -> Vec<f64> {
    let mut order: Vec<(f64, u32)> = series.iter().copied().zip(0..).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut ranks = vec![0.0; series.len()];
    let middle = (series.len() as f64 - 1.0) / 2.0;
    let mut first = 0;
    for equals in order.chunk_by(|a, b| a.0 == b.0) {
        let shared = first as f64 + (equals.len() - 1) as f64 / 2.0 - middle;
        for (_, index) in equals {
            ranks[*index as usize] = shared;
        }
        first += equals.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::simulate::{Rng, SimulatedNoise};

    const LENGTH: usize = 256;

    /// Ten replicates of one length, the fourth with a change of level by `ratio` at `position`.
    fn side(noise: SimulatedNoise, position: usize, ratio: f64) -> Vec<Vec<f64>> {
        let mut side = noise.side(&mut Rng::new(7), 0.02, 10, LENGTH);
        side[3].iter_mut().skip(position).for_each(|figure| *figure *= ratio);
        side
    }

    fn found(side: &[Vec<f64>]) -> Vec<Change> {
        changes(&side.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn a_change_is_found_where_it_is() {
        let noise = SimulatedNoise { outliers: 0.02, correlation: 0.3, ..SimulatedNoise::plain(0.02, 0.02) };
        let [change] = found(&side(noise, 160, 1.08))[..] else { panic!("one change") };
        assert_eq!(change.replicate, 3);
        assert!(change.position.abs_diff(160) <= 8, "at {}", change.position);
        assert!((change.ratio - 1.08).abs() < 0.015, "of {}", change.ratio);
        assert!(change.exceeds(0.05) && !change.exceeds(0.1));
    }

    #[test]
    fn two_changes_of_one_replicate_are_two() {
        let mut side = side(SimulatedNoise::plain(0.02, 0.01), 80, 1.1);
        side[3].iter_mut().skip(170).for_each(|figure| *figure *= 1.1);
        let places: Vec<_> = found(&side).iter().map(|change| change.position).collect();
        assert!(
            places.len() == 2 && places[0].abs_diff(80) <= 4 && places[1].abs_diff(170) <= 4,
            "{places:?}"
        );
    }

    #[test]
    fn a_change_without_noise_is_found_and_no_change_is_not() {
        assert_eq!(found(&side(SimulatedNoise::plain(0.0, 0.0), LENGTH, 1.0)), []);
        let [change] = found(&side(SimulatedNoise::plain(0.0, 0.0), 100, 1.5))[..] else {
            panic!("one change")
        };
        assert_eq!((change.replicate, change.position), (3, 100));
        assert!((change.ratio - 1.5).abs() < 1e-12);
    }

    #[test]
    fn what_every_replicate_does_is_not_drift() {
        let mut side = side(SimulatedNoise::plain(0.02, 0.02), LENGTH, 1.0);
        for series in &mut side {
            for (place, figure) in series.iter_mut().enumerate() {
                *figure *= (1.0 + place as f64 / 500.0) * if place < 128 { 1.0 } else { 1.3 };
            }
        }
        assert_eq!(found(&side), []);
    }

    #[test]
    fn too_little_to_tell() {
        let side = side(SimulatedNoise::plain(0.0, 0.0), 100, 1.5);
        assert_eq!(found(&side[2..4]), []);
        let short: Vec<_> = side.iter().map(|series| series[80..80 + SHORTEST - 1].to_vec()).collect();
        assert_eq!(found(&short), []);
        assert_eq!(found(&[]), []);
    }

    #[test]
    fn probabilities_match_kolmogorovs_table() {
        // Smirnov, Annals of Mathematical Statistics 19, 1948.
        for (height, expected) in [(0.5, 0.963_945), (1.0, 0.269_999_7), (1.36, 0.049_486), (2.0, 0.000_671)]
        {
            assert!((kolmogorov(height) - expected).abs() < 1e-6, "{height}: {}", kolmogorov(height));
        }
        assert_eq!(kolmogorov(0.0), 1.0);
    }

    #[test]
    fn autocorrelation_inflates_as_theory_says() {
        for correlation in [0.0, 0.5, 0.8_f64] {
            let noise = SimulatedNoise { correlation, ..SimulatedNoise::plain(0.0, 0.01) };
            let logs: Vec<_> =
                noise.figures(&mut Rng::new(3), 1.0, 0.0, 50_000).iter().map(|x| x.ln()).collect();
            let expected = (1.0 + correlation) / (1.0 - correlation);
            assert!((inflation(&logs) / expected - 1.0).abs() < 0.15, "{correlation}: {}", inflation(&logs));
        }
        assert_eq!(inflation(&[0.0; 50]), 1.0);
    }

    #[test]
    fn equal_figures_share_a_rank() {
        assert_eq!(centred_ranks(&[3.0, 1.0, 3.0, 2.0]), [1.0, -1.5, 1.0, -0.5]);
    }
}
