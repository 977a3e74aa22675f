//! The raw series in the page: compressed, for download.

use std::collections::BTreeSet;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};
use maud::{Markup, PreEscaped, html};
use protocol::{Measured, Measurement};
use results::{Run, counted, csv_field, escaped_json};
use serde_json::{Value, json};

use crate::scene::AuditedRun;

/// How much larger text can be than its compressed bytes: digits that are noise shrink to a third.
const MOST_SHRUNK: usize = 4;

/// The series of all runs in about `most` bytes.
pub(super) fn section(runs: &[AuditedRun], most: usize) -> Markup {
    html! {
        section id="series" {
            h2 { "Raw series" }
            p { "Every timed forward in nanoseconds, one line per cell and replicate." }
            @for (index, AuditedRun { run, .. }) in runs.iter().enumerate() {
                @let (lines, compressed) = fitting(run, most / runs.len());
                @let id = format!("series-{index}");
                p class="download" data-series=(id) data-name=(file_name(&run.name)) data-fields=(csv_fields(run.records())) {
                    bdi { (results::one_line(&run.name)) } ": " (counts(run, lines.count)) " "
                    button type="button" data-as="jsonl" hidden { "JSON lines" } " "
                    button type="button" data-as="csv" hidden { "CSV" }
                    noscript { "The download needs JavaScript; measurements.jsonl in the run's folder has the same records." }
                }
                script type="application/gzip" id=(id) { (PreEscaped(compressed)) }
            }
        }
    }
}

/// The records of a run that fit into `most` bytes, and these bytes.
fn fitting(run: &Run, most: usize) -> (RecordLines, String) {
    let mut text_bytes = MOST_SHRUNK * most;
    loop {
        let lines = RecordLines::read(run.records().collect(), text_bytes);
        let compressed = compressed(&lines.text);
        // Even no text at all has some compressed bytes.
        if compressed.len() <= most || lines.count == 0 {
            return (lines, compressed);
        }
        // About as much text as fits, a little less each time.
        let share = most as f64 / compressed.len() as f64;
        text_bytes = (lines.text.len() as f64 * share * 0.98) as usize;
    }
}

/// How many records there are, or how many of them are in the page.
fn counts(run: &Run, count: usize) -> String {
    let all = run.records().count();
    if count == all {
        let measured = run.records().filter(|record| record.series().is_some()).count();
        return format!("{}.", counted(measured, "measured record"));
    }
    format!(
        "{count} of {all} records fit into this page, the first replicates first; measurements.jsonl in the run's folder has all."
    )
}

/// JSON pairs of texts that a spreadsheet would take for formulas, and the csv fields in place of them.
fn csv_fields<'a>(records: impl Iterator<Item = &'a Measurement>) -> String {
    let texts: BTreeSet<&str> =
        records.flat_map(|record| [&*record.key.engine, &*record.key.model]).collect();
    let pairs = texts.into_iter().map(|text| (text, csv_field(text)));
    let changed: Vec<(&str, String)> = pairs.filter(|(text, field)| text != field).collect();
    escaped_json(&json!(changed).to_string())
}

/// Records as lines, as many as fit.
struct RecordLines {
    text: String,
    count: usize,
}

impl RecordLines {
    /// Takes at most `most` bytes. Where not all records fit, the first replicates come first.
    fn read(mut records: Vec<&Measurement>, most: usize) -> Self {
        let all = Self::first(&records, most);
        if all.count == records.len() {
            return all;
        }
        records.sort_by_key(|record| record.replicate);
        Self::first(&records, most)
    }

    fn first(records: &[&Measurement], most: usize) -> Self {
        let (mut text, mut count) = (String::new(), 0);
        for record in records {
            // Each figure takes at least a digit and a comma: skip records that can't fit.
            if text.len() + 2 * figures(record) <= most {
                let line = format!("{}\n", line(record));
                if text.len() + line.len() <= most {
                    text.push_str(&line);
                    count += 1;
                }
            }
        }
        Self { text, count }
    }
}

/// The number of figures in a record's series, by the host's clock.
fn figures(record: &Measurement) -> usize {
    let of_series = |series: &Measured| {
        let tokens = series.generations.iter().map(|one| one.token_seconds.len());
        series.prompt_seconds.len() + tokens.sum::<usize>()
    };
    record.series().map_or(0, of_series) + record.gpu.as_ref().map_or(0, |gpu| gpu.sample_seconds.len())
}

/// The name reduced to letters, digits, dashes, dots and underscores.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().take(80).map(plain).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "run".into() } else { name.to_owned() }
}

/// Base64 of gzip without time and system, so that the same text makes the same bytes.
fn compressed(text: &str) -> String {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
    let written = encoder.write_all(text.as_bytes());
    let bytes = written.and_then(|()| encoder.finish()).expect("memory takes what is written");
    STANDARD.encode(bytes)
}

