//! One fault in an otherwise sound table: it is found, and nothing else is.

mod common;

use std::collections::BTreeSet;

use audit::{AuditReport, Finding, Severity, audit, rules};
use protocol::Precision;
use results::hardware::Hardware;
use results::published::{Document, Piece, PrintedFigure, PublishedTable, markdown};
use results::{COLUMNS, ResultTable, format_g10};

use common::{DEVICES, Engine, Print, Sweep, audited, models, read, table};

const SMALL: usize = 2;
const LARGE: usize = 3;

/// A table of two engines without noise, in which nothing is wrong.
fn sound(model: usize) -> PublishedTable {
    let sweep = Sweep {
        device: DEVICES[0],
        count: 1,
        precision: Precision::Fp16,
        batches: vec![1, 4, 16],
        prompts: vec![16, 256, 1024],
        generation: 256,
        print: Print::Short(10),
    };
    let engine = |name: &str, mbu, mfu| Engine {
        name: name.into(),
        mbu,
        mfu,
        launch: 20e-6,
        host: 0.4e-3,
        share: 0.01,
    };
    let engines = [engine("onnxruntime", 0.7, 0.6), engine("pytorch-eager", 0.4, 0.5)];
    let text = table(&sweep, &models()[model], &engines, &mut || 1.0);
    read(&text).remove(0)
}

/// Tables as if they stood in one file, with its line numbers.
fn in_one_file(tables: &[PublishedTable]) -> Vec<PublishedTable> {
    let pieces = tables.iter().flat_map(|table| [Piece::Text("\n".into()), Piece::Table(table.clone())]);
    read(&markdown::write(&Document { pieces: pieces.collect() }))
}

fn findings(tables: &[PublishedTable]) -> Vec<Finding> {
    let report = audited(&in_one_file(tables));
    assert_eq!(report.not_checked, []);
    report.findings
}

fn set(table: &mut PublishedTable, row: usize, column: usize, figure: f64) {
    table.rows[row].cells[column] = PrintedFigure::parse(&format_g10(figure)).unwrap();
}

fn get(table: &PublishedTable, row: usize, column: usize) -> f64 {
    table.rows[row].cells[column].figure().unwrap().value
}

/// Sets a latency, and the throughput beside it so that they agree.
fn set_latency(table: &mut PublishedTable, row: usize, column: usize, figure: f64) {
    let tokens = get(table, row, column) * get(table, row, column + 1);
    set(table, row, column, figure);
    set(table, row, column + 1, tokens / figure);
}

/// Scales all times of a row.
fn scale(table: &mut PublishedTable, row: usize, factor: f64) {
    for column in [0, 2, 4, 6] {
        let figure = get(table, row, column) * factor;
        set_latency(table, row, column, figure);
    }
}

/// The rules of the findings; all about `line` where it is given.
fn rules_of(findings: &[Finding], severity: Severity) -> BTreeSet<&'static str> {
    assert!(findings.iter().all(|finding| finding.severity == severity), "{findings:#?}");
    findings.iter().map(|finding| finding.rule).collect()
}

fn assert_only(table: &PublishedTable, severity: Severity, rule: &str, column: Option<&str>) -> Finding {
    let mut findings = findings(std::slice::from_ref(table));
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let finding = findings.remove(0);
    assert_eq!((finding.severity, finding.rule, finding.column), (severity, rule, column), "{finding}");
    finding
}

#[test]
fn sound_tables_have_no_findings() {
    for model in 1..4 {
        assert_eq!(findings(&[sound(model)]), []);
    }
    assert_eq!(findings(&[sound(SMALL), sound(LARGE)]), []);
}

#[test]
fn a_throughput_that_does_not_match_its_latency() {
    for column in [1, 3, 5, 7] {
        for factor in [0.98, 1.02] {
            let mut table = sound(SMALL);
            let figure = get(&table, 5, column) * factor;
            set(&mut table, 5, column, figure);
            assert_only(&table, Severity::Impossible, "throughput", Some(COLUMNS[3 + column]));
        }
        for factor in [0.9995, 1.0005] {
            let mut table = sound(SMALL);
            let figure = get(&table, 5, column) * factor;
            set(&mut table, 5, column, figure);
            assert_eq!(findings(&[table]), []);
        }
    }
}

