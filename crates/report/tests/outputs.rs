//! Snapshots of every output format, over a run with every kind of row.

use std::collections::BTreeMap;

use protocol::{
    Agreement, CellFailure, CellSize, Environment, FailureKind, Generation, Measurement, Outcome, Precision,
    Procedure, Verification,
};
use results::{NoteKind, Table, tables};

mod measured;
use measured::{ended, environment, measured, texts, with_cell, with_key};

fn records() -> Vec<Measurement> {
    let other_tokens =
        with_cell(measured("pytorch-eager", 1, 16, 256), |cell| cell.series.tokens_sha256 = "bb".into());
    let inferred = CellFailure {
        kind: FailureKind::OutOfMemory,
        phase: None,
        error: "16×2048 ran out of memory, and this needs at least as much".into(),
        inferred_from: Some(CellSize { batch_size: 16, prompt_length: 2048 }),
    };
    let notes = |notes: &[&str]| notes.iter().map(ToString::to_string).collect::<Vec<_>>();
    let in_place = notes(&["KV cache in place", "a | note\u{1b}[31m of `two`\nlines"]);
    vec![
        with_cell(measured("onnxruntime", 1, 16, 256), |cell| cell.notes = in_place.clone()),
        with_cell(measured("onnxruntime", 16, 1024, 256), |cell| cell.notes = in_place),
        ended(
            "onnxruntime",
            16,
            2048,
            FailureKind::OutOfMemory,
            "Failed to allocate memory for requested buffer",
        ),
        other_tokens,
        ended("pytorch-eager", 16, 1024, FailureKind::Crashed, "ended by SIGSEGV"),
        ended("pytorch-eager", 16, 2048, FailureKind::TimedOut, "no answer within 3600 s"),
        Measurement { outcome: Outcome::Failed(inferred), ..measured("onnxruntime", 16, 3840, 256) },
        Measurement {
            part: 2,
            ..with_cell(measured("pytorch-eager", 1, 64, 256), |cell| {
                cell.notes = notes(&["4 threads, AVX512 kernels"]);
            })
        },
        ended("<script>|=1", 1, 16, FailureKind::Failed, "an | error\u{1b}[31m with `marks`"),
    ]
}

fn verification() -> Verification {
    let agreement = |engine: &str, error: f64| Agreement {
        engine: engine.into(),
        error: None,
        same_tokens: error < 1e-4,
        first_difference: None,
        logit_gap: None,
        largest_error: error,
        largest_error_at: Some((0, 1, 2)),
        own_tolerance: None,
    };
    Verification {
        model: "llama2-15m".into(),
        precision: Precision::Fp32,
        against: Some("reference".into()),
        reference_error: None,
        largest_logit: 1.0,
        tolerance: 1e-4,
        agreements: vec![agreement("onnxruntime", 1e-6), agreement("pytorch-eager", 0.5)],
        part: 1,
        reused: BTreeMap::new(),
        fidelity: None,
    }
}

fn run() -> Vec<Table> {
    let second = Environment {
        differs_from_first_part: vec![
            "cores: 2, here 4".into(),
            "libraries of pytorch-eager: libtorch 2.11.0, here libtorch 2.12.0".into(),
        ],
        ..environment()
    };
    tables(records(), &[verification()], &[environment(), second])
}

#[test]
fn markdown() {
    insta::assert_snapshot!(report::markdown::write(&run()));
}

#[test]
fn csv() {
    insta::assert_snapshot!(report::csv::write(&run()));
}

#[test]
fn json() {
    insta::assert_snapshot!(report::json::write(&run()));
}

#[test]
fn summary() {
    insta::assert_snapshot!(report::summary::write(&run()));
}

#[test]
fn scripted_latencies_are_said_in_every_format() {
    let hello = |virtual_clock| protocol::Hello { virtual_clock, ..protocol::Hello::default() };
    let engines = [("mock".to_owned(), hello(true)), ("onnxruntime".to_owned(), hello(false))];
    let records = vec![measured("mock", 1, 16, 256), measured("onnxruntime", 1, 16, 256)];
    let said = |engines: &[(String, protocol::Hello)]| {
        let environment = Environment { engines: engines.iter().cloned().collect(), ..environment() };
        let tables = tables(records.clone(), &[], &[environment]);
        let markdown = report::markdown::write(&tables);
        let (json, terminal) = (report::json::write(&tables), report::terminal::write(&tables, Some(100)));
        let words = "latencies of mock are scripted, not measured";
        let severity = tables[0].notes.first().filter(|note| note.kind == NoteKind::Scripted);
        let is_wrong = severity.is_some_and(|note| note.severity == results::NoteSeverity::Wrong);
        let csv = report::csv::write(&tables);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let column = reader.headers().unwrap().iter().position(|name| name == "Scripted").unwrap();
        let in_csv: Vec<bool> = reader.records().map(|record| &record.unwrap()[column] == "yes").collect();
        let texts = [&markdown, &json, &terminal].map(|text| text.contains(words));
        (texts, is_wrong, in_csv, json.matches("\"scripted\": true").count())
    };
    assert_eq!(said(&engines), ([true; 3], true, vec![true, false], 1));
    assert_eq!(said(&engines[1..]), ([false; 3], false, vec![false; 2], 0));
}

