//! Two runs one after the other: what they differ by without a change is not in their replicates.

use stats::{Estimate, Replicates};
use testing::simulate::Rng;

use crate::verdicts::{ENGINES, HEAD, QUIET, SIZES, Scenario, Seen, Slower, at_least, at_most, estimates};
use crate::{experiments, percent};

/// What a comparison assumes of separate runs without a history (`compare::compare`).
const ASSUMED_SPREAD: f64 = 0.05;

/// How the run as a whole differs from the next: of each cell by itself, and of all cells together.
#[derive(Clone, Copy)]
struct Runs {
    of_cells: f64,
    of_all: f64,
    drift: f64,
}

/// A run of every cell, and what its level is off by.
fn run(rng: &mut Rng, scenario: Scenario, runs: Runs, is_candidate: bool) -> Vec<Replicates> {
    let all = runs.of_all * rng.normal();
    let count = scenario.replicates as f64;
    let cell = |cell: usize| {
        let level = all + runs.of_cells * rng.normal();
        let factor = if is_candidate { scenario.slower.factor(cell) } else { 1.0 };
        let figures = (0..scenario.replicates as u32).map(|number| {
            let drift = runs.drift * (f64::from(number) / (count - 1.0) - 0.5);
            (number, factor * (level + drift + scenario.own * rng.normal()).exp())
        });
        Replicates::new(figures.collect::<Vec<_>>()).unwrap()
    };
    (0..ENGINES * SIZES).map(cell).collect()
}

/// Two separate runs, with a history of so many runs, or none.
fn look_at_runs(scenario: Scenario, runs: Runs, history: usize, pairs: usize, seed: u64) -> Seen {
    let mut rng = Rng::new(seed);
    let mut seen = Seen::default();
    for _ in 0..pairs {
        let earlier: Vec<Vec<Replicates>> =
            (0..history).map(|_| run(&mut rng, scenario, runs, false)).collect();
        let sides = [false, true].map(|is_candidate| run(&mut rng, scenario, runs, is_candidate));
        let [baseline, candidate] = sides;
        let sides: Vec<[Replicates; 2]> =
            baseline.into_iter().zip(candidate).map(|(one, other)| [one, other]).collect();
        let spread = |at: usize| {
            let level = |run: &Vec<Replicates>| {
                let of_engine = |engine: usize| &run[engine * SIZES..(engine + 1) * SIZES];
                let cells = if at < run.len() { &run[at..=at] } else { of_engine(at - run.len()) };
                let logs: Vec<f64> = cells.iter().map(|cell| cell.centre().ln()).collect();
                logs.iter().sum::<f64>() / logs.len() as f64
            };
            let levels: Vec<f64> = earlier.iter().map(level).collect();
            let centre = levels.iter().sum::<f64>() / levels.len() as f64;
            levels.iter().map(|level| (level - centre).powi(2)).sum::<f64>() / (levels.len() - 1) as f64
        };
        let with_spread = |(at, (estimate, truth)): (usize, (Estimate, f64))| {
            let estimate = match history {
                0 => estimate.with_run_spread(ASSUMED_SPREAD.powi(2), f64::INFINITY, false),
                _ => estimate.with_run_spread(spread(at), (history - 1) as f64, true),
            };
            (estimate, truth)
        };
        let estimates = estimates(&sides, scenario.slower, false).into_iter().enumerate().map(with_spread);
        seen.add(&estimates.collect::<Vec<_>>());
    }
    seen
}

#[test]
fn separate_runs() {
    let pairs = experiments(300, 10_000);
    println!("\nTwo separate runs of 5 replicates, nothing changed; {pairs} comparisons\n{HEAD}");
    let none = Runs { of_cells: 0.0, of_all: 0.0, drift: 0.0 };
    let scenarios = [
        ("1 %; runs differ by 2 %, all cells alike", 0.01, Runs { of_all: 0.02, ..none }),
        ("1 %; runs differ by 5 %, all cells alike", 0.01, Runs { of_all: 0.05, ..none }),
        ("1 %; runs differ by 2 %, each cell by itself", 0.01, Runs { of_cells: 0.02, ..none }),
        ("1 %; runs differ by 5 %, each cell by itself", 0.01, Runs { of_cells: 0.05, ..none }),
        ("2 %; runs differ by 2 %, and drift by 10 %", 0.02, Runs { of_all: 0.02, drift: 0.1, ..none }),
    ];
    for (at, (name, own, runs)) in scenarios.into_iter().enumerate() {
        for history in [0, 6, 10, 30] {
            let seen = look_at_runs(QUIET.own(own), runs, history, pairs, 200 + at as u64);
            let name = match history {
                0 => format!("{name}; no history"),
                _ => format!("{name}; history of {history} runs"),
            };
            // Without a history no interval is printed: these have the spread that is assumed.
            println!("{}", seen.row(&name));
            at_most(Seen::share(seen.regressed, pairs), 0.01, pairs, &name);
            // All cells of a run can be off alike: then a comparison counts as one interval.
            seen.coverage().into_iter().for_each(|share| at_least(share, 0.93, pairs, &name));
        }
    }
    println!(
        "\n| two runs, 2 % between replicates, drift of 8 % | comparisons with a regression |\n|---|---|"
    );
    for (name, slower, least) in [("twice as slow", 2.0, 1.0), ("30 % slower", 1.3, 0.0)] {
        let scenario = Scenario { slower: Slower::All(slower), ..QUIET };
        for replicates in [5, 10] {
            let runs = Runs { drift: 0.08, ..none };
            let seen = look_at_runs(Scenario { replicates, ..scenario }, runs, 0, pairs, 300);
            println!("| {name}, {replicates} replicates, no history | {} |", percent(seen.regressed, pairs));
            at_least(Seen::share(seen.regressed, pairs), least, pairs, name);
        }
    }
}
