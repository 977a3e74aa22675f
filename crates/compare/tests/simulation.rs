//! What verdicts are worth: pairs of whole made-up runs, of which the truth is known. 54 cells × 4 metrics; noise between
//! launches 2 %, within them 5 % with outliers and autocorrelation. The seeds are fixed.
//!
//! ```text
//! cargo test --release -p compare --test simulation -- --nocapture
//! ```

use std::collections::BTreeMap;

use compare::{ComparedFigure, Criteria, Report, Subject, Thresholds, compare};
use protocol::{
    CellKey, Device, Environment, Generation, Measured, MeasuredCell, Measurement, Memory, Outcome, Pair,
    Precision, ProgramVersion, Ranks, SCHEMA,
};
use results::Run;
use stats::Verdict;
use testing::simulate::{Noise, Rng};

const ENGINES: [&str; 3] = ["onnxruntime", "pytorch-eager", "pytorch-compile"];
const TOKENS: usize = 128;

fn environment() -> Environment {
    Environment {
        started: String::new(),
        program: ProgramVersion { version: String::new(), git_revision: None },
        kernel: String::new(),
        cpu: String::new(),
        cores: 2,
        cpu_governor: None,
        processor: None,
        memory_bytes: 0,
        load_average: 0.0,
        gpus: Vec::new(),
        ceilings: None,
        engines: BTreeMap::new(),
        programs: BTreeMap::new(),
        models: BTreeMap::new(),
        machine: None,
        sweep_sha256: String::new(),
        pair: None,
        shard: None,
        locked_gpu_clocks: None,
        differs_from_first_part: Vec::new(),
    }
}

/// How pairs of runs are made up.
#[derive(Clone, Copy)]
struct Case {
    launches: u32,
    /// The second engine's factor on the candidate's side.
    slower: f64,
    /// Deviation between launches, of each side by itself.
    own: f64,
    /// Deviation between launches of what both sides go through.
    shared: f64,
    /// Both sides say that they were measured interleaved.
    is_interleaved: bool,
}

/// The first run of a pair or the second: 3 engines × 3 batch sizes × 6 prompt lengths. `machine` is what happens to both.
fn run(rng: &mut Rng, mut machine: Rng, case: Case, is_baseline: bool) -> Run {
    let Case { launches, slower, own, shared, is_interleaved } = case;
    let noise = Noise { correlation: 0.5, outliers: 0.02, ..Noise::plain(own, 0.05) };
    // A sum of forwards, and a peak: one figure a launch.
    let total = Noise::plain(own, 0.005);
    let mut records = Vec::new();
    for engine in ENGINES {
        let factor = if engine == ENGINES[1] && !is_baseline { slower } else { 1.0 };
        for (batch_size, prompt_length) in [1, 4, 16]
            .into_iter()
            .flat_map(|batch| [16, 64, 256, 512, 1024, 2048].map(|prompt| (batch, prompt)))
        {
            for replicate in 0..launches {
                let factor = factor * (shared * machine.normal()).exp();
                let mut figures = |noise: &Noise, level: f64, count: usize| {
                    let launch = noise.launch(rng);
                    noise.figures(rng, level * factor, launch, count)
                };
                let prompt_seconds = figures(&noise, 0.01, 10);
                let token_seconds = figures(&noise, 0.002, TOKENS);
                let wall_seconds = figures(&total, 0.3, 1)[0];
                let peak_bytes = Some(figures(&total, 1e9, 1)[0] as u64);
                let series = Measured {
                    prompt_seconds,
                    generations: vec![Generation { prompt_seconds: 0.01, token_seconds, wall_seconds }],
                    memory: Memory { peak_bytes, ..Memory::default() },
                    tokens_sha256: String::new(),
                    device_seconds: None,
                    ranks: Vec::new(),
                    collectives: None,
                };
                records.push(Measurement {
                    schema: SCHEMA,
                    key: CellKey {
                        model: "llama2-7b".into(),
                        precision: Precision::Fp16,
                        device: Device::Cuda(0),
                        ranks: Ranks::ONE,
                        engine: engine.into(),
                        batch_size,
                        prompt_length,
                        generation_length: TOKENS as u32,
                    },
                    replicate,
                    part: 1,
                    device_memory_limit_bytes: None,
                    procedure: None,
                    read_bytes_per_second: None,
                    gpu: None,
                    outcome: Outcome::Ok(Box::new(MeasuredCell {
                        load_seconds: None,
                        notes: Vec::new(),
                        series,
                    })),
                });
            }
        }
    }
    let pair = is_interleaved.then(|| Pair { id: "one".into(), is_baseline });
    let environments = vec![Environment { pair, ..environment() }];
    Run {
        dir: "run".into(),
        name: "run".into(),
        expected: records.len(),
        tables: results::tables(records, &[], &environments),
        environments,
        settings: vec![BTreeMap::new()],
        verifications: Vec::new(),
    }
}

