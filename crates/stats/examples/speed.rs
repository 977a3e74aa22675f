//! How long a large comparison takes: 10,000 cells of ten replicates a side, 256 figures a replicate, made up one cell at a time; and
//! the histories of 300 cells over 200 runs.
//!
//!     cargo run --release -p stats --example speed

#![expect(clippy::print_stdout, reason = "its figures are its purpose")]

use std::time::{Duration, Instant};

use stats::{Estimate, Line, PooledVariance, Replicates, Trend, changes, judge, shifts};
use testing::simulate::{Between, Rng, SimulatedNoise};

const CELLS: usize = 10_000;

fn main() {
    let noise = SimulatedNoise {
        shape: Between::Normal,
        between: 0.02,
        within: 0.05,
        correlation: 0.5,
        outliers: 0.02,
    };
    let mut rng = Rng::new(1);
    let mut sides = Vec::new();
    let (mut reading, mut drifting) = (Duration::ZERO, Duration::ZERO);
    let mut adrift = 0;
    for _ in 0..CELLS {
        let series = [0, 1].map(|_| noise.side(&mut rng, 1.0, 10, 256));
        let series = series.each_ref().map(|side| side.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let start = Instant::now();
        let pair = series.each_ref().map(|side| {
            let numbered = || (0..).zip(side.iter().copied());
            [Replicates::means(numbered()), Replicates::medians(numbered())]
                .map(|side| side.expect("positive figures"))
        });
        reading += start.elapsed();
        let start = Instant::now();
        adrift += series.iter().filter(|side| !changes(side).is_empty()).count();
        adrift += pair
            .iter()
            .filter(|[means, _]| Trend::fit(means).is_some_and(|trend| trend.is_drift(0.05)))
            .count();
        drifting += start.elapsed();
        sides.push(pair);
    }
    let start = Instant::now();
    let estimates = [0, 1].map(|statistic| {
        let ratios =
            sides.iter().map(|[baseline, candidate]| candidate[statistic].over(&baseline[statistic]));
        let ratios: Vec<Replicates> = ratios.map(|ratios| ratios.expect("pairs")).collect();
        let pool = PooledVariance::new(&ratios.iter().collect::<Vec<_>>());
        ratios.iter().map(|ratios| Estimate::paired(ratios, &pool)).collect::<Vec<_>>()
    });
    let [means, medians] = estimates;
    let line = |(mean, median)| Line { mean, median, threshold: 0.05, is_engine: false };
    let lines: Vec<Line> = means.into_iter().zip(medians).map(line).collect();
    let (judgements, _) = judge(&lines, &[], 1.0);
    let judging = start.elapsed();
    println!("{CELLS} cells: reading {reading:.2?}, judging {judging:.2?}, looking for drift {drifting:.2?}");
    let undecided = judgements.iter().filter(|judgement| judgement.replicates_needed.is_some()).count();
    println!("{undecided} inconclusive, {adrift} adrift");
    histories(&mut rng);
}

/// Every history has a shift of 10 % in the middle, and one back for the last tenth.
fn histories(rng: &mut Rng) {
    const RUNS: usize = 200;
    let noise = SimulatedNoise::plain(0.02, 0.0);
    let histories: Vec<Vec<_>> = (0..300)
        .map(|_| {
            let run = |run| {
                let level = if (RUNS / 2..RUNS - RUNS / 10).contains(&run) { 1.1 } else { 1.0 };
                let series = noise.side(rng, level, 5, 1);
                Replicates::medians((0..).zip(series.iter().map(Vec::as_slice))).expect("positive figures")
            };
            (0..RUNS).map(run).collect()
        })
        .collect();
    let start = Instant::now();
    let found: usize = histories.iter().map(|history| shifts(history, 0.05).len()).sum();
    println!("{} histories of {RUNS} runs: {:.2?}, {found} shifts", histories.len(), start.elapsed());
}