#[test]
fn rounding_of_the_digits_is_no_fault() {
    let mut table = sound(SMALL);
    for row in &mut table.rows {
        for cell in &mut row.cells[..8] {
            *cell = PrintedFigure::parse(&format!("{:.0}", cell.figure().unwrap().value)).unwrap();
        }
    }
    // Of a wall clock of some seconds, whole seconds leave nothing to check; latencies of some milliseconds little.
    assert_eq!(findings(&[table.clone()]), []);
    set(&mut table, 0, 3, 500.0);
    let found = findings(&[table]);
    let kinds: Vec<_> =
        found.iter().map(|finding| (finding.severity, finding.rule, finding.column)).collect();
    let column = Some(COLUMNS[6]);
    assert_eq!(
        kinds,
        [(Severity::Impossible, "token-bandwidth", column), (Severity::Remarkable, "throughput", column)]
    );
    let mut table = sound(SMALL);
    table.rows[0].cells[2] = PrintedFigure::parse("0").unwrap();
    let found = findings(&[table]);
    assert_eq!(rules_of(&found, Severity::Impossible), ["throughput", "token-bandwidth"].into());
    assert!(found.iter().all(|finding| finding.limit.is_some_and(f64::is_finite)), "{found:#?}");
}

#[test]
fn a_wall_clock_that_is_not_its_parts() {
    let mut table = sound(SMALL);
    let figure = get(&table, 5, 6);
    set_latency(&mut table, 5, 6, figure * 0.9);
    assert_only(&table, Severity::Remarkable, "wall-clock-short", Some(COLUMNS[9]));
    set_latency(&mut table, 5, 6, figure * 0.8);
    assert_only(&table, Severity::Remarkable, "wall-clock-short", Some(COLUMNS[9]));
    set_latency(&mut table, 5, 6, figure * 1.3);
    assert_only(&table, Severity::Remarkable, "wall-clock-long", Some(COLUMNS[9]));
    set_latency(&mut table, 5, 6, figure * 1.1);
    assert_eq!(findings(&[table]), []);
}

#[test]
fn halves_of_a_generation_that_do_not_fit() {
    let mut table = sound(SMALL);
    let figure = get(&table, 5, 4);
    set_latency(&mut table, 5, 2, figure * 2.1);
    assert_only(&table, Severity::Impossible, "first-128-256", Some(COLUMNS[7]));
    set_latency(&mut table, 5, 2, figure * 1.3);
    assert_only(&table, Severity::Remarkable, "first-128-256", Some(COLUMNS[7]));
    set_latency(&mut table, 5, 2, figure * 0.75);
    let finding = assert_only(&table, Severity::Remarkable, "first-128-256", Some(COLUMNS[7]));
    assert!(finding.message.contains("so tokens 129 to 256 take"), "{finding}");
}

#[test]
fn figures_beyond_the_memory_bandwidth() {
    // A whole row faster, so that its parts still add up: 1×16 is bound by memory, prompt and tokens.
    let mut table = sound(SMALL);
    let factor = 6.0 / get(&table, 0, 2);
    scale(&mut table, 0, factor);
    let found = findings(&[table.clone()]);
    assert_eq!(rules_of(&found, Severity::Impossible), ["prompt-bandwidth", "token-bandwidth"].into());
    assert!(found.iter().all(|finding| finding.batch_size == Some(1) && finding.prompt_length == Some(16)));
    assert!(found[0].message.contains("2039 GB/s (A100 80GB SXM, the highest of 2 variants): 1.0"));
    // The prompt alone.
    let mut table = sound(SMALL);
    set_latency(&mut table, 0, 0, 6.01);
    assert_only(&table, Severity::Impossible, "prompt-bandwidth", Some(COLUMNS[3]));
}

/// Of a run with short generations, whose table has these columns in place of the first tokens'.
#[test]
fn a_decode_throughput_alone_is_checked_against_the_bandwidth() {
    let found = |tokens: u32| {
        let text = format!(
            "## LLaMA-2 7B FP16 CUDA (1 A100 80GB)\n\n| Engine | Batch Size | Prompt Length | Decode Throughput (tps) |\n\
             |---|---|---|---|\n| onnxruntime | 1 | 16 | {tokens} |\n"
        );
        findings(&read(&text)).into_iter().map(|finding| (finding.severity, finding.rule)).collect::<Vec<_>>()
    };
    assert_eq!(found(150), []);
    assert_eq!(found(160), [(Severity::Impossible, "token-bandwidth")]);
}

