//! Lasting changes of level in a metric's history over runs.

use crate::partition::{AT_AN_END, places};
use crate::replicates::{RESOLUTION, median};
use crate::summary::quantile;
use crate::{Replicates, mean, student};

/// The most deviations of a run from the median of the five around it.
const REACH: f64 = 3.0;

/// A run at which a metric's level changes for good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The index of the first run of the new level.
    pub run: usize,
    /// The old level, in the unit of the figures.
    pub before: f64,
    /// The new level over the old one.
    pub ratio: f64,
    /// The two-sided p-value of no difference between the two levels, times the runs at which there could have been one; at
    /// most [`Self::LEVEL`].
    pub p: f64,
}

impl Shift {
    /// The chance, at most, of finding a shift in a history that has none.
    pub const LEVEL: f64 = 0.01;

    /// Fewer runs have no shift.
    pub const FEWEST_RUNS: usize = 2 * AT_AN_END;

    /// Whether the level changed by more than `threshold`, a share such as 0.05.
    pub fn exceeds(&self, threshold: f64) -> bool {
        (self.ratio - 1.0).abs() > threshold
    }
}

/// Finds the runs from which on one cell's metric has another level, by more than `threshold`, a share such as 0.05. The runs
/// are in the order of their revisions, their figures in one unit; the shifts are in that order too.
///
/// - The run is the unit of replication, as the replicate is in a comparison: a machine of today is not one of yesterday, so
///   runs differ by more than their replicates tell. How many replicates a run has, and their spread, count for nothing but the
///   run's centre.
/// - A level is one that lasts: three runs at least at the beginning and at the end of the history, five between two shifts.
///   Fewer than six runs have no shift; whether the newest run or two changed is for [`judge`](crate::judge) to say. An outlying
///   run is no level: it is first drawn in to three deviations from the median of the five runs around it, which leaves an
///   edge between levels of three runs where it is.
/// - The levels between two shifts that remain differ by more than the threshold and at [`Shift::LEVEL`]. Neighbouring
///   levels that do not are one, the most alike first: many small steps one way become few large ones.
///
/// Levels are geometric means of their runs' centres. The search is circular binary segmentation by Student's t, without
/// chance: permutations, usual in its place, gave another answer to the same history each time (Fleming et al., "Hunter: Using
/// Change Point Detection to Hunt for Performance Regressions", ICPE 2023, of what Daly et al., "The Use of Change Point
/// Detection to Identify Software Performance Regressions in a Continuous Integration System", ICPE 2020, had begun).
pub fn shifts(history: &[Replicates], threshold: f64) -> Vec<Shift> {
    let centres: Vec<_> = history.iter().map(Replicates::log_centre).collect();
    let logs = drawn_in(&centres);
    lasting(&logs, places(&logs, Shift::LEVEL), threshold)
}

/// The series with its outliers drawn in.
///
/// The deviation is by the 80th percentile of the steps from run to run: a tenth of the runs may be wild, while the two modes
/// of runs that fall on a fast or a slow machine stay as far apart as they are.
fn drawn_in(logs: &[f64]) -> Vec<f64> {
    /// The 80th percentile of the absolute steps of standard normal noise: √2 · Φ⁻¹(0.9).
    const PERCENTILE: f64 = 1.812_387_604_873_647;
    if logs.len() < 5 {
        return logs.to_vec();
    }
    let mut steps: Vec<_> = logs.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    steps.sort_unstable_by(f64::total_cmp);
    let reach = REACH * (quantile(&steps, 0.8) / PERCENTILE).max(RESOLUTION);
    let drawn_in = logs.iter().enumerate().map(|(run, log)| {
        let first = run.saturating_sub(2).min(logs.len() - 5);
        let mut around: [f64; 5] = std::array::from_fn(|at| logs[first + at]);
        let middle = median(&mut around).expect("five runs");
        log.clamp(middle - reach, middle + reach)
    });
    drawn_in.collect()
}

