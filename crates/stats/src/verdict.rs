//! From the comparisons of a whole grid to a verdict each.

use crate::{Basis, Comparison, Estimate};

/// The chance that a grid in which nothing changed gets any verdict of change: 1 % for `regressed`, 1 % for `improved`.
pub const FAMILY_LEVEL: f64 = 0.02;

/// The fewest launches a side from which a change is called, and the number asked for where the noise is not known.
///
/// Launches that are fast or slow by the luck of a memory layout (Mytkowicz et al., "Producing Wrong Data Without Doing
/// Anything Obviously Wrong!", ASPLOS 2009) can all be lucky on one side and all unlucky on the other, without any spread:
/// with even odds that happens to one comparison in 32 of three launches a side, to one in 512 of five, to one in 8,192 of
/// seven.
pub const FEWEST: usize = 5;

/// More launches than this are not asked for.
const MOST: usize = 1000;

/// What became of a metric of which less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It fell by more than the threshold, beyond the noise.
    Improved,
    /// It rose by more than the threshold, beyond the noise.
    Regressed,
    /// It neither rose nor fell by the threshold: the whole interval says so.
    Unchanged,
    /// The launches do not say.
    Inconclusive,
}

/// A comparison's verdict within its grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The p-value adjusted for the whole grid by [`holm`], where the noise is known.
    pub adjusted_p: Option<f64>,
    /// Of an inconclusive one: launches a side that would do. `None` where no number up to a thousand would: the ratio is
    /// at the threshold itself, or the threshold is 0.
    pub launches: Option<usize>,
}

/// Judges a whole grid, all cells and metrics: each comparison with its threshold, a share such as 0.05.
///
/// - `regressed`: *beyond the noise*, that is the whole interval lies above 1, at the level that [`holm`] leaves this
///   comparison (adjusted p ≤ [`FAMILY_LEVEL`]; the 95 % interval then lies above 1 as well); *and beyond the threshold*,
///   that is the ratio is above 1 + threshold; from [`FEWEST`] launches a side or more. `improved` likewise below 1 and 1 −
///   threshold.
/// - `unchanged`: the whole 95 % interval lies between 1 − threshold and 1 + threshold. A difference beyond the noise may
///   be: it is then smaller than what was asked for. (Two one-sided tests: Schuirmann, J. Pharmacokinetics and
///   Biopharmaceutics 15, 1987.)
/// - `inconclusive`: neither, and the launches a side that would do. With as many, a difference of the threshold's size is
///   beyond the noise, and the interval of no difference fits within half the threshold, provided that the spread stays as
///   it is. Where there are as many already, the ratio is near the threshold: as many as place the interval on one side of
///   it.
/// - A side without a spread: the ratio and the threshold alone decide, and nothing is inconclusive.
pub fn judge(grid: &[(Comparison, f64)]) -> Vec<Judgement> {
    let p_values: Vec<_> = grid.iter().filter_map(|(comparison, _)| comparison.p()).collect();
    let strictest = FAMILY_LEVEL / p_values.len().max(1) as f64;
    let mut adjusted = holm(&p_values).into_iter();
    let judgements = grid.iter().map(|(comparison, threshold)| {
        let adjusted_p = comparison.p().and_then(|_| adjusted.next());
        let verdict = verdict(comparison, *threshold, adjusted_p);
        let launches = match (verdict, comparison.estimate()) {
            (Verdict::Inconclusive, Some(estimate)) => enough(estimate, *threshold, strictest),
            (Verdict::Inconclusive, None) => Some(FEWEST),
            _ => None,
        };
        Judgement { verdict, adjusted_p, launches }
    });
    judgements.collect()
}