#[test]
fn figures_beyond_the_peak() {
    let mut table = sound(SMALL);
    let row = 8;
    assert_eq!((table.rows[row].batch_size, table.rows[row].prompt_length), (16, 1024));
    let mfu = 0.6;
    let figure = get(&table, row, 0) * mfu * 0.98;
    let saved = get(&table, row, 0) - figure;
    let wall = get(&table, row, 6) - saved / 1e3;
    set_latency(&mut table, row, 0, figure);
    set_latency(&mut table, row, 6, wall);
    let finding = assert_only(&table, Severity::Impossible, "prompt-compute", Some(COLUMNS[3]));
    assert!(finding.message.contains("at 312.0 TFLOP/s"), "{finding}");
    // Tokens are bound by arithmetic where the batch is large and the cache small: a device with much bandwidth.
    let report = audit(&[ResultTable::published("a.md", &sound(SMALL))], &a100(1e15, 5e12));
    assert!(report.findings.iter().any(|finding| finding.rule == "token-compute"));
    assert!(report.findings.iter().all(|finding| finding.rule.ends_with("-compute")));
}

/// Peaks of which an A100 has other ones.
fn a100(bandwidth: f64, flops: f64) -> Hardware {
    let text = format!(
        "[[device]]\nchip = \"A100\"\nmemory_gb = 80\nbandwidth_bytes_per_second = {bandwidth:e}\ncache_bytes = 0\n\
         flops = {{ fp32 = {flops:e}, fp16 = {flops:e} }}\nsource = \"made up\"\n"
    );
    Hardware::parse(&text, "hardware.toml").unwrap()
}

#[test]
fn a_row_that_does_not_fit_into_memory() {
    let mut table = sound(SMALL);
    table.heading = table.heading.replace("A100 80GB", "A100 40GB");
    // 13.5 GB of weights, and 512 KiB a token in the cache: 16 × (1024 + 256) fit, 64 × 1280 do not.
    let mut found = findings(&[table.clone()]);
    found.retain(|finding| finding.rule != "token-bandwidth");
    assert_eq!(found, []);
    let mut rows = table.rows.clone();
    rows.retain(|row| row.batch_size == 16);
    table.rows = rows;
    for row in &mut table.rows {
        row.batch_size = 64;
        for column in [1, 3, 5, 7] {
            let figure = row.cells[column].figure().unwrap().value * 4.0;
            row.cells[column] = PrintedFigure::parse(&format_g10(figure)).unwrap();
        }
    }
    let found = findings(&[table.clone()]);
    let memory: Vec<_> = found.iter().filter(|finding| finding.rule == "memory").collect();
    assert_eq!(memory.len(), 2, "{found:#?}");
    assert!(memory.iter().all(|finding| finding.prompt_length == Some(1024)));
    assert!(memory[0].message.contains("56.43 GB"), "{}", memory[0]);
    // Over two devices it fits.
    table.heading = table.heading.replace("(1 A100", "(2 A100");
    assert!(findings(&[table]).iter().all(|finding| finding.rule != "memory"));
}

#[test]
fn a_larger_model_as_fast_as_a_smaller_one() {
    // The large model's rows of one engine, 1.5 % slower than the small one's: as published.
    let (small, mut large) = (sound(SMALL), sound(LARGE));
    for (row, other) in large.rows.iter_mut().zip(&small.rows).filter(|(row, _)| row.engine == "onnxruntime")
    {
        row.cells = other.cells.clone();
    }
    for row in 0..9 {
        scale(&mut large, row, 1.015);
    }
    let found = findings(&[small.clone(), large]);
    let remarkable: Vec<_> =
        found.iter().filter(|finding| finding.severity == Severity::Remarkable).collect();
    let rules: Vec<_> = remarkable.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["larger-model", "repeated-rows"], "{found:#?}");
    assert!(remarkable.iter().all(|finding| finding.engine.as_deref() == Some("onnxruntime")));
    // Half as fast again is neither, where physics allows it.
    let mut large = sound(LARGE);
    large.heading = large.heading.replace("13B", "7B").replace("(1 A100 80GB)", "(1 H200 141GB)");
    assert_eq!(findings(&[small, large]), []);
}

#[test]
fn rows_copied_to_the_digit() {
    let table = sound(SMALL);
    let mut copy = table.clone();
    copy.heading = copy.heading.replace("A100 80GB", "H100 80GB");
    let found = findings(&[table.clone(), copy.clone()]);
    assert_eq!(rules_of(&found, Severity::Remarkable), ["repeated-rows"].into());
    assert_eq!(found.len(), 2, "one an engine");
    for row in 0..copy.rows.len() {
        scale(&mut copy, row, 1.0001);
    }
    assert_eq!(findings(&[table.clone(), copy]), [], "launch-bound engines do take the same on two devices");
    assert_eq!(findings(&[table.clone(), table]), [], "the same table twice is no fault");
}

