//! Shifts in a history of runs: how often one is seen where there is none, and where there is.

use stats::{Replicates, Shift, shifts};
use testing::simulate::{Between, Rng, SimulatedNoise};

use crate::{experiments, is_long, percent, tolerance};

/// The noise of a history: between runs, and between the replicates of each.
#[derive(Clone, Copy)]
struct Machine {
    runs: SimulatedNoise,
    replicates: SimulatedNoise,
    /// The correlation of a run's noise with that of the run before it.
    correlation: f64,
}

fn machine(shape: Between, between_runs: f64, between_replicates: f64) -> Machine {
    Machine {
        runs: SimulatedNoise { shape, ..SimulatedNoise::plain(between_runs, 0.0) },
        replicates: SimulatedNoise::plain(between_replicates, 0.0),
        correlation: 0.0,
    }
}

/// 2 % between replicates and `between_runs` between runs.
fn usual(between_runs: f64) -> Machine {
    machine(Between::Normal, between_runs, 0.02)
}

impl Machine {
    /// Runs of `replicate_count` replicates around `levels`.
    fn history(&self, rng: &mut Rng, levels: &[f64], replicate_count: usize) -> Vec<Replicates> {
        let mut state = self.runs.replicate(rng);
        let fresh = (1.0 - self.correlation * self.correlation).sqrt();
        let history = levels.iter().map(|level| {
            let figures: Vec<_> = (0..replicate_count)
                .map(|_| level * (state + self.replicates.replicate(rng)).exp())
                .collect();
            state = self.correlation * state + fresh * self.runs.replicate(rng);
            Replicates::new((0..).zip(figures)).expect("positive figures")
        });
        history.collect()
    }
}

/// `runs` levels, of which each of `changes` is a run and the ratio that all have from it on.
fn levels(runs: usize, changes: &[(usize, f64)]) -> Vec<f64> {
    let of_run = |run| changes.iter().filter(|(first, _)| *first <= run).map(|(_, ratio)| ratio).product();
    (0..runs).map(of_run).collect()
}

/// Counts, among `count` histories without a shift, those in which one is found: at threshold 0 and at 5 %.
fn alarms(machine: Machine, runs: usize, replicate_count: usize, count: usize) -> [usize; 2] {
    let mut rng = Rng::new((runs * replicate_count) as u64);
    let mut alarms = [0; 2];
    for _ in 0..count {
        let history = machine.history(&mut rng, &vec![1.0; runs], replicate_count);
        for (alarms, threshold) in alarms.iter_mut().zip([0.0, 0.05]) {
            *alarms += usize::from(!shifts(&history, threshold).is_empty());
        }
    }
    alarms
}

#[test]
fn a_history_that_stays_has_no_shift() {
    let count = experiments(1_000, 20_000);
    let runs = [6, 10, 20, 50, 200, 500];
    let (runs, replicates): (&[usize], &[usize]) =
        if is_long() { (&runs, &[1, 5, 10]) } else { (&runs[..5], &[1]) };
    println!(
        "\nHistories without a shift in which one is found at threshold 0, of {replicates:?} replicates a run"
    );
    println!("| between replicates, between runs | {runs:?} |");
    let wild = |between_runs, between_replicates| machine(Between::Wild, between_runs, between_replicates);
    let machines = [
        ("2 %, 0 %", usual(0.0)),
        ("2 %, 2 %", usual(0.02)),
        ("2 %, 5 %", usual(0.05)),
        ("2 %, 2 % with wild runs (t₃)", wild(0.02, 0.02)),
        ("0 %, 2 % with wild runs (t₃)", wild(0.02, 0.0)),
        ("0.5 %, 2 % in two modes", machine(Between::TwoModes, 0.02, 0.005)),
    ];
    let mut large = 0;
    for (name, machine) in machines {
        let shown = runs.iter().map(|runs| {
            let of_replicates = replicates.iter().map(|replicate_count| {
                let [any, of_5_percent] = alarms(machine, *runs, *replicate_count, count);
                let share = any as f64 / count as f64;
                // The limit that the crate's documentation states.
                let level =
                    if machine.runs.shape == Between::TwoModes { 2.5 * Shift::LEVEL } else { Shift::LEVEL };
                assert!(share <= level + tolerance(level, count), "{name}, {runs} runs: {share}");
                large = large.max(of_5_percent);
                percent(any, count)
            });
            of_replicates.collect::<Vec<_>>().join(" / ")
        });
        println!("| {name} | {} |", shown.collect::<Vec<_>>().join(" | "));
    }
    println!("At threshold 5 %, the most: {}", percent(large, count));
}