/// The shifts at those of `starts` where the level changes, with the noise and by the threshold, as asked for.
fn lasting(logs: &[f64], mut starts: Vec<usize>, threshold: f64) -> Vec<Shift> {
    loop {
        let shifts = between_levels(logs, &starts);
        let fails = |shift: &Shift| shift.p > Shift::LEVEL || !shift.exceeds(threshold);
        let size = |shift: &Shift| shift.ratio.ln().abs();
        let failing = shifts.iter().filter(|shift| fails(shift));
        match failing.min_by(|a, b| size(a).total_cmp(&size(b))) {
            Some(least) => starts.retain(|start| *start != least.run),
            None => return shifts,
        }
    }
}

/// The shifts between the levels that start at `starts` and at the first run: Student's t with all levels' noise pooled.
fn between_levels(logs: &[f64], starts: &[usize]) -> Vec<Shift> {
    let mut edges = vec![0];
    edges.extend(starts);
    edges.push(logs.len());
    let levels: Vec<_> =
        edges.windows(2).filter_map(|edge| Level::from_logs(&logs[edge[0]..edge[1]])).collect();
    let degrees = logs.len() as f64 - levels.len() as f64;
    let squares: f64 = levels.iter().map(|level| level.squares).sum();
    let variance = (squares / degrees).max(RESOLUTION * RESOLUTION);
    let shifts = levels.windows(2).zip(starts).map(|(level, run)| {
        let step = level[1].centre - level[0].centre;
        let error = (variance * (1.0 / level[0].runs + 1.0 / level[1].runs)).sqrt();
        let p = student::two_sided(step.abs() / error, degrees) * logs.len() as f64;
        Shift { run: *run, before: level[0].centre.exp(), ratio: step.exp(), p }
    });
    shifts.collect()
}

/// Runs of one level.
struct Level {
    runs: f64,
    centre: f64,
    /// The sum of squared deviations from the centre.
    squares: f64,
}

