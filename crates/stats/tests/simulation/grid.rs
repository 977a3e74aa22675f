//! Whole runs against themselves: how often anything is called a change.

use stats::{Comparison, FAMILY_LEVEL, Side, Verdict, judge};
use testing::simulate::{Between, Noise, Rng};

use crate::{USUAL, experiments, is_long, launches, models, percent, tolerance};

/// The comparisons of two runs that truly differ by `ratios`.
///
/// Metrics do not share their noise here, though those of one launch do: the more independent tests, the more false alarms.
pub(crate) fn pair(
    rng: &mut Rng,
    noise: Noise,
    launched: usize,
    figures: usize,
    ratios: &[f64],
) -> Vec<Comparison> {
    let compared = ratios.iter().map(|ratio| {
        let mut side = |level| Side::Launches(launches(&noise.side(rng, level, launched, figures)));
        Comparison::of(&side(1.0), &side(*ratio))
    });
    compared.collect()
}

pub(crate) fn verdicts(pair: &[Comparison], threshold: f64) -> Vec<Verdict> {
    let grid: Vec<_> = pair.iter().map(|comparison| (*comparison, threshold)).collect();
    judge(&grid).iter().map(|judgement| judgement.verdict).collect()
}

/// Of `pairs` pairs of runs in which nothing changed, how many have a `regressed`, and how many any change at all: at each of
/// `thresholds`.
fn alarms(noise: Noise, launches: usize, cells: usize, thresholds: &[f64], pairs: usize) -> Vec<[usize; 2]> {
    let figures = if is_long() { 32 } else { 5 };
    let mut rng = Rng::new(launches as u64 + 1000);
    let mut counts = vec![[0; 2]; thresholds.len()];
    for _ in 0..pairs {
        let pair = pair(&mut rng, noise, launches, figures, &vec![1.0; cells]);
        for (count, threshold) in counts.iter_mut().zip(thresholds) {
            let verdicts = verdicts(&pair, *threshold);
            let regressed = verdicts.contains(&Verdict::Regressed);
            count[0] += usize::from(regressed);
            count[1] += usize::from(regressed || verdicts.contains(&Verdict::Improved));
        }
    }
    counts
}

#[test]
fn a_run_against_itself_raises_no_alarm() {
    const LAUNCHES: [usize; 3] = [5, 7, 10];
    let pairs = experiments(1_000, 2_000);
    let (cells, thresholds): (_, &[f64]) = if is_long() { (54 * 4, &[0.0, 0.05]) } else { (54, &[0.0]) };
    println!("\n{cells} comparisons a run, {pairs} pairs of runs: any `regressed` / any change");
    println!("| noise | threshold | 5 launches | 7 launches | 10 launches |\n|---|---|---|---|---|");
    for (name, noise) in models() {
        let counts = LAUNCHES.map(|launches| alarms(noise, launches, cells, thresholds, pairs));
        for (at, threshold) in thresholds.iter().enumerate() {
            let shown =
                counts.each_ref().map(|count| count[at].map(|alarms| percent(alarms, pairs)).join(" / "));
            println!("| {name} | {:.0} % | {} |", 100.0 * threshold, shown.join(" | "));
        }
        for (count, launches) in counts.iter().zip(LAUNCHES) {
            // The limit that the crate's documentation states.
            if noise.shape == Between::TwoModes && launches < 7 {
                continue;
            }
            for (alarms, level) in count[0].into_iter().zip([FAMILY_LEVEL / 2.0, FAMILY_LEVEL]) {
                let share = alarms as f64 / pairs as f64;
                assert!(share <= level + tolerance(level, pairs), "{name}, {launches} launches: {share}");
            }
        }
    }
}

#[test]
fn where_one_engine_changed_the_others_raise_no_alarm() {
    let pairs = experiments(300, 2_000);
    let ratios: Vec<f64> = (0..54).map(|cell| if cell < 18 { 1.1 } else { 1.0 }).collect();
    let mut rng = Rng::new(5);
    let false_alarm = |_: &usize| {
        let verdicts = verdicts(&pair(&mut rng, USUAL, 10, 9, &ratios), 0.0);
        verdicts[18..].iter().any(|verdict| matches!(verdict, Verdict::Regressed | Verdict::Improved))
    };
    let alarms = (0..pairs).filter(false_alarm).count();
    println!("\nAny false alarm beside 18 of 54 cells that changed by 10 %: {}", percent(alarms, pairs));
    assert!(alarms as f64 / pairs as f64 <= FAMILY_LEVEL + tolerance(FAMILY_LEVEL, pairs));
}
