//! Tables on screens of several widths, of runs with several generation lengths.

use std::collections::BTreeMap;

use protocol::{Device, Environment, FailureKind, MeasuredPeak, MeasuredPeaks, Measurement, ModelFacts};
use results::published::{Document, markdown};
use results::{Column, Table, tables};

mod measured;
use measured::{ended, environment, measured, with_cell, with_key};

const MODEL: &str = include_str!("../../../configs/models/llama2-15m.json");
const LONG_NAME: &str = "pytorch-compile-max-autotune-no-cudagraphs";

/// Three engines, one with a long name, and a cell that ran out of memory; the peaks of the machine are known.
fn run(generation_length: u32) -> Vec<Table> {
    let said = |record: Measurement, note: &str| with_cell(record, |cell| cell.notes = vec![note.into()]);
    let oom = "Failed to allocate memory for requested buffer of size 4294967296";
    let cell = |engine, batch, prompt| measured(engine, batch, prompt, generation_length);
    let ended = ended("onnxruntime", 16, 2048, FailureKind::OutOfMemory, oom);
    let peak = |per_second| MeasuredPeak { per_second, by: "onnxruntime".into() };
    let facts = ModelFacts { fingerprint: String::new(), config: serde_json::from_str(MODEL).unwrap() };
    let environment = Environment {
        peaks: Some(MeasuredPeaks {
            measured_at: None,
            device: Device::Cpu,
            read_bytes: Some(peak(40e9)),
            flops: BTreeMap::from([(protocol::Dtype::Fp32, peak(300e9))]),
            sustained_flops: BTreeMap::from([]),
            machine_load: None,
        }),
        models: BTreeMap::from([("llama2-15m".to_owned(), facts)]),
        ..environment()
    };
    let records = vec![
        said(cell("onnxruntime", 1, 16), "KV cache in place: past and present are one buffer"),
        said(cell("onnxruntime", 16, 1024), "KV cache in place: past and present are one buffer"),
        with_key(ended, |key| key.generation_length = generation_length),
        said(cell("pytorch-cudagraph", 1, 16), "2 threads, AVX512 kernels"),
        cell(LONG_NAME, 1, 16),
    ];
    tables(records, &[], &[environment])
}

/// The lines of tables, without the notes and titles around them.
fn grids(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut borders = 0;
    for line in text.lines() {
        borders += usize::from(line.starts_with('─'));
        if borders % 3 != 0 || line.starts_with('─') {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn a_table_fits_a_screen_of_80_100_or_120_columns() {
    for generation_length in [32, 128, 256] {
        let tables = run(generation_length);
        for width in [80, 100, 120] {
            let text = report::terminal::write(&tables, Some(width));
            assert!(!text.contains("N/A"), "{text}");
            insta::assert_snapshot!(format!("terminal_{width}_columns_{generation_length}_tokens"), text);
        }
    }
}

#[test]
fn no_line_of_a_table_is_wider_than_the_screen() {
    for generation_length in [1, 32, 128, 200, 256, 300] {
        let tables = run(generation_length);
        for width in 50..250 {
            let text = report::terminal::write(&tables, Some(width));
            let widest = grids(&text).into_iter().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{generation_length} tokens, {width} columns:\n{text}");
            let longest_word = 80;
            let is_wrapped = |line: &str| line.chars().count() <= usize::from(width).max(longest_word);
            assert!(text.lines().all(is_wrapped), "{text}");
        }
    }
    assert!(report::terminal::write(&run(256), Some(20)).contains("engine"));
}

#[test]
fn without_a_width_every_column_is_there_and_nothing_wraps() {
    let text = report::terminal::write(&run(128), None);
    for header in ["prompt tok/s", "128: ms/tok", "TPOT ms", "decode tok/s", "wall s", "wall tok/s"] {
        assert!(text.contains(header), "{text}");
    }
    assert!(!text.contains("256: ms/tok") && !text.contains("not shown") && text.contains(LONG_NAME));
}

#[test]
fn markdown_of_shorter_generations_has_tpot_and_is_read_back_without_a_loss() {
    for (generation_length, first_128, first_256) in
        [(32, false, false), (128, true, false), (256, true, true)]
    {
        let tables = run(generation_length);
        let text = report::markdown::write(&tables);
        let header = text.lines().find(|line| line.starts_with("| Engine")).unwrap();
        let has = |column: Column| header.contains(column.header());
        assert_eq!(
            [has(Column::First128Latency), has(Column::First256Latency), has(Column::Tpot)],
            [first_128, first_256, !first_256]
        );
        assert_eq!(has(Column::DecodeThroughput), !first_256);
        assert!(!text.contains("N/A"), "{text}");

        let document = markdown::parse(&text, "table.md").unwrap();
        assert_eq!(markdown::write(&document), text);
        let own = Document::from(tables.as_slice());
        let read: Vec<_> =
            document.tables().flat_map(|table| &table.rows).map(|row| row.cells.clone()).collect();
        let made: Vec<_> = own.tables().flat_map(|table| &table.rows).map(|row| row.cells.clone()).collect();
        assert_eq!(read, made);
        assert!(text.starts_with(&markdown::write(&own)), "{text}");
    }
}

#[test]
fn decode_throughput_is_the_batch_over_tpot() {
    let tables = run(32);
    let figures = tables[0].rows[1].figures.as_ref().unwrap();
    let [tpot, throughput] =
        [Column::Tpot, Column::DecodeThroughput].map(|column| figures.get(column).unwrap());
    assert!((throughput * tpot / 1e3 / 16.0 - 1.0).abs() < 1e-12);
}
