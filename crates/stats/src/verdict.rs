//! Turns the estimates of a whole comparison into a verdict for each.

use crate::Estimate;

/// The chance that a comparison in which nothing changed gets any verdict of change: 1 % for `regressed`, 1 % for `improved`.
pub const FAMILY_LEVEL: f64 = 0.02;

/// The share of that chance that engines' means get; the rest is the cells'.
const ENGINES_SHARE: f64 = 0.25;

/// The fewest replicates a side from which a change is called, and the number asked for where the noise is not known.
///
/// Processes that are fast or slow by the luck of a memory layout (Mytkowicz et al., "Producing Wrong Data Without Doing
/// Anything Obviously Wrong!", ASPLOS 2009) can all be lucky on one side and all unlucky on the other, without any spread:
/// with even odds that happens to one comparison in 32 of three replicates a side, to one in 512 of five, to one in 8,192 of
/// seven.
pub const FEWEST: usize = 5;

/// The most replicates that are recommended.
const MOST: usize = 1000;

/// The verdict on a metric of which less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It fell by more than the threshold.
    Improved,
    /// It rose by more than the threshold.
    Regressed,
    /// It neither rose nor fell by the threshold.
    Unchanged,
    /// A change as far as these replicates go, but what separate runs differ by without one is not known.
    Provisional,
    /// The replicates do not say.
    Inconclusive,
}

impl Verdict {
    /// Improved or regressed.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Improved | Self::Regressed)
    }
}

/// One metric of a cell, or of an engine's mean over cells, to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The estimate from the replicates' means; `None` where a single replicate does not say how far they differ.
    pub mean: Option<Estimate>,
    /// The estimate from their medians; `None` where a replicate has one sample, which is both.
    pub median: Option<Estimate>,
    /// The minimum effect, a share such as 0.05.
    pub threshold: f64,
    /// It is of an engine's mean.
    pub is_engine: bool,
}

/// A line's verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// The line's verdict.
    pub verdict: Verdict,
    /// That of the mean by itself.
    pub mean: Verdict,
    /// The verdict on the median alone, where it was tested.
    pub median: Option<Verdict>,
    /// The median decided.
    pub is_by_median: bool,
    /// The p-value of no difference, adjusted for its family, of the statistic that decided; `None` where the noise is not known.
    pub adjusted_p: Option<f64>,
    /// Replicates per side that an inconclusive one needs for a verdict. `None` where no number up to a thousand would do.
    pub replicates_needed: Option<usize>,
    /// It is inconclusive because its interval has a margin: without one it would be regressed.
    pub is_hidden_regression: bool,
}

/// Judges a whole comparison: `lines`, and beside them other tests of cells by their p-values, which are returned adjusted.
///
/// - `regressed`: the 95 % interval lies above 1 + threshold; *and* the ratio differs from 1 at a level that bounds the chance of
///   any false alarm in the whole comparison (adjusted p ≤ [`FAMILY_LEVEL`]); from [`FEWEST`] replicates a side. `improved`
///   likewise below 1 − threshold.
/// - `unchanged`: the 90 % interval lies between 1 − threshold and 1 + threshold: two one-sided tests at 5 % (Schuirmann, J.
///   Pharmacokinetics and Biopharmaceutics 15, 1987).
/// - `inconclusive`: neither. [`Judgement::replicates_needed`] says how many would make the 90 % interval of no difference half as
///   wide as the threshold's zone; where there are as many already, how many place the interval on one side of the threshold.
///
/// A line is tested in its mean, which is what tables print, and in its median. It is regressed where either is; otherwise improved
/// where either is; otherwise what its mean is.
///
/// The tests are two families, engines and cells: Holm's procedure within each, engines at a quarter of the level and cells at the rest where
/// there are both. An engine's mean is then tested among a few means, not among all cells.
///
/// Figures without noise have no p: their interval, which is the rounding's, and the threshold decide.
///
/// `share` is the part of the level that this comparison may use: 1, or less where it is one of several that measure the same.
pub fn judge(lines: &[Line], others: &[f64], share: f64) -> (Vec<Judgement>, Vec<f64>) {
    let families = [Family::new(lines, &[], true), Family::new(lines, others, false)];
    let are_both = families.iter().all(|family| !family.adjusted.is_empty());
    let shares = if are_both { [ENGINES_SHARE, 1.0 - ENGINES_SHARE] } else { [1.0; 2] };
    let [mut engines, mut cells] =
        [(&families[0], shares[0]), (&families[1], shares[1])].map(|(family, of_family)| {
            let share = share * of_family;
            let adjusted: Vec<f64> = family.adjusted.iter().map(|p| (p / share).min(1.0)).collect();
            (adjusted.into_iter(), FAMILY_LEVEL * share / family.count.max(1) as f64)
        });
    let judged = lines.iter().map(|line| {
        let (adjusted, strictest) = if line.is_engine { &mut engines } else { &mut cells };
        let mut p = |estimate: &Option<Estimate>| estimate.as_ref()?.p().and_then(|_| adjusted.next());
        let ps = [p(&line.mean), p(&line.median)];
        judgement(line, ps, *strictest)
    });
    let judged = judged.collect();
    (judged, cells.0.collect())
}