fn verdict(comparison: &Comparison, threshold: f64, adjusted_p: Option<f64>) -> Verdict {
    let (fell, rose) = (comparison.ratio < 1.0 - threshold, comparison.ratio > 1.0 + threshold);
    let (beyond_noise, within) = match comparison.basis {
        Basis::Figure => (true, !fell && !rose),
        Basis::TooFew => (false, false),
        Basis::Launches(estimate) => {
            let interval = estimate.interval(0.05);
            (
                adjusted_p.is_some_and(|p| p <= FAMILY_LEVEL) && estimate.launches() >= FEWEST,
                interval.low >= 1.0 - threshold && interval.high <= 1.0 + threshold,
            )
        }
    };
    match (beyond_noise, within) {
        (_, true) => Verdict::Unchanged,
        (true, _) if fell => Verdict::Improved,
        (true, _) if rose => Verdict::Regressed,
        _ => Verdict::Inconclusive,
    }
}

/// The launches a side that would decide an inconclusive comparison: [`judge`] says in what sense.
fn enough(estimate: &Estimate, threshold: f64, strictest: f64) -> Option<usize> {
    let edge = threshold.ln_1p();
    let noticed = estimate.launches_for(edge, strictest, MOST)?;
    let excluded = estimate.launches_for(edge / 2.0, 0.05, MOST)?;
    let planned = noticed.max(excluded).max(FEWEST);
    if planned > estimate.launches() {
        return Some(planned);
    }
    let size = estimate.log_ratio().abs();
    let (width, level) = if size > edge { (size, strictest) } else { (edge - size, 0.05) };
    estimate.launches_for(width, level, MOST)
}