#[test]
fn latency_that_falls() {
    let mut table = sound(SMALL);
    let figures = [get(&table, 7, 0), get(&table, 7, 2), get(&table, 7, 4), get(&table, 7, 6)];
    let tokens = figures[2] * 0.72 * 256.0 / 1e3;
    set_latency(&mut table, 7, 2, figures[1] * 0.72);
    set_latency(&mut table, 7, 4, figures[2] * 0.72);
    set_latency(&mut table, 7, 6, (figures[0] / 1e3 + tokens) * 1.03);
    let finding = assert_only(&table, Severity::Remarkable, "falling-latency", Some(COLUMNS[7]));
    assert_eq!((finding.batch_size, finding.prompt_length), (Some(16), Some(256)));
}

#[test]
fn cells_that_are_missing_or_there_twice() {
    let mut table = sound(SMALL);
    let row = table.rows.remove(4);
    let finding = assert_only(&table, Severity::Remarkable, "missing-cells", None);
    assert_eq!(finding.message, "no row for 4×256, of a grid of 9 cells");
    let listed = ResultTable { lists_rows: true, ..ResultTable::published("a.md", &table) };
    assert_eq!(audit(&[listed], &Hardware::built_in()).findings, []);
    table.rows.push(row.clone());
    assert_eq!(findings(&[table.clone()]), [], "in any order");
    table.rows.push(row);
    let finding = assert_only(&table, Severity::Remarkable, "duplicate-cells", None);
    assert!(finding.message.ends_with("has the same cell, with the same figures"), "{finding}");

    for (text, found) in [("", "no value"), ("OOM", "\"OOM\"")] {
        let mut table = sound(SMALL);
        table.rows[0].cells[6] = PrintedFigure::parse(text).unwrap();
        let finding = assert_only(&table, Severity::Remarkable, "missing-cells", Some(COLUMNS[9]));
        assert_eq!(finding.message, format!("{found} here, but figures in 7 other columns"));
    }
    let mut table = sound(SMALL);
    table.rows[0].cells[2] = PrintedFigure::parse("N/A").unwrap();
    table.rows[0].cells[3] = PrintedFigure::parse("N/A").unwrap();
    table.rows[8].cells = std::array::from_fn(|_| PrintedFigure::parse("OOM").unwrap());
    assert_eq!(findings(&[table]), [], "columns that do not apply and cells out of memory are no fault");
}

#[test]
fn memory_that_runs_out_below_a_cell_that_has_figures() {
    let mut table = sound(SMALL);
    table.rows[4].cells = std::array::from_fn(|_| PrintedFigure::parse("OOM").unwrap());
    let finding = assert_only(&table, Severity::Remarkable, "out-of-memory-order", None);
    assert_eq!(finding.message, "out of memory, though 4×1024 has figures and needs at least as much");
    for row in 4..9 {
        table.rows[row].cells = table.rows[4].cells.clone();
    }
    assert_eq!(findings(&[table]), []);
}

#[test]
fn another_generation_length_is_no_fault() {
    let mut table = sound(SMALL);
    for index in 0..table.rows.len() {
        let steps = 200.0;
        let (batch, prompt) = (table.rows[index].batch_size, table.rows[index].prompt_length);
        let wall = (get(&table, index, 0) + steps * get(&table, index, 2)) / 1e3 * 1.05;
        set(&mut table, index, 6, wall);
        set(&mut table, index, 7, f64::from(batch) * (f64::from(prompt) + steps) / wall);
        for column in [4, 5] {
            table.rows[index].cells[column] = PrintedFigure::parse("N/A").unwrap();
        }
    }
    assert_eq!(findings(&[table.clone()]), []);
    let figure = get(&table, 3, 7) * 1.02;
    set(&mut table, 3, 7, figure);
    assert_only(&table, Severity::Impossible, "throughput", Some(COLUMNS[10]));
}

