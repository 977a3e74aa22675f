//! Drift: how often it is seen where there is none, and where there is.

use stats::{Change, Replicates, Trend, changes};
use testing::simulate::{Rng, SimulatedNoise};

use crate::{USUAL, experiments, percent, replicates, tolerance};

fn found(side: &[Vec<f64>]) -> Vec<Change> {
    changes(&side.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[test]
fn a_level_that_stays_is_not_called_changed() {
    let count = experiments(200, 5_000);
    println!("\nSides without a change in which one is found, of any size / of more than 5 %");
    println!("| figures | correlation | 3 replicates | 10 replicates |\n|---|---|---|---|");
    for figures in [100, 256] {
        for correlation in [0.0, 0.3, 0.5, 0.7, 0.8, 0.9] {
            let noise = SimulatedNoise { correlation, ..USUAL };
            let shown = [3, 10].map(|replicate_count| {
                let mut rng = Rng::new(12);
                let (mut any, mut large) = (0, 0);
                for _ in 0..count {
                    let changes = found(&noise.side(&mut rng, 1.0, replicate_count, figures));
                    any += usize::from(!changes.is_empty());
                    large += usize::from(changes.iter().any(|change| change.exceeds(0.05)));
                }
                if correlation <= 0.5 {
                    let share = any as f64 / count as f64;
                    assert!(
                        share <= 0.05 + tolerance(0.05, count),
                        "{figures} {correlation} {replicate_count}: {share}"
                    );
                }
                format!("{} / {}", percent(any, count), percent(large, count))
            });
            println!("| {figures} | {correlation} | {} |", shown.join(" | "));
        }
    }
}

#[test]
fn a_level_that_changes_is_found() {
    let count = experiments(100, 1_000);
    println!("\nSides of 10 replicates of 256 figures, one of which changes, in which that is found");
    println!(
        "| within replicates, correlation | 5 % at 128 | 10 % at 128 | 10 % at 64 | 20 % at 32 | 10 % at 96 to 160 |"
    );
    println!("|---|---|---|---|---|---|");
    for (within, correlation) in [(0.01, 0.5), (0.02, 0.5), (0.05, 0.0), (0.05, 0.5)] {
        let noise = SimulatedNoise { within, correlation, ..USUAL };
        let shown = [(1.05, 128..256), (1.1, 128..256), (1.1, 64..256), (1.2, 32..256), (1.1, 96..160)].map(
            |(ratio, changed)| {
                let mut rng = Rng::new(13);
                let hit = |_: &usize| {
                    let mut side = noise.side(&mut rng, 1.0, 10, 256);
                    side[4][changed.clone()].iter_mut().for_each(|figure| *figure *= ratio);
                    found(&side)
                        .iter()
                        .any(|change| change.replicate == 4 && change.position.abs_diff(changed.start) <= 16)
                };
                let hits = (0..count).filter(hit).count();
                assert!(
                    within > 0.02 || (ratio, &changed) != (1.1, &(128..256)) || hits * 100 >= 95 * count,
                    "{within}: {hits}"
                );
                percent(hits, count)
            },
        );
        println!("| {:.0} %, {correlation} | {} |", 100.0 * within, shown.join(" | "));
    }
}

/// A side whose replicates grow by `drift` from the first to the last.
fn adrift(rng: &mut Rng, replicate_count: usize, drift: f64) -> Replicates {
    let mut side = USUAL.side(rng, 1.0, replicate_count, 32);
    for (round, series) in side.iter_mut().enumerate() {
        let factor = drift.powf(round as f64 / (replicate_count - 1) as f64);
        series.iter_mut().for_each(|figure| *figure *= factor);
    }
    replicates(&side)
}

#[test]
fn drift_between_replicates() {
    let count = experiments(500, 5_000);
    println!("\nSides called adrift at threshold 2 %: one cell / the geometric mean of 54 cells");
    println!("| replicates | no drift | 5 % | 10 % |\n|---|---|---|---|");
    for replicate_count in [5, 10, 20] {
        let shown = [1.0, 1.05, 1.1].map(|drift| {
            let mut rng = Rng::new(14);
            let is_adrift =
                |replicates: &Replicates| Trend::fit(replicates).expect("four replicates").is_drift(0.02);
            let alone = (0..count).filter(|_| is_adrift(&adrift(&mut rng, replicate_count, drift))).count();
            let grids = count / 25;
            let whole = |_: &usize| {
                let cells: Vec<_> = (0..54).map(|_| adrift(&mut rng, replicate_count, drift)).collect();
                let all = Replicates::geometric_mean(&cells.iter().collect::<Vec<_>>());
                is_adrift(&all.expect("there are cells"))
            };
            let whole = (0..grids).filter(whole).count();
            let limit = Trend::LEVEL + tolerance(Trend::LEVEL, count);
            assert!(drift > 1.0 || alone as f64 / count as f64 <= limit, "{replicate_count}: {alone}");
            assert!(
                drift < 1.04 || whole * 100 >= 90 * grids,
                "{replicate_count} {drift}: {whole} of {grids}"
            );
            format!("{} / {}", percent(alone, count), percent(whole, grids))
        });
        println!("| {replicate_count} | {} |", shown.join(" | "));
    }
}

#[test]
fn drift_that_two_interleaved_sides_share() {
    let count = experiments(500, 5_000);
    println!(
        "\nA side that drifts by 10 % with the machine, called adrift at threshold 2 %: alone / over the other side"
    );
    println!("| 5 replicates | 10 replicates | 20 replicates |\n|---|---|---|");
    let shown = [5, 10, 20].map(|replicate_count| {
        let mut rng = Rng::new(15);
        let is_adrift =
            |replicates: &Replicates| Trend::fit(replicates).expect("four replicates").is_drift(0.02);
        let (mut alone, mut over) = (0, 0);
        for _ in 0..count {
            let [baseline, candidate] = [0, 1].map(|_| adrift(&mut rng, replicate_count, 1.1));
            alone += usize::from(is_adrift(&candidate));
            over += usize::from(is_adrift(&candidate.over(&baseline).expect("as many replicates")));
        }
        assert!(
            over as f64 / count as f64 <= Trend::LEVEL + tolerance(Trend::LEVEL, count),
            "{replicate_count}: {over}"
        );
        assert!(replicate_count < 20 || alone * 100 >= 90 * count, "{replicate_count}: {alone}");
        format!("{} / {}", percent(alone, count), percent(over, count))
    });
    println!("| {} |", shown.join(" | "));
}
