//! What verdicts are worth: made-up comparisons of 18 cells, 3 engines of 6 sizes, of which the truth is known. Threshold 5 %.
//!
//! Two sides are measured as `run --against` does it: replicate by replicate, engine by engine, A B and then B A, each side's six
//! cells one after the other. So every figure has a place in time, and a machine whose speed changes hits what was measured then.

use std::collections::BTreeMap;

use stats::{Estimate, Judgement, Line, PooledVariance, Replicates, Trend, Verdict, judge, paired_estimates};
use testing::simulate::{Between, Rng, SimulatedNoise};

use crate::{experiments, percent, tolerance};

pub(crate) const ENGINES: usize = 3;
pub(crate) const SIZES: usize = 6;
const THRESHOLD: f64 = 0.05;

/// Tests beside these lines: a real comparison has four metrics more, most of them in mean and median.
const OTHER_TESTS: [f64; 8 * ENGINES * SIZES] = [1.0; 8 * ENGINES * SIZES];

/// How two sides are made up. Deviations are of logarithms.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) replicates: usize,
    /// The noise of one cell in one replicate on one side.
    pub(crate) own: f64,
    pub(crate) shape: Between,
    /// The first size's deviation is this many times less than `own`, the last one's as many times more.
    pub(crate) unequal: f64,
    /// The noise that an engine's cells share in a replicate on a side: one worker measures them.
    pub(crate) worker: f64,
    /// The noise that both sides share in a replicate.
    pub(crate) shared: f64,
    /// The drift from the first figure to the last.
    pub(crate) drift: f64,
    /// The noise of a machine whose speed follows itself from figure to figure with a correlation of 0.9.
    pub(crate) wandering: f64,
    /// What the candidate's figures are multiplied by.
    pub(crate) slower: Slower,
}

#[derive(Clone, Copy)]
pub(crate) enum Slower {
    None,
    All(f64),
    Engine(f64),
    Cell(f64),
}

impl Slower {
    pub(crate) fn factor(self, cell: usize) -> f64 {
        match self {
            Self::None => 1.0,
            Self::All(factor) => factor,
            Self::Engine(factor) => {
                if cell < SIZES {
                    factor
                } else {
                    1.0
                }
            }
            Self::Cell(factor) => {
                if cell == 0 {
                    factor
                } else {
                    1.0
                }
            }
        }
    }
}

pub(crate) const QUIET: Scenario = Scenario {
    replicates: 5,
    own: 0.02,
    shape: Between::Normal,
    unequal: 1.0,
    worker: 0.0,
    shared: 0.0,
    drift: 0.0,
    wandering: 0.0,
    slower: Slower::None,
};

impl Scenario {
    pub(crate) fn own(self, own: f64) -> Self {
        Self { own, ..self }
    }
}

/// Both sides of every cell.
pub(crate) fn pair(rng: &mut Rng, scenario: Scenario) -> Vec<[Replicates; 2]> {
    let Scenario { replicates, own, shape, unequal, worker, shared, drift, wandering, slower } = scenario;
    let cells = ENGINES * SIZES;
    let mut logs = vec![[const { Vec::new() }; 2]; cells];
    let (mut place, places) = (0.0, (replicates * cells * 2 - 1) as f64);
    let mut speed = wandering * rng.normal();
    for replicate in 0..replicates {
        let both = shared * rng.normal();
        for engine in 0..ENGINES {
            for turn in 0..2 {
                let side = (turn + replicate) % 2;
                let worker = worker * rng.normal();
                for size in 0..SIZES {
                    let cell = engine * SIZES + size;
                    let unequal = unequal.powf(2.0 * size as f64 / (SIZES - 1) as f64 - 1.0);
                    let noise = SimulatedNoise { shape, ..SimulatedNoise::plain(own * unequal, 0.0) };
                    let factor = if side == 1 { slower.factor(cell).ln() } else { 0.0 };
                    let log = noise.replicate(rng) + worker + both + speed + drift * place / places + factor;
                    logs[cell][side].push((replicate as u32, log.exp()));
                    place += 1.0;
                    speed = 0.9 * speed + (1.0_f64 - 0.81).sqrt() * wandering * rng.normal();
                }
            }
        }
    }
    logs.into_iter().map(|sides| sides.map(|side| Replicates::new(side).unwrap())).collect()
}

/// What a drift widens the interval by.
fn margin(side: &Replicates) -> f64 {
    Trend::fit(side).filter(|trend| trend.is_drift(THRESHOLD)).map_or(0.0, |trend| trend.ratio.ln().abs())
}