struct Family {
    adjusted: Vec<f64>,
    count: usize,
}

impl Family {
    fn new(lines: &[Line], others: &[f64], is_engine: bool) -> Self {
        let of_family = lines.iter().filter(|line| line.is_engine == is_engine);
        let estimates = of_family.flat_map(|line| [&line.mean, &line.median]).flatten();
        let ps: Vec<f64> = estimates.filter_map(Estimate::p).chain(others.iter().copied()).collect();
        Self { adjusted: holm(&ps), count: ps.len() }
    }
}

fn judgement(line: &Line, [mean_p, median_p]: [Option<f64>; 2], strictest: f64) -> Judgement {
    let mean = verdict(line.mean.as_ref(), line.threshold, mean_p);
    let median = line.median.as_ref().map(|median| verdict(Some(median), line.threshold, median_p));
    let either = |verdict| mean == verdict || median == Some(verdict);
    let moved = [Verdict::Regressed, Verdict::Improved].into_iter().find(|moved| either(*moved));
    let verdict = moved.unwrap_or(mean);
    let is_by_median = verdict != mean;
    let inconclusive = (verdict == Verdict::Inconclusive).then_some(line.mean.as_ref());
    Judgement {
        verdict,
        mean,
        median,
        is_by_median,
        adjusted_p: if is_by_median { median_p } else { mean_p },
        replicates_needed: inconclusive
            .and_then(|mean| mean.map_or(Some(FEWEST), |mean| enough(mean, line.threshold))),
        is_hidden_regression: inconclusive.is_some()
            && [&line.mean, &line.median]
                .into_iter()
                .flatten()
                .any(|estimate| is_hidden_regression(estimate, line.threshold, strictest)),
    }
}

fn verdict(estimate: Option<&Estimate>, threshold: f64, adjusted_p: Option<f64>) -> Verdict {
    let Some(estimate) = estimate else { return Verdict::Inconclusive };
    let beyond_chance = adjusted_p.is_none_or(|p| p <= FAMILY_LEVEL);
    let is_enough = estimate.replicates().is_none_or(|replicates| replicates >= FEWEST);
    let (wide, narrow) = (estimate.interval(0.05), estimate.interval(0.10));
    if narrow.low >= 1.0 - threshold && narrow.high <= 1.0 + threshold {
        Verdict::Unchanged
    } else if wide.low > 1.0 + threshold && beyond_chance && is_enough {
        Verdict::Regressed
    } else if wide.high < 1.0 - threshold && beyond_chance && is_enough {
        Verdict::Improved
    } else {
        Verdict::Inconclusive
    }
}

/// Whether an inconclusive estimate would be regressed without its margin.
fn is_hidden_regression(estimate: &Estimate, threshold: f64, strictest: f64) -> bool {
    let bare = estimate.without_margin();
    let adjusted = bare.p().map(|p| if p <= strictest { 0.0 } else { 1.0 });
    estimate.margin() > 0.0 && verdict(Some(&bare), threshold, adjusted) == Verdict::Regressed
}

/// The replicates a side that would decide an inconclusive estimate: [`judge`] says in what sense.
fn enough(estimate: &Estimate, threshold: f64) -> Option<usize> {
    let edge = threshold.ln_1p();
    let planned = estimate.replicates_for(edge / 2.0, 0.10, MOST)?.max(FEWEST);
    if Some(planned) > estimate.replicates() {
        return Some(planned);
    }
    let size = estimate.log_ratio().abs();
    let level = if size > edge { 0.05 } else { 0.10 };
    estimate.replicates_for((size - edge).abs(), level, MOST)
}

