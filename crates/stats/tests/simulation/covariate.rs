//! What memory gave beside the replicates: used where it explains something, and intervals hold the truth either way.

use std::collections::BTreeMap;

use stats::{Covariate, Replicates, paired_estimates};
use testing::simulate::Rng;

use crate::verdicts::{QUIET, Scenario, at_least, at_most, pair};
use crate::{experiments, percent};

/// Counts, among `count` comparisons, those in which a slope is used, and the cells' intervals that hold the truth. The candidate's
/// ratio follows memory's speed by `slope`, which differs by `of_all` from replicate to replicate for all cells alike and by
/// `of_cells` for each.
fn look(scenario: Scenario, slope: f64, [of_all, of_cells]: [f64; 2], count: usize) -> (f64, f64) {
    let mut rng = Rng::new(7);
    let (mut used, mut held, mut all) = (0_usize, 0_u32, 0_u32);
    for _ in 0..count {
        let shared: Vec<f64> = (0..scenario.replicates).map(|_| of_all * rng.normal()).collect();
        let cells: Vec<(Replicates, BTreeMap<u32, f64>)> = pair(&mut rng, scenario)
            .iter()
            .map(|[baseline, candidate]| {
                let read: Vec<f64> = shared.iter().map(|shared| shared + of_cells * rng.normal()).collect();
                let ratios = candidate.over(baseline).unwrap();
                let moved = ratios.figures().zip(&read).map(|(ratio, read)| ratio * (slope * read).exp());
                let ratios = Replicates::new((0..).zip(moved)).unwrap();
                (ratios, (0..).zip(read).collect())
            })
            .collect();
        let (ratios, read): (Vec<&Replicates>, Vec<BTreeMap<u32, f64>>) =
            cells.iter().map(|(ratios, read)| (ratios, read.clone())).unzip();
        let covariate = Covariate::new(&ratios, &read);
        used += usize::from(covariate.is_some());
        for estimate in paired_estimates(&ratios, &read, covariate.as_ref()) {
            let interval = estimate.unwrap().interval(0.05);
            held += u32::from((interval.low..=interval.high).contains(&1.0));
            all += 1;
        }
    }
    (used as f64 / count as f64, f64::from(held) / f64::from(all))
}

#[test]
fn intervals_hold_the_truth_with_a_covariate_and_without() {
    let count = experiments(400, 10_000);
    println!("\n| slope | noise | slope used | intervals of cells that hold the truth |\n|---|---|---|---|");
    let worker = Scenario { worker: 0.02, ..QUIET.own(0.01) };
    let ten = |scenario| Scenario { replicates: 10, ..scenario };
    let cases = [
        (0.0, "5 %, each cell by itself; 2 %", QUIET, [0.0, 0.05]),
        (0.0, "5 %, all cells alike; 1 %, 2 % shared by a worker's cells", worker, [0.05, 0.0]),
        (0.0, "the same, 10 replicates", ten(worker), [0.05, 0.0]),
        (-1.0, "5 %, each cell by itself; 2 %", QUIET, [0.0, 0.05]),
        (-1.0, "5 %, all cells alike; 1 %, 2 % shared by a worker's cells", worker, [0.05, 0.0]),
        (-1.0, "the same, 10 replicates", ten(worker), [0.05, 0.0]),
    ];
    for (slope, name, scenario, read) in cases {
        let (used, held) = look(scenario, slope, read, count);
        let share = percent((used * count as f64) as usize, count);
        println!("| {slope} | {name} | {share} | {:.1} % |", 100.0 * held);
        if slope == 0.0 {
            at_most(used, 0.05, count, name);
        }
        at_least(held, 0.93, count, name);
    }
}