/// The estimates of all cells, then of the engines' means, each with its true ratio; as `compare` makes them.
pub(crate) fn estimates(sides: &[[Replicates; 2]], slower: Slower, is_paired: bool) -> Vec<(Estimate, f64)> {
    let group = |sides: &[[Replicates; 2]]| -> Vec<Estimate> {
        if is_paired {
            let ratios: Vec<Replicates> =
                sides.iter().map(|[baseline, candidate]| candidate.over(baseline).unwrap()).collect();
            let none = vec![BTreeMap::new(); ratios.len()];
            let estimates = paired_estimates(&ratios.iter().collect::<Vec<_>>(), &none, None);
            let widened = |(estimate, ratios): (Option<Estimate>, &Replicates)| {
                estimate.unwrap().widened(margin(ratios))
            };
            return estimates.into_iter().zip(&ratios).map(widened).collect();
        }
        let pool = PooledVariance::new(&sides.iter().flatten().collect::<Vec<_>>());
        let estimates = sides.iter().map(|[baseline, candidate]| {
            Estimate::separate(baseline, candidate, &pool)
                .unwrap()
                .widened(margin(baseline) + margin(candidate))
        });
        estimates.collect()
    };
    let truth = (0..sides.len()).map(|cell| slower.factor(cell));
    let means: Vec<[Replicates; 2]> = sides
        .chunks(SIZES)
        .map(|cells| {
            [0, 1].map(|side| {
                Replicates::geometric_mean(&cells.iter().map(|cell| &cell[side]).collect::<Vec<_>>()).unwrap()
            })
        })
        .collect();
    let of_engine = |engine: usize| {
        let logs: f64 = (0..SIZES).map(|size| slower.factor(engine * SIZES + size).ln()).sum();
        (logs / SIZES as f64).exp()
    };
    let cells = group(sides).into_iter().zip(truth);
    cells.chain(group(&means).into_iter().zip((0..ENGINES).map(of_engine))).collect()
}

fn verdicts(estimates: &[(Estimate, f64)]) -> Vec<Judgement> {
    let line = |(at, (estimate, _)): (usize, &(Estimate, f64))| Line {
        mean: Some(estimate.clone()),
        median: None,
        threshold: THRESHOLD,
        is_engine: at >= ENGINES * SIZES,
    };
    let lines: Vec<Line> = estimates.iter().enumerate().map(line).collect();
    judge(&lines, &OTHER_TESTS, 1.0).0
}

/// What is counted over many comparisons.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) pairs: usize,
    /// Pairs with something regressed.
    pub(crate) regressed: usize,
    pub(crate) improved: usize,
    pub(crate) lines: usize,
    pub(crate) unchanged: usize,
    /// Intervals of cells and of means that hold the truth.
    pub(crate) held: [usize; 2],
}

impl Seen {
    pub(crate) fn share(of: usize, all: usize) -> f64 {
        of as f64 / all as f64
    }

    pub(crate) fn coverage(&self) -> [f64; 2] {
        [
            Self::share(self.held[0], self.pairs * ENGINES * SIZES),
            Self::share(self.held[1], self.pairs * ENGINES),
        ]
    }

    pub(crate) fn add(&mut self, estimates: &[(Estimate, f64)]) {
        let judged = verdicts(estimates);
        let any = |verdict| judged.iter().any(|judgement| judgement.verdict == verdict);
        self.pairs += 1;
        self.regressed += usize::from(any(Verdict::Regressed));
        self.improved += usize::from(any(Verdict::Improved));
        self.lines += judged.len();
        self.unchanged += judged.iter().filter(|judgement| judgement.verdict == Verdict::Unchanged).count();
        for (at, (estimate, truth)) in estimates.iter().enumerate() {
            let interval = estimate.interval(0.05);
            self.held[usize::from(at >= ENGINES * SIZES)] +=
                usize::from((interval.low..=interval.high).contains(truth));
        }
    }

    pub(crate) fn row(&self, name: &str) -> String {
        let [cells, means] = self.coverage();
        format!(
            "| {name} | {} | {} | {} | {:.1} % / {:.1} % |",
            percent(self.regressed, self.pairs),
            percent(self.improved, self.pairs),
            percent(self.unchanged, self.lines),
            100.0 * cells,
            100.0 * means
        )
    }
}

fn look(scenario: Scenario, pairs: usize, seed: u64) -> Seen {
    let mut rng = Rng::new(seed);
    let mut seen = Seen::default();
    for _ in 0..pairs {
        seen.add(&estimates(&pair(&mut rng, scenario), scenario.slower, true));
    }
    seen
}

pub(crate) const HEAD: &str = "| noise | regressed | improved | lines unchanged | 95 % intervals that hold the truth, cells / means |\n|---|---|---|---|---|";

/// Allows three standard errors: in a test, shares come from few comparisons.
pub(crate) fn at_most(share: f64, limit: f64, count: usize, what: &str) {
    assert!(share <= limit + tolerance(limit, count), "{what}: {share} > {limit}");
}

pub(crate) fn at_least(share: f64, limit: f64, count: usize, what: &str) {
    assert!(share >= limit - tolerance(limit, count), "{what}: {share} < {limit}");
}