impl Level {
    fn from_logs(logs: &[f64]) -> Option<Self> {
        let centre = mean(logs)?;
        let squares = logs.iter().map(|log| (log - centre).powi(2)).sum();
        Some(Self { runs: logs.len() as f64, centre, squares })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::simulate::Rng;

    /// Runs of one replicate each.
    fn history(centres: &[f64]) -> Vec<Replicates> {
        centres.iter().map(|run| Replicates::new([(0, *run)]).unwrap()).collect()
    }

    /// Runs around `levels`, with a noise of deviation `noise`.
    fn around(levels: &[f64], noise: f64, seed: u64) -> Vec<Replicates> {
        let mut rng = Rng::new(seed);
        let centres: Vec<_> = levels.iter().map(|level| level * (noise * rng.normal()).exp()).collect();
        history(&centres)
    }

    /// A history with the given number of runs at each level.
    fn stairs(levels: &[(usize, f64)]) -> Vec<f64> {
        levels.iter().flat_map(|(runs, level)| std::iter::repeat_n(*level, *runs)).collect()
    }

    fn places(shifts: &[Shift]) -> Vec<usize> {
        shifts.iter().map(|shift| shift.run).collect()
    }

    #[test]
    fn a_lasting_change_is_found_where_it_is() {
        for noise in [0.0, 0.01] {
            let [shift] = shifts(&around(&stairs(&[(14, 8e9), (6, 9e9)]), noise, 4), 0.05)[..] else {
                panic!("one shift")
            };
            assert_eq!(shift.run, 14);
            assert!((shift.ratio - 1.125).abs() < 1e-9 + noise, "{shift:?}");
            assert!(shift.p < 1e-6, "{shift:?}");
        }
        let back = shifts(&around(&stairs(&[(10, 1.0), (6, 1.2), (9, 1.0)]), 0.01, 5), 0.05);
        assert_eq!(places(&back), [10, 16]);
        assert!((back[0].ratio * back[1].ratio - 1.0).abs() < 0.02);
    }

    #[test]
    fn what_does_not_last_is_no_shift() {
        for outlier in 0..12 {
            let mut levels = vec![1.0; 12];
            levels[outlier] = 1.5;
            assert_eq!(shifts(&history(&levels), 0.05), [], "at {outlier}");
            assert_eq!(shifts(&around(&levels, 0.01, 6), 0.05), [], "at {outlier}");
        }
        for short in [&[(2, 1.5), (12, 1.0)][..], &[(12, 1.0), (2, 1.5)], &[(9, 1.0), (2, 1.5), (9, 1.0)]] {
            assert_eq!(shifts(&history(&stairs(short)), 0.05), [], "{short:?}");
        }
        assert_eq!(places(&shifts(&history(&stairs(&[(12, 1.0), (3, 1.5)])), 0.05)), [12]);
    }

    #[test]
    fn an_outlier_at_an_edge_moves_it_nowhere() {
        let mut levels = stairs(&[(15, 1.0), (15, 1.2)]);
        (levels[13], levels[16]) = (2.0, 0.5);
        let [shift] = shifts(&around(&levels, 0.01, 7), 0.05)[..] else { panic!("one shift") };
        assert_eq!(shift.run, 15);
        assert!((shift.ratio - 1.2).abs() < 0.02, "{shift:?}");
    }

    #[test]
    fn two_small_steps_one_way_are_a_large_one() {
        let history = around(&stairs(&[(10, 1.0), (10, 1.04), (10, 1.08)]), 0.002, 8);
        assert_eq!(places(&shifts(&history, 0.02)), [10, 20]);
        let [shift] = shifts(&history, 0.05)[..] else { panic!("one shift") };
        assert!(shift.ratio > 1.05 && shift.ratio < 1.08, "{shift:?}");
        assert_eq!(shifts(&history, 0.1), []);
    }

    #[test]
    fn too_little_to_tell_and_nothing_to_tell() {
        assert_eq!(shifts(&[], 0.05), []);
        for runs in 1..Shift::FEWEST_RUNS {
            assert_eq!(shifts(&history(&stairs(&[(runs / 2, 1.0), (runs - runs / 2, 2.0)])), 0.0), []);
        }
        assert_eq!(places(&shifts(&history(&stairs(&[(3, 1.0), (3, 2.0)])), 0.0)), [3]);
        let constant: Vec<_> = (0..40).map(|run| 8e9 * (1.0 + f64::from(run % 7) * 1e-15)).collect();
        assert_eq!(shifts(&history(&constant), 0.0), []);
        let extreme = history(&stairs(&[(5, f64::MIN_POSITIVE), (5, f64::MAX)]));
        assert_eq!(places(&shifts(&extreme, 0.05)), [5]);
        assert_eq!(shifts(&extreme, f64::NAN), []);
    }

    #[test]
    fn a_run_is_its_centre_however_many_its_replicates() {
        let levels = stairs(&[(12, 1.0), (8, 1.1)]);
        let lone = around(&levels, 0.01, 9);
        let of_three = |centre: f64| Replicates::new((0..).zip([0.5, 1.0, 2.0].map(|x| x * centre))).unwrap();
        let many: Vec<_> = lone.iter().map(|run| of_three(run.centre())).collect();
        let (lone, many) = (shifts(&lone, 0.05), shifts(&many, 0.05));
        assert_eq!((places(&lone), places(&many)), (vec![12], vec![12]));
        assert!((lone[0].ratio - many[0].ratio).abs() < 1e-12);
    }

    proptest::proptest! {
        /// Tested without a threshold: it differs between a rise and a fall.
        #[test]
        fn turned_round_everything_is(
            seed in 0u64..1000, parts in proptest::collection::vec((0usize..12, 0.8f64..1.25), 0..6),
        ) {
            let mut history = around(&stairs(&parts), 0.02, seed);
            let there = shifts(&history, 0.0);
            history.reverse();
            let mut back = shifts(&history, 0.0);
            back.reverse();
            proptest::prop_assert_eq!(there.len(), back.len());
            for (there, back) in there.iter().zip(&back) {
                proptest::prop_assert_eq!(there.run + back.run, history.len());
                proptest::prop_assert!((there.ratio * back.ratio - 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn what_is_found_is_as_asked_for(
            seed in 0u64..1000, parts in proptest::collection::vec((0usize..12, 0.8f64..1.25), 0..6), threshold in 0.0f64..0.1,
        ) {
            for shift in shifts(&around(&stairs(&parts), 0.02, seed), threshold) {
                proptest::prop_assert!(shift.exceeds(threshold) && shift.p <= Shift::LEVEL);
            }
        }
    }
}