/// Holm's adjusted p-values: with all of them at most α called, the chance of any false one is at most α, whatever depends
/// on whatever and whichever cells did change (Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
/// Journal of Statistics 6, 1979).
///
/// Not Benjamini and Hochberg's: they bound the *share* of false alarms among the alarms. Where one engine did slow down, a
/// twentieth of a long list of regressions may then be cells of another that did not change, and each is a person's
/// afternoon.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        let still_open = (p_values.len() - rank) as f64;
        largest = largest.max(p_values[index] * still_open).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Launches, Side};

    fn side(medians: &[f64]) -> Side {
        Side::Launches(Launches::of(medians.chunks(1)).unwrap())
    }

    /// Launches around `level`, the farthest `spread` away.
    fn around(level: f64, spread: f64, launches: usize) -> Side {
        let place = |launch: usize| 2.0 * launch as f64 / (launches - 1) as f64 - 1.0;
        side(&(0..launches).map(|launch| level * (1.0 + spread * place(launch))).collect::<Vec<_>>())
    }

    fn alone(baseline: &Side, candidate: &Side, threshold: f64) -> Judgement {
        judge(&[(Comparison::of(baseline, candidate), threshold)])[0]
    }

    #[test]
    fn a_change_clears_the_noise_and_the_threshold() {
        let quiet = around(1.0, 0.01, 6);
        let verdict = |level, threshold| alone(&quiet, &around(level, 0.01, 6), threshold).verdict;
        assert_eq!(verdict(1.10, 0.05), Verdict::Regressed);
        assert_eq!(verdict(0.90, 0.05), Verdict::Improved);
        assert_eq!(verdict(1.00, 0.05), Verdict::Unchanged);
        assert_eq!(verdict(1.03, 0.05), Verdict::Unchanged, "beyond the noise, within the threshold");
        assert_eq!(verdict(1.048, 0.05), Verdict::Inconclusive, "the interval reaches over the threshold");
        assert_eq!(
            verdict(1.055, 0.05),
            Verdict::Regressed,
            "its ratio is beyond, though its interval reaches back"
        );
        let loud = alone(&around(1.0, 0.2, 6), &around(1.1, 0.2, 6), 0.05);
        assert_eq!(loud.verdict, Verdict::Inconclusive, "within the noise");
        assert!(loud.launches.unwrap() > 6);
    }

    #[test]
    fn without_noise_the_ratio_decides() {
        let constant = side(&[8e9; 5]);
        assert_eq!(alone(&constant, &constant, 0.05).verdict, Verdict::Unchanged);
        assert_eq!(alone(&constant, &side(&[8.8e9; 5]), 0.05).verdict, Verdict::Regressed);
        assert_eq!(alone(&constant, &side(&[8.1e9; 5]), 0.05).verdict, Verdict::Unchanged);
    }

    #[test]
    fn four_launches_may_show_no_change_but_not_a_change() {
        let of_four = |level| alone(&around(1.0, 0.001, 4), &around(level, 0.001, 5), 0.05);
        assert_eq!(of_four(1.0).verdict, Verdict::Unchanged);
        assert_eq!((of_four(2.0).verdict, of_four(2.0).launches), (Verdict::Inconclusive, Some(FEWEST)));
    }

    #[test]
    fn a_lone_figure_leaves_the_threshold_to_decide() {
        let published = Side::Figure(1.0);
        for (level, verdict) in
            [(1.06, Verdict::Regressed), (0.94, Verdict::Improved), (1.04, Verdict::Unchanged)]
        {
            let judgement = alone(&published, &around(level, 0.02, 5), 0.05);
            assert_eq!(judgement, Judgement { verdict, adjusted_p: None, launches: None });
        }
    }

    #[test]
    fn a_single_launch_is_no_evidence() {
        let judgement = alone(&side(&[1.0]), &side(&[2.0]), 0.05);
        assert_eq!(
            judgement,
            Judgement { verdict: Verdict::Inconclusive, adjusted_p: None, launches: Some(FEWEST) }
        );
    }

    #[test]
    fn the_grid_raises_the_bar() {
        let changed = (Comparison::of(&around(1.0, 0.02, 5), &around(1.06, 0.02, 5)), 0.02);
        let same = (Comparison::of(&around(1.0, 0.02, 5), &around(1.0, 0.02, 5)), 0.02);
        assert_eq!(judge(&[changed])[0].verdict, Verdict::Regressed);
        let mut grid = vec![same; 400];
        grid[7] = changed;
        assert_eq!(judge(&grid)[7].verdict, Verdict::Inconclusive);
        assert!(judge(&grid)[7].launches > Some(5));
        let published = (Comparison::of(&Side::Figure(1.0), &Side::Figure(1.0)), 0.02);
        grid.splice(.., std::iter::once(changed).chain(std::iter::repeat_n(published, 400)));
        assert_eq!(judge(&grid)[0].verdict, Verdict::Regressed, "figures without a p are no tests");
    }

    #[test]
    fn near_the_threshold_the_distance_to_it_decides_how_many() {
        let judgement = alone(&around(1.0, 0.01, 20), &around(1.047, 0.01, 20), 0.05);
        assert_eq!(judgement.verdict, Verdict::Inconclusive);
        assert!((20..=200).contains(&judgement.launches.unwrap()), "{judgement:?}");
        assert_eq!(alone(&around(1.0, 0.01, 20), &around(1.0499, 0.01, 20), 0.05).launches, None);
        assert_eq!(alone(&around(1.0, 0.01, 5), &around(1.0, 0.01, 5), 0.0).launches, None);
    }

    #[test]
    fn holm_by_hand() {
        // 0.005 · 4, 0.01 · 3, 0.03 · 2, and 0.04 no less than the one before it.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (value, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((value - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn more_launches_of_the_same_spread_never_forget_a_change(
            level in 0.5f64..2.0, spread in 0.001f64..0.2, launches in 3usize..12, threshold in 0.0f64..0.2,
        ) {
            let judgement = |launches| alone(&around(1.0, spread, launches), &around(level, spread, launches), threshold);
            let (few, many) = (judgement(launches), judgement(40 * launches));
            proptest::prop_assert!(few.adjusted_p.unwrap() >= many.adjusted_p.unwrap());
            if matches!(few.verdict, Verdict::Improved | Verdict::Regressed) {
                proptest::prop_assert!(matches!(many.verdict, Verdict::Improved | Verdict::Regressed | Verdict::Unchanged));
            }
        }
    }
}