#[test]
fn interleaved_sides_of_which_nothing_changed() {
    let pairs = experiments(300, 10_000);
    println!(
        "\nInterleaved, nothing changed; {pairs} comparisons of 5 replicates where nothing else is said\n{HEAD}"
    );
    let scenarios = [
        ("0.5 %", QUIET.own(0.005), Some(1.0)),
        ("2 %", QUIET, Some(0.9)),
        ("10 %", QUIET.own(0.1), None),
        ("1.5 %, 5 % shared by both sides", Scenario { shared: 0.05, ..QUIET.own(0.015) }, Some(0.9)),
        ("2 %, 5 % shared by both sides", Scenario { shared: 0.05, ..QUIET }, Some(0.9)),
        ("2 %, wild replicates (t₃)", Scenario { shape: Between::Wild, ..QUIET }, Some(0.9)),
        ("2 % in two modes", Scenario { shape: Between::TwoModes, ..QUIET }, Some(0.9)),
        ("1 % to 4 %, by size", Scenario { unequal: 2.0, ..QUIET }, None),
        ("0.5 % to 8 %, by size", Scenario { unequal: 4.0, ..QUIET }, None),
        ("1 %, and 2 % shared by a worker's cells", Scenario { worker: 0.02, ..QUIET.own(0.01) }, None),
        ("0.2 %, and 2 % shared by a worker's cells", Scenario { worker: 0.02, ..QUIET.own(0.002) }, None),
        ("2 %, drift of 10 %", Scenario { drift: 0.1, ..QUIET }, Some(0.9)),
        (
            "1 %, on a machine that wanders by 2 % (AR(1), 0.9)",
            Scenario { wandering: 0.02, ..QUIET.own(0.01) },
            None,
        ),
        (
            "1 %, on a machine that wanders by 5 % (AR(1), 0.9)",
            Scenario { wandering: 0.05, ..QUIET.own(0.01) },
            None,
        ),
        ("2 %, 10 replicates", Scenario { replicates: 10, ..QUIET }, Some(0.9)),
        (
            "2 % in two modes, 10 replicates",
            Scenario { shape: Between::TwoModes, replicates: 10, ..QUIET },
            Some(0.9),
        ),
        ("2 %, drift of 10 %, 10 replicates", Scenario { drift: 0.1, replicates: 10, ..QUIET }, Some(0.9)),
    ];
    for (at, (name, scenario, unchanged)) in scenarios.into_iter().enumerate() {
        let seen = look(scenario, pairs, at as u64);
        println!("{}", seen.row(name));
        at_most(Seen::share(seen.regressed, pairs), 0.01, pairs, name);
        at_most(Seen::share(seen.improved, pairs), 0.01, pairs, name);
        at_least(Seen::share(seen.unchanged, seen.lines), unchanged.unwrap_or(0.0), pairs, name);
        // The cells of a comparison can share their noise, so that it counts as one.
        seen.coverage().into_iter().for_each(|share| at_least(share, 0.93, pairs, name));
        at_most(seen.coverage()[0], 0.98, pairs, name);
    }
}

#[test]
fn a_change_is_found_and_a_smaller_one_is_not_called() {
    let pairs = experiments(300, 10_000);
    println!("\n| slower, noise 2 % | replicates | comparisons with a regression |\n|---|---|---|");
    let cases = [
        ("all by 3 %", Slower::All(1.03), 5, 0.0, 0.01),
        ("all by 3 %", Slower::All(1.03), 10, 0.0, 0.01),
        ("all by 4 %", Slower::All(1.04), 5, 0.0, 0.10),
        ("all by 4 %", Slower::All(1.04), 10, 0.0, 0.05),
        ("one cell of 18 by 10 %", Slower::Cell(1.10), 5, 0.93, 1.0),
        ("one cell of 18 by 10 %", Slower::Cell(1.10), 7, 0.95, 1.0),
        ("one cell of 18 by 10 %", Slower::Cell(1.10), 10, 0.99, 1.0),
        ("one engine by 10 %", Slower::Engine(1.10), 5, 0.99, 1.0),
        ("one engine by 10 %", Slower::Engine(1.10), 10, 0.99, 1.0),
        ("all twice", Slower::All(2.0), 5, 1.0, 1.0),
    ];
    for (at, (name, slower, replicates, least, most)) in cases.into_iter().enumerate() {
        let seen = look(Scenario { slower, replicates, ..QUIET }, pairs, 100 + at as u64);
        println!("| {name} | {replicates} | {} |", percent(seen.regressed, pairs));
        let share = Seen::share(seen.regressed, pairs);
        at_least(share, least, pairs, name);
        at_most(share, most, pairs, name);
    }
    let scenario = Scenario { shared: 0.05, slower: Slower::Cell(1.10), ..QUIET.own(0.015) };
    let seen = look(scenario, pairs, 99);
    println!(
        "| one cell of 18 by 10 %, noise 1.5 %, 5 % shared by both sides | 5 | {} |",
        percent(seen.regressed, pairs)
    );
    at_least(Seen::share(seen.regressed, pairs), 0.95, pairs, "1.5 %, 5 % shared");
}