#[test]
fn runs_that_follow_each_other_are_a_limit() {
    if !is_long() {
        return;
    }
    let count = 5_000;
    println!(
        "\nThe same where runs follow each other, threshold 0 / 5 %: 10, 20, 50, 200 runs of 5 replicates"
    );
    for correlation in [0.2, 0.5, 0.8] {
        let machine = Machine { correlation, ..usual(0.02) };
        let shown = [10, 20, 50, 200]
            .map(|runs| alarms(machine, runs, 5, count).map(|n| percent(n, count)).join(" / "));
        println!("| {correlation} | {} |", shown.join(" | "));
    }
}

/// What was found of known changes.
#[derive(Default)]
struct Found {
    /// Histories in which every change was found at its run, within one run, within three.
    within: [usize; 3],
    /// Histories with a shift more than three runs from every change.
    elsewhere: usize,
}

fn find(machine: Machine, runs: usize, changes: &[(usize, f64)], threshold: f64, count: usize) -> Found {
    let (mut rng, levels) = (Rng::new(21), levels(runs, changes));
    let mut found = Found::default();
    for _ in 0..count {
        let shifts = shifts(&machine.history(&mut rng, &levels, 5), threshold);
        let near = |reach| {
            move |shift: &Shift, (run, ratio): &(usize, f64)| {
                shift.run.abs_diff(*run) <= reach && (shift.ratio > 1.0) == (*ratio > 1.0)
            }
        };
        for (within, reach) in found.within.iter_mut().zip([0, 1, 3]) {
            let all = changes.iter().all(|change| shifts.iter().any(|shift| near(reach)(shift, change)));
            *within += usize::from(all);
        }
        let stray = |shift: &Shift| !changes.iter().any(|change| near(3)(shift, change));
        found.elsewhere += usize::from(shifts.iter().any(stray));
    }
    found
}

#[test]
fn a_lasting_shift_is_found_at_its_run() {
    let count = experiments(200, 5_000);
    println!(
        "\nHistories with a shift of 5 / 10 / 20 % in which it is found within one run, threshold 2 %, 5 replicates"
    );
    println!(
        "| between runs | 5 of 10 | 10 of 20 | 25 of 50 | 45 of 50 | 47 of 50 | 195 of 200 |\n|---|---|---|---|---|---|---|"
    );
    let wild = Machine {
        runs: SimulatedNoise { shape: Between::Wild, ..SimulatedNoise::plain(0.02, 0.0) },
        ..usual(0.0)
    };
    for (name, machine) in
        [("0 %", usual(0.0)), ("2 %", usual(0.02)), ("2 %, wild", wild), ("5 %", usual(0.05))]
    {
        let places = [(5, 10), (10, 20), (25, 50), (45, 50), (47, 50), (195, 200)];
        let shown = places.map(|(run, runs)| {
            let of_size = |ratio| find(machine, runs, &[(run, ratio)], 0.02, count);
            let found = [1.05, 1.1, 1.2].map(of_size);
            let strays = found.iter().map(|found| found.elsewhere).max().expect("three");
            assert!(
                name == "5 %" || strays as f64 <= 0.03 * count as f64,
                "{name}, {run} of {runs}: {strays} elsewhere"
            );
            let enough = |found: &Found, wanted: f64| found.within[1] as f64 >= wanted * count as f64;
            let wanted = match (name, run) {
                ("5 %", _) => [0.0, 0.0, if run == 25 { 0.8 } else { 0.0 }],
                ("0 %", _) => [0.7, 0.95, 0.95],
                (_, 5) => [0.0, 0.5, 0.9],
                _ => [0.3, 0.9, 0.95],
            };
            assert!(
                found.iter().zip(wanted).all(|(found, wanted)| enough(found, wanted)),
                "{name}, {run} of {runs}: {:?}",
                found.each_ref().map(|found| found.within)
            );
            found.each_ref().map(|found| percent(found.within[1], count)).join(" / ")
        });
        println!("| {name} | {} |", shown.join(" | "));
    }
    println!(
        "\nOf these, 2 % between runs, 25 of 50: at its run / within one / within three / another one elsewhere"
    );
    for ratio in [1.05, 1.1, 1.2] {
        let found = find(usual(0.02), 50, &[(25, ratio)], 0.02, count);
        let [exact, one, three] = found.within.map(|n| percent(n, count));
        println!("| {ratio} | {exact} | {one} | {three} | {} |", percent(found.elsewhere, count));
    }
}

