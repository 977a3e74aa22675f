//! What verdicts are worth: pairs of whole made-up runs, of which the truth is known. 18 cells of 5 metrics. The seeds are fixed.
//! `crates/stats/tests/simulation/verdicts.rs` has the same of many noise models, without records.
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
use testing::simulate::{Rng, SimulatedNoise};

const ENGINES: [&str; 3] = ["onnxruntime", "pytorch-eager", "pytorch-compile"];
const PROMPTS: [u32; 6] = [16, 64, 256, 512, 1024, 2048];
const TOKENS: usize = 128;

fn environment() -> Environment {
    Environment {
        id: None,
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
        peaks: None,
        engines: BTreeMap::new(),
        programs: BTreeMap::new(),
        engines_file: None,
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
    replicates: u32,
    /// What the candidate's second engine is slower by, or its first cell alone.
    slower: f64,
    is_one_cell: bool,
    /// Deviation between replicates, of each metric by itself.
    own: f64,
    /// Deviation between replicates of what both sides go through.
    shared: f64,
    /// Deviation between runs.
    between_runs: f64,
    /// Both sides say that they were measured interleaved.
    is_interleaved: bool,
}

/// The first run of a pair or the second: 3 engines of 6 prompt lengths. `machine` is what happens to both.
fn run(rng: &mut Rng, mut machine: Rng, case: Case, is_baseline: bool) -> Run {
    let Case { replicates, slower, is_one_cell, own, shared, between_runs, is_interleaved } = case;
    let level = between_runs * rng.normal();
    let noise = SimulatedNoise { correlation: 0.5, ..SimulatedNoise::plain(own, 0.02) };
    // A sum of forwards, and a peak: one figure a replicate.
    let total = SimulatedNoise::plain(own, 0.005);
    let mut records = Vec::new();
    for engine in ENGINES {
        for prompt_length in PROMPTS {
            let is_slower =
                engine == ENGINES[1] && !is_baseline && (!is_one_cell || prompt_length == PROMPTS[0]);
            let factor = if is_slower { slower } else { 1.0 };
            let batch_size = 1;
            for replicate in 0..replicates {
                let factor = factor * (level + shared * machine.normal()).exp();
                let mut figures = |noise: &SimulatedNoise, level: f64, count: usize| {
                    let replicate = noise.replicate(rng);
                    noise.figures(rng, level * factor, replicate, count)
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
                    machine_load: None,
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
    let criteria = Criteria::new(Thresholds::all(threshold));
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

/// Two sides of an interleaved run.
const PAIRS: Case = Case {
    replicates: 5,
    slower: 1.0,
    is_one_cell: false,
    own: 0.02,
    shared: 0.0,
    between_runs: 0.0,
    is_interleaved: true,
};

/// Lines of cells: the prompt, the first 128 tokens, the time per output token, the wall clock and the memory of each.
const LINES: usize = 18 * 5;

/// How many of a report's intervals hold that nothing changed.
fn held(report: &Report) -> usize {
    assert_eq!(cells(report).count(), LINES);
    let holds = |line: &&ComparedFigure| {
        let interval = line.interval.unwrap();
        (interval.low..=interval.high).contains(&1.0)
    };
    cells(report).filter(holds).count()
}

#[test]
fn interleaved_sides_of_which_nothing_changed_are_unchanged() {
    for (name, case) in [("2 %", PAIRS), ("1.5 %, 5 % shared", Case { own: 0.015, shared: 0.05, ..PAIRS })] {
        let seen = reports(400, case, 0.05, |report| {
            let unchanged = report.lines().filter(|(_, line)| line.verdict == Verdict::Unchanged).count();
            (report.counts().regressed > 0, held(report), unchanged, report.lines().count())
        });
        let regressed = share(seen.iter().map(|seen| seen.0));
        let held = seen.iter().map(|seen| seen.1).sum::<usize>() as f64 / (LINES * seen.len()) as f64;
        let unchanged = seen.iter().map(|seen| seen.2).sum::<usize>() as f64
            / seen.iter().map(|seen| seen.3).sum::<usize>() as f64;
        println!(
            "{name}: regressed in {:.2} % of pairs, lines unchanged {:.1} %, 95 % intervals that hold the truth {:.2} %",
            regressed * 100.0,
            unchanged * 100.0,
            held * 100.0
        );
        assert!(regressed <= 0.01, "{regressed}");
        assert!(unchanged >= 0.9, "{unchanged}");
        assert!((0.93..=0.98).contains(&held), "{held}");
    }
}

#[test]
fn two_runs_that_differ_without_a_change_are_provisional_at_most() {
    for between_runs in [0.02, 0.05] {
        let case = Case { own: 0.01, between_runs, is_interleaved: false, ..PAIRS };
        let seen = reports(400, case, 0.05, |report| {
            assert!(report.lines().all(|(_, line)| line.interval.is_none()));
            (report.counts().regressed > 0, report.counts().provisional > 0)
        });
        let regressed = share(seen.iter().map(|seen| seen.0));
        let provisional = share(seen.iter().map(|seen| seen.1));
        println!(
            "runs differ by {:.0} %: regressed in {:.2} % of pairs, provisional in {:.1} %",
            between_runs * 100.0,
            regressed * 100.0,
            provisional * 100.0
        );
        assert!(regressed <= 0.01, "{regressed}");
    }
}

#[test]
fn a_slower_engine_is_found_and_so_is_a_slower_cell() {
    let cases = [
        ("an engine 3 % slower", Case { slower: 1.03, replicates: 10, ..PAIRS }, 0.0, 0.01),
        ("an engine 10 % slower", Case { slower: 1.10, ..PAIRS }, 0.99, 1.0),
        ("a cell 10 % slower", Case { slower: 1.10, is_one_cell: true, ..PAIRS }, 0.95, 1.0),
    ];
    for (name, case, least, most) in cases {
        let seen = reports(200, case, 0.05, |report| {
            let is_regressed = |line: &ComparedFigure| line.verdict == Verdict::Regressed;
            let wrong = report.lines().any(|(_, line)| line.engine != ENGINES[1] && is_regressed(line));
            (report.counts().regressed > 0, wrong)
        });
        let found = share(seen.iter().map(|seen| seen.0));
        let wrong = share(seen.iter().map(|seen| seen.1));
        println!(
            "{name}: found in {:.1} % of pairs, another engine's called in {:.1} %",
            found * 100.0,
            wrong * 100.0
        );
        assert!((least..=most).contains(&found), "{name}: {found}");
        assert!(wrong <= 0.02, "{name}: {wrong}");
    }
}