#[test]
fn the_csv_has_percentiles_and_tpot_after_all_earlier_columns() {
    let record = with_cell(measured("onnxruntime", 1, 16, 256), |cell| {
        let tokens: Vec<f64> = (1..=256).map(|millisecond| f64::from(millisecond) * 1e-3).collect();
        let wall = 1.0 + tokens.iter().sum::<f64>() + 256.0 * 0.004;
        cell.series.generations =
            vec![Generation { prompt_seconds: 1.0, token_seconds: tokens, wall_seconds: wall }];
    });
    let tables = tables(vec![record, ended("x", 1, 16, FailureKind::Failed, "e")], &[], &[environment()]);
    let text = report::csv::write(&tables);
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let [measured, failed] = &rows[..] else { panic!("{rows:?}") };
    let place = |name: &str| header.iter().position(|one| one == name).unwrap();
    for (name, figure) in [
        ("Token Latency Median (ms)", 128.5),
        ("Token Latency P90 (ms)", 230.5),
        ("Token Latency P95 (ms)", 243.25),
        ("Token Latency P99 (ms)", 253.45),
        ("Generations", 1.0),
        ("TPOT (ms)", 132.5),
        ("TPOT Median (ms)", 132.5),
        ("TPOT Deviation (ms)", 0.0),
        ("Wall-Clock Latency P99 (s)", 34.92),
    ] {
        let found: f64 = measured[place(name)].parse().unwrap();
        assert!((found - figure).abs() < 1e-6, "{name}: {found}");
        assert_eq!(&failed[place(name)], "", "{name}");
    }
    assert!(place("Prompt Latency P90 (ms)") > place("Lowest SM Clock (MHz)"));
}

#[test]
fn every_throughput_is_its_formula() {
    let record = measured("onnxruntime", 4, 64, 256);
    let table = &tables(vec![record.clone()], &[], &[environment()])[0];
    let series = record.series().unwrap();
    let [prompt_ms, prompt_tps, first_128_ms, first_128_tps, first_256_ms, first_256_tps, wall, wall_tps] =
        table.rows[0].figures.as_ref().unwrap().columns().map(Option::unwrap);

    let tokens = &series.generations[0].token_seconds;
    let mean = |series: &[f64]| series.iter().sum::<f64>() / series.len() as f64;
    let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-12, "{a} {b}");
    close(prompt_ms, 1e3 * mean(&series.prompt_seconds));
    close(prompt_tps, 4.0 * 64.0 / (prompt_ms / 1e3));
    close(first_128_ms, 1e3 * mean(&tokens[..128]));
    close(first_128_tps, 4.0 / (first_128_ms / 1e3));
    close(first_256_ms, 1e3 * mean(tokens));
    close(first_256_tps, 4.0 / (first_256_ms / 1e3));
    close(wall, series.generations[0].wall_seconds);
    close(wall_tps, 4.0 * (64.0 + 256.0) / wall);
}

#[test]
fn fewer_prompt_runs_than_published_are_noted() {
    let notes = |runs: &[usize]| {
        let cells = runs.iter().zip(1..).map(|(&runs, batch_size)| {
            with_cell(measured("onnxruntime", batch_size, 16, 256), |cell| {
                cell.series.prompt_seconds = vec![0.1; runs];
            })
        });
        texts(&tables(cells.collect(), &[], &[environment()])[0])
    };
    assert!(notes(&[100, 100]).is_empty());
    assert_eq!(notes(&[6, 6]), ["prompt latency: mean of 6 timed forwards (published procedure: 100)"]);
    assert_eq!(notes(&[1]), ["prompt latency: mean of 1 timed forward (published procedure: 100)"]);
    assert_eq!(
        notes(&[100, 6]),
        ["prompt latency: mean of 6 to 100 timed forwards (published procedure: 100)"]
    );
}