fn line(record: &Measurement) -> Value {
    let series = record.series();
    let generations = series.iter().flat_map(|series| &series.generations);
    let mut line = json!({
        "engine": record.key.engine,
        "model": record.key.model,
        "precision": record.key.precision,
        "device": record.key.device,
        "batch_size": record.key.batch_size,
        "prompt_length": record.key.prompt_length,
        "replicate": record.replicate,
        "outcome": record.outcome_word(),
        "prompt_ns": series.map(|series| whole(&series.prompt_seconds)).unwrap_or_default(),
        "generations": generations.map(|one| json!({
            "prompt_ns": nanoseconds(one.prompt_seconds),
            "token_ns": whole(&one.token_seconds),
            "wall_ns": nanoseconds(one.wall_seconds),
        })).collect::<Vec<_>>(),
    });
    if let Some(device) = series.and_then(|series| series.device_seconds.as_ref()) {
        line["device_prompt_ns"] = json!(whole(&device.prompt));
        line["device_token_ns"] = device.tokens.iter().map(|tokens| whole(tokens)).collect();
    }
    if let Some(gpu) = &record.gpu {
        line["gpu"] = json!({
            "sample_ms": gpu.sample_seconds.iter().map(|at| (at * 1e3).round() as i64).collect::<Vec<_>>(),
            "power_watts": gpu.power_watts.iter().map(|watts| (watts * 10.0).round() / 10.0).collect::<Vec<_>>(),
            "sm_clock_mhz": gpu.sm_clock_mhz,
            "temperature_celsius": gpu.temperature_celsius,
        });
    }
    line
}

fn whole(seconds: &[f64]) -> Vec<i64> {
    seconds.iter().map(|one| nanoseconds(*one)).collect()
}

fn nanoseconds(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use protocol::{CellKey, Device, Generation, MeasuredCell, Memory, Outcome, Precision, Ranks, SCHEMA};

    use super::*;

    fn record(engine: &str, replicate: u32, tokens: usize) -> Measurement {
        let generation =
            Generation { prompt_seconds: 0.001, token_seconds: vec![0.001; tokens], wall_seconds: 1.0 };
        let series = Measured {
            prompt_seconds: vec![0.001],
            generations: vec![generation],
            device_seconds: None,
            memory: Memory::default(),
            ranks: Vec::new(),
            collectives: None,
            tokens_sha256: String::new(),
        };
        Measurement {
            schema: SCHEMA,
            key: CellKey {
                model: "m".into(),
                precision: Precision::Fp32,
                device: Device::Cpu,
                ranks: Ranks::ONE,
                engine: engine.into(),
                batch_size: 1,
                prompt_length: 1,
                generation_length: tokens as u32,
            },
            replicate,
            part: 1,
            device_memory_limit_bytes: None,
            procedure: None,
            read_bytes_per_second: None,
            machine_load: None,
            gpu: None,
            outcome: Outcome::Ok(Box::new(MeasuredCell { load_seconds: None, notes: Vec::new(), series })),
        }
    }

    #[test]
    fn the_first_replicates_come_first_and_long_records_are_left_out() {
        let records = [
            record("a", 0, 10),
            record("a", 1, 10),
            record("b", 0, 10),
            record("b", 1, 10),
            record("c", 0, 10_000),
        ];
        let lines = |most: usize| {
            let RecordLines { text, count } = RecordLines::read(records.iter().collect(), most);
            let read = |line: &str| {
                let line: Value = serde_json::from_str(line).unwrap();
                format!("{}{}", line["engine"].as_str().unwrap(), line["replicate"])
            };
            let names: Vec<String> = text.lines().map(read).collect();
            assert!(text.len() <= most && names.len() == count);
            names.join(" ")
        };
        let one = line(&records[0]).to_string().len() + 1;
        assert_eq!(lines(usize::MAX), "a0 a1 b0 b1 c0");
        assert_eq!(lines(5 * one), "a0 b0 a1 b1");
        assert_eq!(lines(3 * one), "a0 b0 a1");
        assert_eq!(lines(one - 1), "");
    }

    #[test]
    fn a_page_without_room_has_no_series() {
        let run = Run {
            dir: "run".into(),
            name: "run".into(),
            expected: 1,
            tables: results::tables(vec![record("a", 0, 10)], &[], &[]),
            environments: Vec::new(),
            settings: Vec::new(),
            verifications: Vec::new(),
        };
        assert_eq!(fitting(&run, 0).0.count, 0);
        assert_eq!(fitting(&run, 10_000).0.count, 1);
    }

    #[test]
    fn compressed_text_is_read_back() {
        let text = compressed("a\nb\n");
        let mut read = String::new();
        flate2::read::GzDecoder::new(&STANDARD.decode(&text).unwrap()[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, "a\nb\n");
        assert_eq!(text, compressed("a\nb\n"));
    }

    #[test]
    fn file_names_are_safe() {
        assert_eq!(file_name("runs/<b> x"), "runs--b--x");
        assert_eq!(file_name("../"), "run");
    }
}
