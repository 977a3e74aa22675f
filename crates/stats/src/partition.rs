//! Places at which the level of a series of logarithms changes: circular binary segmentation.

use crate::replicates::RESOLUTION;
use crate::{mean, student};

/// The fewest figures of the first and of the last level.
pub(crate) const AT_AN_END: usize = 3;

/// The fewest figures of a level that is left again: any stretch might be one, so a short one proves little.
const BETWEEN: usize = 5;

/// The share of the level for finding a level that is left again; the rest is for a single change.
const SHARE_BETWEEN: f64 = 0.2;

/// The places at which the level changes, as indices of the first figure of the new level, in order. In a series of
/// independent normal noise there is one with probability `level` at most.
///
/// Two hypotheses at once: the level changes at one place, or it changes at one and changes back at another. The second
/// sees the level that a regression and its repair leave between them, of which either alone is masked by the other (Olshen,
/// Venkatraman, Lucito and Wigler, "Circular binary segmentation for the analysis of array-based DNA copy number data",
/// Biostatistics 5, 2004). Each of their t-tests is corrected by Bonferroni for all the places looked at. Where one is found,
/// the parts are searched in turn.
pub(crate) fn places(logs: &[f64], level: f64) -> Vec<usize> {
    let mut places = Vec::new();
    search(logs, 0, level, &mut places);
    places.sort_unstable();
    places
}

fn search(logs: &[f64], offset: usize, level: f64, places: &mut Vec<usize>) {
    if logs.len() < 2 * AT_AN_END {
        return;
    }
    let scan = Scan::from_logs(logs);
    let (single, double) = (scan.single(), scan.double());
    let chances = [single.p(&scan) / (1.0 - SHARE_BETWEEN), double.p(&scan) / SHARE_BETWEEN];
    if chances[0].min(chances[1]) > level {
        return;
    }
    let cuts = if chances[0] <= chances[1] { vec![single.end] } else { vec![double.start, double.end] };
    let mut start = 0;
    for end in cuts.iter().copied().chain([logs.len()]) {
        search(&logs[start..end], offset + start, level, places);
        start = end;
    }
    places.extend(cuts.iter().map(|cut| offset + cut));
}

/// A series, made ready to compare any stretch of it with the rest.
struct Scan {
    length: usize,
    /// The sum of the deviations from the mean, up to each place.
    sums: Vec<f64>,
    /// 1/in + 1/out for a stretch of each length.
    weights: Vec<f64>,
    /// The sum of squares of all deviations from the mean.
    squares: f64,
    /// The noise's variance by the differences of successive figures, of which few hold a change: von Neumann, "Distribution
    /// of the ratio of the mean square successive difference to the variance", Annals of Mathematical Statistics 12, 1941.
    by_steps: f64,
}

/// The stretch that differs most from the rest, of those looked at.
#[derive(Default)]
struct Stretch {
    start: usize,
    end: usize,
    /// The squares that it explains.
    gain: f64,
    looks: usize,
}

impl Scan {
    fn from_logs(logs: &[f64]) -> Self {
        let (length, centre) = (logs.len(), mean(logs).expect("six figures"));
        let mut sum = 0.0;
        let running = logs.iter().map(|log| {
            sum += log - centre;
            sum
        });
        let weight = |inside: usize| 1.0 / inside as f64 + 1.0 / (length - inside) as f64;
        let steps: f64 = logs.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum();
        Self {
            length,
            sums: std::iter::once(0.0).chain(running).collect(),
            weights: (0..=length).map(weight).collect(),
            squares: logs.iter().map(|log| (log - centre).powi(2)).sum(),
            by_steps: steps / 2.0 / (length as f64 - 1.0),
        }
    }

    /// The best of the stretches from the beginning.
    fn single(&self) -> Stretch {
        let mut best = Stretch::default();
        self.look(0, AT_AN_END, &mut best);
        best
    }

    /// The best of the stretches that leave a level before and one after.
    fn double(&self) -> Stretch {
        let mut best = Stretch::default();
        for start in AT_AN_END..self.length {
            self.look(start, BETWEEN, &mut best);
        }
        best
    }

    /// Looks at those from `start` of at least `shortest` figures.
    fn look(&self, start: usize, shortest: usize, best: &mut Stretch) {
        let before = self.sums[start];
        for end in start + shortest..=self.length - AT_AN_END {
            let gain = (self.sums[end] - before).powi(2) * self.weights[end - start];
            if gain > best.gain {
                (best.start, best.end, best.gain) = (start, end, gain);
            }
            best.looks += 1;
        }
    }
}

impl Stretch {
    /// The chance to find one like it among all those looked at, at most.
    ///
    /// Student's t by the lesser of two estimates of the noise: what the stretch leaves unexplained, which holds all other
    /// changes, and the differences of successive figures, which hold each change once.
    fn p(&self, scan: &Scan) -> f64 {
        let count = scan.length as f64;
        let unexplained = ((scan.squares - self.gain) / (count - 2.0), count - 2.0);
        let by_steps = (scan.by_steps, 2.0 * (count - 1.0).powi(2) / (3.0 * count - 4.0));
        let p = |(variance, degrees): (f64, f64)| {
            let variance = variance.max(RESOLUTION * RESOLUTION);
            student::two_sided((self.gain / variance).sqrt(), degrees)
        };
        if self.looks == 0 { 1.0 } else { self.looks as f64 * p(unexplained).min(p(by_steps)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stretch_that_differs_most_by_hand() {
        // Means 0 and 1, so 1.5 of the squares 1.54 explained, 0.04/4 left: t² = 150. The steps' squares sum to 1.31.
        let scan = Scan::from_logs(&[0.0, 0.1, -0.1, 1.0, 1.1, 0.9]);
        let single = scan.single();
        assert_eq!((single.end, single.looks), (3, 1));
        assert!((single.gain - 1.5).abs() < 1e-12);
        assert!((single.p(&scan) / student::two_sided(150_f64.sqrt(), 4.0) - 1.0).abs() < 1e-9);
        assert!((scan.by_steps - 0.131).abs() < 1e-12);
        assert_eq!((scan.double().looks, scan.double().p(&scan)), (0, 1.0));
    }

    #[test]
    fn a_level_that_is_left_again() {
        let mut logs: Vec<_> = (0..30).map(|at| f64::from(at % 3) / 100.0).collect();
        logs[12..18].iter_mut().for_each(|log| *log += 0.2);
        let scan = Scan::from_logs(&logs);
        let double = scan.double();
        assert_eq!((double.start, double.end), (12, 18));
        // Starts 3 to 22, each with as many ends.
        assert_eq!(double.looks, (1..=20).sum::<usize>());
        assert!(scan.single().p(&scan) > 1e9 * double.p(&scan), "either change masks the other");
        assert_eq!(places(&logs, 0.01), [12, 18]);
        assert!(places(&logs, 0.0).is_empty());
    }

    #[test]
    fn changes_that_take_turns_do_not_pass_for_noise() {
        let logs: Vec<_> = (0..35).map(|at| f64::from(at / 7 % 2) + f64::from(at % 3) / 100.0).collect();
        assert_eq!(places(&logs, 0.01), [7, 14, 21, 28]);
    }
}