#[test]
fn early_stops_and_unconverged_means_are_noted() {
    let procedure = |generations| Procedure {
        warmup_runs: 5,
        prompt_runs: 100,
        generations,
        until: Some(0.005),
        min_runs: 5,
    };
    let cell = |batch_size, prefills: &[f64], walls: &[f64]| {
        let record = with_cell(measured("onnxruntime", batch_size, 16, 256), |cell| {
            let first = cell.series.generations.remove(0);
            let generation = |wall_seconds: &f64| Generation { wall_seconds: *wall_seconds, ..first.clone() };
            cell.series.prompt_seconds = prefills.to_vec();
            cell.series.generations = walls.iter().map(generation).collect();
        });
        Measurement { procedure: Some(procedure(if walls.len() == 1 { 1 } else { 100 })), ..record }
    };
    let notes = |records: &[Measurement]| texts(&tables(records.to_vec(), &[], &[environment()])[0]);
    assert_eq!(
        notes(&[cell(1, &[0.1; 5], &[2.0; 12]), cell(4, &[0.1; 37], &[2.0; 5])]),
        [
            "each replicate stops once the 95 % confidence interval of its mean is within ±0.5 %: 5 to 37 of at most 100 prefills, \
             5 to 12 of at most 100 generations (published procedure: 100 prefills, 1 generation)"
        ]
    );
    let noisy: Vec<f64> = (0..100).map(|run| if run % 3 == 0 { 0.2 } else { 0.1 }).collect();
    assert_eq!(
        notes(&[cell(1, &noisy, &[2.0]), cell(4, &noisy, &[2.0]), cell(8, &[0.1; 5], &[2.0])]),
        [
            "each replicate stops once the 95 % confidence interval of its mean is within ±0.5 %: 5 to 100 of at most 100 prefills, \
             1 generation (published procedure: 100 prefills, 1 generation)",
            "onnxruntime: prefill latency did not reach ±0.5 %: 1×16 (±7.1 %), 4×16 (±7.1 %)"
        ]
    );
    let walls = [noisy.clone(), noisy].concat();
    assert_eq!(
        notes(&[cell(1, &[0.1; 5], &walls)])[1],
        "onnxruntime: wall clock did not reach ±0.5 %: 1×16 (±4.9 %)"
    );
}

#[test]
fn the_same_tokens_that_differ_everywhere_are_one_line() {
    let cell = |engine: &str, prompt_length| {
        with_cell(measured(engine, 1, prompt_length, 256), |cell| {
            cell.series.prompt_seconds = vec![0.1; 100];
            cell.series.tokens_sha256 = engine.into();
        })
    };
    let records: Vec<_> =
        ["a", "b"].iter().flat_map(|engine| (1..=3).map(move |n| cell(engine, n))).collect();
    let notes = texts(&tables(records.to_vec(), &[], &[environment()])[0]);
    assert_eq!(notes, ["1×1, 1×2, 1×3: greedy tokens differ: a ≠ b"]);
}

#[test]
fn a_generation_shorter_than_a_column_leaves_it_empty() {
    let table = &tables(vec![measured("onnxruntime", 1, 16, 200)], &[], &[environment()])[0];
    let texts = table.rows[0].texts();
    assert_ne!(texts[2], "N/A");
    assert_eq!((texts[4].as_str(), texts[5].as_str()), ("N/A", "N/A"));
}

#[test]
fn replicates_are_one_row_and_one_failure_among_them_shows() {
    let second = Measurement { replicate: 1, ..measured("onnxruntime", 1, 16, 256) };
    let rows = |second| {
        tables(vec![measured("onnxruntime", 1, 16, 256), second], &[], &[environment()])[0].rows.clone()
    };
    let good = rows(second);
    assert_eq!((good.len(), good[0].replicates.len()), (1, 2));
    assert_eq!(good[0].figures.as_ref().unwrap().prompt.count, 6);
    let bad =
        rows(Measurement { replicate: 1, ..ended("onnxruntime", 1, 16, FailureKind::OutOfMemory, "x") });
    assert_eq!(bad[0].texts()[0], "OOM");
}

#[test]
fn an_engine_note_on_all_cells_appears_once() {
    let said = |replicate, notes: &[&str]| Measurement {
        replicate,
        ..with_cell(measured("llama-cpp", 1, 16, 256), |cell| {
            cell.notes = notes.iter().map(ToString::to_string).collect();
        })
    };
    let records = [
        said(0, &["KV cache in F32", "without flash attention"]),
        measured("onnxruntime", 1, 16, 256),
        with_key(said(0, &["KV cache in F32", "without flash attention"]), |key| key.prompt_length = 64),
        said(1, &["KV cache in F32", "without flash attention"]),
        ended("llama-cpp", 4, 64, FailureKind::OutOfMemory, "x"),
    ];
    let table = &tables(records.to_vec(), &[], &[environment()])[0];
    let engine_notes = table.notes.iter().filter(|note| note.kind == NoteKind::Engine);
    let engine_notes: Vec<&str> = engine_notes.map(|note| note.text.as_str()).collect();
    assert_eq!(engine_notes, ["llama-cpp: KV cache in F32; without flash attention"]);
}

#[test]
fn a_verification_is_noted_under_its_own_table() {
    let single = measured("pytorch-eager", 1, 16, 256);
    let half = with_key(single.clone(), |key| key.precision = Precision::Bf16);
    let half = Measurement { part: 2, ..half };
    let of_half = Verification { precision: Precision::Bf16, part: 2, ..verification() };
    let tables = tables(vec![single, half], &[of_half], &[environment(), environment()]);
    let told = |table: &Table| table.notes.iter().any(|note| note.kind == NoteKind::Disagreement);
    assert_eq!(tables.iter().map(told).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn records_of_a_table_keep_the_order_of_measurement() {
    let record = |engine: &str, replicate| Measurement { replicate, ..measured(engine, 1, 16, 256) };
    let there_and_back = [record("a", 0), record("b", 0), record("b", 1), record("a", 1)];
    let table = &tables(there_and_back.to_vec(), &[], &[environment()])[0];
    assert!(table.records().eq(&there_and_back));
    assert_eq!(table.rows.len(), 2);
}