#[test]
fn what_cannot_be_checked_is_said() {
    let mut table = sound(SMALL);
    let what = |table: &PublishedTable| {
        let report = audited(std::slice::from_ref(table));
        report.not_checked.into_iter().map(|not_checked| not_checked.what).collect::<Vec<_>>()
    };
    table.heading = "Results".into();
    assert_eq!(what(&table).len(), 1);
    assert!(what(&table)[0].starts_with("physics: the heading does not say model, precision and device"));
    table.heading = "My model FP16 CUDA (1 A800 80GB)".into();
    assert_eq!(
        what(&table),
        [
            "physics: unknown model \"My model\": expected one of llama2-7b, llama2-13b, llama2-70b, tinyllama-1.1b, llama2-15m",
            "physics: no peaks of \"A800 80GB\" in hardware.toml"
        ]
    );
    table.heading = "LLaMA-2 7B BF16 CUDA (1 T4 16GB)".into();
    assert_eq!(what(&table), ["physics: the device's FLOP/s in the heading's precision is not known"]);
    table.heading = "LLaMA-2 7B FP32 CPU (AMD EPYC, 2 cores)".into();
    assert_eq!(what(&table), ["physics: no peaks of \"AMD EPYC\": a processor's must be measured"]);
}

#[test]
fn tables_of_equal_headings_keep_their_own_findings() {
    let mut faulty = sound(SMALL);
    let figure = get(&faulty, 5, 1) * 1.02;
    set(&mut faulty, 5, 1, figure);
    let report: AuditReport = audited(&[sound(SMALL), faulty]);
    assert_eq!(report.groups_of_table(0).len(), 0);
    let [group] = &report.groups_of_table(1)[..] else { panic!("{report}") };
    assert_eq!((group.rule, group.cells), ("throughput", 1));
}

#[test]
fn every_rule_has_a_name_of_its_own_and_is_described() {
    let names: BTreeSet<&str> = rules::RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), rules::RULES.len());
    assert!(rules::RULES.iter().all(|rule| rule.about.len() > 20));
}

#[test]
fn one_rank_alone_is_held_against_its_own_part() {
    let sweep = Sweep {
        device: DEVICES[3],
        count: 1,
        precision: Precision::Fp16,
        batches: vec![1, 4],
        prompts: vec![16, 256],
        generation: 256,
        print: Print::Short(10),
    };
    let whole = models().pop().unwrap();
    assert_eq!(whole.display, "LLaMA-2 70B");
    let part = llama::TensorParallel::first_of(&whole.config, Some(4)).unwrap();
    let engine =
        Engine { name: "onnxruntime".into(), mbu: 0.8, mfu: 0.7, launch: 5e-6, host: 0.1e-3, share: 0.01 };
    let text = table(&sweep, &common::Model { config: part, ..whole }, &[engine], &mut || 1.0);
    let with_heading = |heading: &str| {
        let mut tables = read(&text);
        tables[0].heading = heading.into();
        findings(&tables).iter().filter(|finding| finding.severity == Severity::Impossible).count()
    };
    assert_eq!(with_heading("LLaMA-2 70B FP16 CUDA (rank 0 of 4, 1 H200 141GB)"), 0);
    // The same figures are impossible for the whole model on one device: it neither fits nor can it be read so fast.
    assert!(with_heading("LLaMA-2 70B FP16 CUDA (1 H200 141GB)") > 4);
    // Nor can a rank read its part in a third of the time.
    assert!(with_heading("LLaMA-2 70B FP16 CUDA (rank 0 of 2, 1 H200 141GB)") > 0);
}

#[test]
fn other_conventions_are_remarked_and_no_more() {
    let per_sequence = |table: &mut PublishedTable| {
        for row in 0..table.rows.len() {
            for column in [1, 3, 5] {
                let share = get(table, row, column) / f64::from(table.rows[row].batch_size);
                set(table, row, column, share);
            }
        }
    };
    let mut table = sound(SMALL);
    per_sequence(&mut table);
    let found = findings(&[table]);
    assert_eq!(rules_of(&found, Severity::Remarkable), ["throughput"].into());
    assert!(found.iter().all(|finding| finding.message.contains("one sequence's share")), "{found:#?}");

    // Two batches at once, each at 40 % of the bandwidth.
    let mut table = sound(SMALL);
    table.rows.retain(|row| row.engine == "pytorch-eager");
    for row in 0..table.rows.len() {
        for column in [1, 3, 5, 7] {
            let doubled = get(&table, row, column) * 2.0;
            set(&mut table, row, column, doubled);
        }
    }
    let found = findings(&[table]);
    assert_eq!(rules_of(&found, Severity::Remarkable), ["throughput"].into(), "{found:#?}");
}
