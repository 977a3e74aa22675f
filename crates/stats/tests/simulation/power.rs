//! How often a true change is found, and whether the launches that are asked for do.

use stats::{Comparison, Side, Verdict, judge};
use testing::simulate::{Noise, Rng};

use crate::grid::{pair, verdicts};
use crate::{USUAL, experiments, is_long, launches, percent};

/// Of `pairs` pairs of runs in which a third of the comparisons changed by `ratio`: in how many pairs, and in how many of the
/// changed comparisons, it was found.
fn found(noise: Noise, launches: usize, comparisons: usize, ratio: f64, pairs: usize) -> (usize, usize) {
    let changed = comparisons / 3;
    let ratios: Vec<f64> = (0..comparisons).map(|at| if at < changed { ratio } else { 1.0 }).collect();
    let figures = if is_long() { 128 } else { 15 };
    let mut rng = Rng::new(77);
    let mut counts = (0, 0);
    for _ in 0..pairs {
        let verdicts = verdicts(&pair(&mut rng, noise, launches, figures, &ratios), 0.02);
        let cells = verdicts[..changed].iter().filter(|verdict| **verdict == Verdict::Regressed).count();
        counts.0 += usize::from(cells > 0);
        counts.1 += cells;
    }
    counts
}

#[test]
fn a_slower_engine_is_found() {
    let pairs = experiments(60, 500);
    let comparisons = if is_long() { 216 } else { 54 };
    println!(
        "\nThreshold 2 %, a third of {comparisons} comparisons slower: pairs / comparisons in which it is found"
    );
    println!(
        "| between launches | 5 %, 10 launches | 5 %, 20 launches | 10 %, 10 launches |\n|---|---|---|---|"
    );
    for between in [0.005, 0.01, 0.015, 0.02, 0.03] {
        let noise = Noise { between, ..USUAL };
        let shown = [(1.05, 10, 0.95), (1.05, 20, 0.95), (1.1, 10, 0.99)].map(|(ratio, launches, wanted)| {
            let (runs, cells) = found(noise, launches, comparisons, ratio, pairs);
            assert!(
                between > 0.02 || runs as f64 >= wanted * pairs as f64,
                "{between} {ratio}: {runs} of {pairs}"
            );
            format!("{} / {}", percent(runs, pairs), percent(cells, pairs * comparisons / 3))
        });
        println!("| {:.1} % | {} |", 100.0 * between, shown.join(" | "));
    }
}

/// Of a grid's inconclusive comparisons, measured again with as many launches as were asked for, the share that is decided.
#[test]
fn as_many_launches_as_are_asked_for_do() {
    let grids = experiments(20, 200);
    println!(
        "\nInconclusive at 5 launches, threshold 5 %, 54 comparisons, measured again with the launches asked for:"
    );
    println!("| true ratio | inconclusive | launches asked for, median | decided then |\n|---|---|---|---|");
    for ratio in [1.0, 1.1, 0.9] {
        let mut rng = Rng::new(31);
        let (mut asked, mut decided) = (Vec::new(), 0);
        let mut compare = |launched| {
            let mut side = |level| Side::Launches(launches(&USUAL.side(&mut rng, level, launched, 32)));
            (Comparison::of(&side(1.0), &side(ratio)), 0.05)
        };
        for _ in 0..grids {
            let mut grid: Vec<_> = (0..54).map(|_| compare(5)).collect();
            for (at, first) in judge(&grid).iter().enumerate() {
                let Some(needed) = first.launches else { continue };
                let before = grid[at];
                grid[at] = compare(needed);
                asked.push(needed);
                decided += usize::from(judge(&grid)[at].verdict != Verdict::Inconclusive);
                grid[at] = before;
            }
        }
        asked.sort_unstable();
        let middle = asked.get(asked.len() / 2).map_or("none".to_owned(), ToString::to_string);
        println!(
            "| {ratio} | {} | {middle} | {} |",
            percent(asked.len(), grids * 54),
            percent(decided, asked.len().max(1))
        );
        assert!(decided as f64 >= 0.75 * asked.len() as f64, "{ratio}: {decided} of {}", asked.len());
    }
}