/// What `look` sees in `pairs` pairs of runs, compared on as many threads as there are.
fn reports<T: Send>(pairs: u64, case: Case, threshold: f64, look: impl Fn(&Report) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let criteria = Criteria { thresholds: Thresholds::all(threshold), allow_drift: false };
    let of_thread = |thread: u64| {
        let report = |pair: u64| {
            let mut rng = Rng::new(pair);
            let machine = Rng::new(!pair);
            let baseline = run(&mut rng, machine.clone(), case, true);
            let candidate = run(&mut rng, machine, case, false);
            let [baseline, candidate] = [&baseline, &candidate].map(|run| Subject::from_run(run).unwrap());
            look(&compare(&baseline, &candidate, &criteria).unwrap())
        };
        (thread..pairs).step_by(threads as usize).map(report).collect::<Vec<T>>()
    };
    std::thread::scope(|scope| {
        let start = |thread| scope.spawn(move || of_thread(thread));
        let started: Vec<_> = (0..threads).map(start).collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn share(hits: impl ExactSizeIterator<Item = bool>) -> f64 {
    let all = hits.len();
    hits.filter(|hit| *hit).count() as f64 / all as f64
}

fn cells(report: &Report) -> impl Iterator<Item = &ComparedFigure> {
    report.lines().map(|(_, line)| line).filter(|line| line.size.is_some())
}

/// Two runs one after the other.
const APART: Case = Case { launches: 5, slower: 1.0, own: 0.02, shared: 0.0, is_interleaved: false };

/// How many of a report's intervals hold that nothing changed.
fn held(report: &Report) -> usize {
    assert_eq!(cells(report).count(), 216);
    let holds = |line: &&ComparedFigure| {
        let interval = line.interval.unwrap();
        (interval.low..=interval.high).contains(&1.0)
    };
    cells(report).filter(holds).count()
}

#[test]
fn what_both_sides_of_an_interleaved_run_go_through_hides_nothing() {
    let [apart, pairs] = [false, true].map(|is_interleaved| {
        let case = Case { own: 0.015, shared: 0.05, is_interleaved, ..APART };
        let seen = reports(200, case, 0.05, |report| {
            let is_unchanged = |line: &&ComparedFigure| line.verdict == Verdict::Unchanged;
            (report.counts().regressed > 0, held(report), cells(report).filter(is_unchanged).count())
        });
        let of_all = |count: usize| count as f64 / (216.0 * seen.len() as f64);
        let regressed = share(seen.iter().map(|seen| seen.0));
        let held = of_all(seen.iter().map(|seen| seen.1).sum());
        let unchanged = of_all(seen.iter().map(|seen| seen.2).sum());
        println!(
            "interleaved {is_interleaved}: unchanged {:.1} %, 95 % intervals that hold the truth {:.2} %, regressed in {:.2} % of pairs",
            unchanged * 100.0,
            held * 100.0,
            regressed * 100.0
        );
        (regressed, held, unchanged)
    });
    assert!(pairs.0 <= 0.01, "{pairs:?}");
    assert!((0.93..=0.97).contains(&pairs.1), "{pairs:?}");
    assert!(pairs.2 > 0.7 && apart.2 < 0.1, "{pairs:?} {apart:?}");
}

#[test]
fn where_nothing_changed_hardly_a_pair_ends_in_a_regression_and_intervals_hold_what_they_say() {
    let seen = reports(2000, APART, 0.02, |report| {
        let counts = report.counts();
        (counts.regressed > 0, counts.improved > 0, held(report))
    });
    let regressed = share(seen.iter().map(|seen| seen.0));
    let improved = share(seen.iter().map(|seen| seen.1));
    let held = seen.iter().map(|seen| seen.2).sum::<usize>() as f64 / (216.0 * seen.len() as f64);
    println!("regressed in {:.2} % of pairs, improved in {:.2} %", regressed * 100.0, improved * 100.0);
    println!("95 % intervals that hold the truth: {:.2} %", held * 100.0);
    assert!(regressed <= 0.01, "{regressed}");
    assert!((0.93..=0.97).contains(&held), "{held}");
}

#[test]
fn an_engine_that_became_slower_is_found() {
    for (slower, least) in [(1.05, 0.95), (1.10, 0.99)] {
        let seen = reports(200, Case { launches: 10, slower, ..APART }, 0.02, |report| {
            let is_regressed = |line: &ComparedFigure| line.verdict == Verdict::Regressed;
            let is_affected = |line: &ComparedFigure| line.engine == ENGINES[1];
            let affected: Vec<&ComparedFigure> = cells(report).filter(|line| is_affected(line)).collect();
            let found = share(affected.iter().map(|line| is_regressed(line)));
            let wrong = report.lines().any(|(_, line)| !is_affected(line) && is_regressed(line));
            (report.counts().regressed > 0, found, wrong)
        });
        let found = share(seen.iter().map(|seen| seen.0));
        let of_cells = seen.iter().map(|seen| seen.1).sum::<f64>() / seen.len() as f64;
        let wrong = share(seen.iter().map(|seen| seen.2));
        println!(
            "{:.0} % slower: found in {:.1} % of pairs, {:.1} % of its figures; another engine's called in {:.1} % of pairs",
            (slower - 1.0) * 100.0,
            found * 100.0,
            of_cells * 100.0,
            wrong * 100.0
        );
        assert!(found >= least, "{found}");
        assert!(wrong <= 0.02, "{wrong}");
    }
}