/// Holm's adjusted p-values: with all of them at most α called, the chance of any false one is at most α, whatever depends
/// on whatever and whichever cells did change (Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
/// Journal of Statistics 6, 1979).
///
/// Not Benjamini and Hochberg's: they bound the *share* of false alarms among the alarms. Where one engine did slow down, a
/// twentieth of a long list of regressions may then be cells of another that did not change, and each is a person's
/// afternoon.
fn holm(p_values: &[f64]) -> Vec<f64> {
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
    use crate::replicates::tests::replicates;
    use crate::{Interval, PooledVariance, Replicates};

    /// Replicates around `level`, the farthest `spread` away.
    fn around(level: f64, spread: f64, count: usize) -> Replicates {
        let place = |at: usize| 2.0 * at as f64 / (count - 1) as f64 - 1.0;
        replicates(&(0..count).map(|at| level * (1.0 + spread * place(at))).collect::<Vec<_>>())
    }

    fn estimate(baseline: &Replicates, candidate: &Replicates) -> Option<Estimate> {
        Estimate::separate(baseline, candidate, &PooledVariance::NONE)
    }

    fn line(mean: Option<Estimate>, threshold: f64) -> Line {
        Line { mean, median: None, threshold, is_engine: false }
    }

    fn alone(baseline: &Replicates, candidate: &Replicates, threshold: f64) -> Judgement {
        judge(&[line(estimate(baseline, candidate), threshold)], &[], 1.0).0[0]
    }

    #[test]
    fn a_change_lies_beyond_the_threshold_whole() {
        let quiet = around(1.0, 0.01, 6);
        let verdict = |level, threshold| alone(&quiet, &around(level, 0.01, 6), threshold).verdict;
        assert_eq!(verdict(1.10, 0.05), Verdict::Regressed);
        assert_eq!(verdict(0.90, 0.05), Verdict::Improved);
        assert_eq!(verdict(1.00, 0.05), Verdict::Unchanged);
        assert_eq!(verdict(1.03, 0.05), Verdict::Unchanged, "beyond the noise, within the threshold");
        assert_eq!(verdict(1.048, 0.05), Verdict::Inconclusive, "the interval reaches over the threshold");
        assert_eq!(verdict(1.055, 0.05), Verdict::Inconclusive, "and back from beyond it");
        let loud = alone(&around(1.0, 0.2, 6), &around(1.1, 0.2, 6), 0.05);
        assert_eq!(loud.verdict, Verdict::Inconclusive, "within the noise");
        assert!(loud.replicates_needed.unwrap() > 6);
    }

    #[test]
    fn without_noise_the_ratio_decides() {
        let constant = replicates(&[8e9; 5]);
        assert_eq!(alone(&constant, &constant, 0.05).verdict, Verdict::Unchanged);
        assert_eq!(alone(&constant, &replicates(&[8.8e9; 5]), 0.05).verdict, Verdict::Regressed);
        assert_eq!(alone(&constant, &replicates(&[8.1e9; 5]), 0.05).verdict, Verdict::Unchanged);
    }

    #[test]
    fn four_replicates_may_show_no_change_but_not_a_change() {
        let of_four = |level| alone(&around(1.0, 0.001, 4), &around(level, 0.001, 5), 0.05);
        assert_eq!(of_four(1.0).verdict, Verdict::Unchanged);
        let judgement = of_four(2.0);
        assert_eq!((judgement.verdict, judgement.replicates_needed), (Verdict::Inconclusive, Some(FEWEST)));
    }

    #[test]
    fn of_a_published_figure_threshold_and_rounding_decide() {
        let exact = |value| Interval { low: value, high: value };
        let verdict = |baseline, candidate| {
            let judgement =
                judge(&[line(Some(Estimate::published(baseline, exact(candidate))), 0.05)], &[], 1.0).0[0];
            assert_eq!((judgement.adjusted_p, judgement.replicates_needed), (None, None));
            judgement.verdict
        };
        assert_eq!(verdict(exact(1.0), 1.06), Verdict::Regressed);
        assert_eq!(verdict(exact(1.0), 0.94), Verdict::Improved);
        assert_eq!(verdict(exact(1.0), 1.04), Verdict::Unchanged);
        let printed_as_1 = Interval { low: 0.95, high: 1.05 };
        assert_eq!(verdict(printed_as_1, 1.06), Verdict::Inconclusive, "1.05 may have been printed as 1");
    }

    #[test]
    fn a_single_replicate_is_no_evidence() {
        let judgement = alone(&replicates(&[1.0]), &replicates(&[2.0]), 0.05);
        assert_eq!((judgement.verdict, judgement.adjusted_p), (Verdict::Inconclusive, None));
        assert_eq!(judgement.replicates_needed, Some(FEWEST));
    }

    #[test]
    fn either_statistic_makes_a_regression_and_the_mean_no_change() {
        let same = estimate(&around(1.0, 0.01, 6), &around(1.0, 0.01, 6));
        let slower = estimate(&around(1.0, 0.01, 6), &around(1.2, 0.01, 6));
        let faster = estimate(&around(1.0, 0.01, 6), &around(0.8, 0.01, 6));
        let unknown = estimate(&around(1.0, 0.2, 6), &around(1.0, 0.2, 6));
        let judged = |mean: &Option<Estimate>, median: &Option<Estimate>| {
            let line = Line { mean: mean.clone(), median: median.clone(), threshold: 0.05, is_engine: false };
            judge(&[line], &[], 1.0).0[0].verdict
        };
        assert_eq!(judged(&slower, &same), Verdict::Regressed, "a tail");
        assert_eq!(judged(&same, &slower), Verdict::Regressed);
        assert_eq!(judged(&faster, &slower), Verdict::Regressed);
        assert_eq!(judged(&unknown, &faster), Verdict::Improved);
        assert_eq!(judged(&same, &unknown), Verdict::Unchanged);
        assert_eq!(judged(&unknown, &same), Verdict::Inconclusive, "the table prints the mean");
    }

    #[test]
    fn a_margin_hides_no_change_that_is_larger_and_says_what_it_hides() {
        let judged = |level, margin| {
            let estimate = estimate(&around(1.0, 0.01, 6), &around(level, 0.01, 6)).unwrap();
            let judgement = judge(&[line(Some(estimate.widened(margin)), 0.05)], &[], 1.0).0[0];
            (judgement.verdict, judgement.is_hidden_regression)
        };
        assert_eq!(judged(2.0, 0.08), (Verdict::Regressed, false));
        assert_eq!(judged(1.1, 0.08), (Verdict::Inconclusive, true));
        assert_eq!(judged(1.0, 0.08), (Verdict::Inconclusive, false));
        assert_eq!(judged(1.0, 0.01), (Verdict::Unchanged, false));
    }

    #[test]
    fn the_family_raises_the_bar_for_cells_and_not_for_engines() {
        let changed = estimate(&around(1.0, 0.05, 5), &around(1.14, 0.05, 5));
        let same = line(estimate(&around(1.0, 0.05, 5), &around(1.0, 0.05, 5)), 0.02);
        let verdict = |lines: &[Line]| judge(lines, &[], 1.0).0[0].verdict;
        assert_eq!(verdict(&[line(changed.clone(), 0.02)]), Verdict::Regressed);
        let mut lines = vec![same; 400];
        lines[0] = line(changed.clone(), 0.02);
        assert_eq!(verdict(&lines), Verdict::Inconclusive);
        lines[0].is_engine = true;
        assert_eq!(verdict(&lines), Verdict::Regressed);
        let exact = Interval { low: 1.0, high: 1.0 };
        let published = line(Some(Estimate::published(exact, exact)), 0.02);
        lines.splice(.., std::iter::once(line(changed, 0.02)).chain(std::iter::repeat_n(published, 400)));
        assert_eq!(verdict(&lines), Verdict::Regressed, "figures without a p are no tests");
    }

    #[test]
    fn other_tests_of_cells_are_of_the_same_family() {
        let same = line(estimate(&around(1.0, 0.05, 5), &around(1.0, 0.05, 5)), 0.02);
        let (_, others) = judge(&[same.clone(), same], &[0.004], 1.0);
        assert!((others[0] - 0.012).abs() < 1e-12, "{others:?}");
    }

    #[test]
    fn near_the_threshold_the_distance_to_it_decides_how_many() {
        let judgement = alone(&around(1.0, 0.01, 20), &around(1.047, 0.01, 20), 0.05);
        assert_eq!(judgement.verdict, Verdict::Inconclusive);
        assert!((20..=200).contains(&judgement.replicates_needed.unwrap()), "{judgement:?}");
        assert_eq!(alone(&around(1.0, 0.01, 20), &around(1.0499, 0.01, 20), 0.05).replicates_needed, None);
        assert_eq!(alone(&around(1.0, 0.01, 5), &around(1.0, 0.01, 5), 0.0).replicates_needed, None);
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
        fn more_replicates_of_the_same_spread_never_forget_a_change(
            level in 0.5f64..2.0, spread in 0.001f64..0.2, count in 3usize..12, threshold in 0.0f64..0.2,
        ) {
            let judgement = |count| alone(&around(1.0, spread, count), &around(level, spread, count), threshold);
            let (few, many) = (judgement(count), judgement(40 * count));
            proptest::prop_assert!(few.adjusted_p.unwrap() >= many.adjusted_p.unwrap());
            if few.verdict.is_change() {
                proptest::prop_assert_eq!(few.verdict, many.verdict);
            }
        }
    }
}