#[test]
fn a_shift_that_goes_back_is_two() {
    let count = experiments(200, 5_000);
    println!(
        "\nHistories with several shifts of 5 / 10 / 20 % in which all are found within one run, threshold 2 %"
    );
    println!(
        "| between runs | up 17, down 33 of 50 | up 20, down 25 of 50 | up 100, down 105 of 200 | up 10, down 20, up 30, down 40 of 50 | up 17, up 33 of 50 |"
    );
    for between in [0.0, 0.02, 0.05] {
        let shapes: [(usize, &[(usize, f64)]); 5] = [
            (50, &[(17, 1.0), (33, -1.0)]),
            (50, &[(20, 1.0), (25, -1.0)]),
            (200, &[(100, 1.0), (105, -1.0)]),
            (50, &[(10, 1.0), (20, -1.0), (30, 1.0), (40, -1.0)]),
            (50, &[(17, 1.0), (33, 1.0)]),
        ];
        let shown = shapes.map(|(runs, shape)| {
            let found = [1.05_f64, 1.1, 1.2].map(|ratio| {
                let changes: Vec<_> = shape.iter().map(|(run, way)| (*run, ratio.powf(*way))).collect();
                find(usual(between), runs, &changes, 0.02, count).within[1]
            });
            assert!(between > 0.02 || found[2] * 100 >= 90 * count, "{between} {shape:?}: {found:?}");
            found.map(|n| percent(n, count)).join(" / ")
        });
        println!("| {:.0} % | {} |", 100.0 * between, shown.join(" | "));
    }
}

#[test]
fn an_outlying_run_is_no_shift_and_hides_none() {
    let count = experiments(300, 5_000);
    println!(
        "\nWith one run anywhere that takes twice as long: without a shift, one is found / with 10 % at the middle, it is found"
    );
    println!("| 8 runs | 10 runs | 20 runs | 50 runs | 200 runs |");
    let shown = [8, 10, 20, 50, 200].map(|runs| {
        let mut rng = Rng::new(runs as u64);
        let (mut alarms, mut hits) = (0, 0);
        for _ in 0..count {
            for shifted in [false, true] {
                let mut levels = levels(runs, &[(runs / 2, if shifted { 1.1 } else { 1.0 })]);
                levels[rng.below(runs)] *= 2.0;
                let found = shifts(&usual(0.02).history(&mut rng, &levels, 5), 0.02);
                if shifted {
                    hits += usize::from(found.iter().any(|shift| shift.run.abs_diff(runs / 2) <= 1));
                } else {
                    alarms += usize::from(!found.is_empty());
                }
            }
        }
        let share = alarms as f64 / count as f64;
        assert!(share <= Shift::LEVEL + tolerance(Shift::LEVEL, count), "{runs}: {share}");
        assert!(runs < 20 || hits * 100 >= 70 * count, "{runs}: {hits}");
        format!("{} / {}", percent(alarms, count), percent(hits, count))
    });
    println!("| {} |", shown.join(" | "));
}

#[test]
fn a_slow_drift_gives_few_shifts() {
    let count = experiments(100, 2_000);
    println!(
        "\nShifts a history, 2 % between runs, 5 replicates, threshold 5 %, of a drift from the first run to the last"
    );
    println!("| runs | 3 % | 5 % | 10 % | 20 % |\n|---|---|---|---|---|");
    for runs in [20, 50, 200] {
        let shown = [1.03_f64, 1.05, 1.1, 1.2].map(|drift| {
            let mut rng = Rng::new(22);
            let levels: Vec<_> =
                (0..runs).map(|run| drift.powf(f64::from(run) / f64::from(runs - 1))).collect();
            let mut history = || usual(0.02).history(&mut rng, &levels, 5);
            let found: usize = (0..count).map(|_| shifts(&history(), 0.05).len()).sum();
            let mean = found as f64 / count as f64;
            assert!(mean <= (drift - 1.0) / 0.05, "{runs} {drift}: {mean}");
            format!("{mean:.2}")
        });
        println!("| {runs} | {} |", shown.join(" | "));
    }
}
