//! The raw series, in the page: compressed, to be downloaded.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};
use protocol::Measurement;
use results::{csv_field, escaped_json};
use serde_json::{Value, json};

use crate::plot::text::escape;
use crate::scene::AuditedRun;

pub(super) fn section(runs: &[AuditedRun]) -> String {
    let mut text = String::from(
        "<section id=\"series\"><h2>Raw series</h2>\n<p>Every timed forward, in nanoseconds, one line a cell and replicate.</p>\n",
    );
    for (index, AuditedRun { run, .. }) in runs.iter().enumerate() {
        let lines: String = run.records().map(|record| format!("{}\n", line(record))).collect();
        let cells = run.records().filter(|record| record.series().is_some()).count();
        let name = escape(&results::one_line(&run.name));
        let _ = write!(
            text,
            "<p class=\"download\" data-series=\"series-{index}\" data-name=\"{}\" data-fields=\"{}\"><bdi>{name}</bdi>: {cells} measured records. \
             <button type=\"button\" data-as=\"jsonl\">JSON lines</button> <button type=\"button\" data-as=\"csv\">CSV</button></p>\n\
             <script type=\"application/gzip\" id=\"series-{index}\">{}</script>\n",
            file_name(&run.name),
            escape(&csv_fields(run.records())),
            compressed(&lines)
        );
    }
    text + "</section>\n"
}

/// JSON pairs of texts that a spreadsheet would take for formulas, and the fields of csv that stand for them.
fn csv_fields<'a>(records: impl Iterator<Item = &'a Measurement>) -> String {
    let texts: BTreeSet<&str> =
        records.flat_map(|record| [&*record.key.engine, &*record.key.model]).collect();
    let pairs = texts.into_iter().map(|text| (text, csv_field(text)));
    let changed: Vec<(&str, String)> = pairs.filter(|(text, field)| text != field).collect();
    escaped_json(&json!(changed).to_string())
}

/// Letters, digits and dashes.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().take(80).map(plain).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "run".into() } else { name.to_owned() }
}

/// Base64 of gzip, which are the same bytes whenever and wherever they are made.
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

    use super::*;

    #[test]
    fn what_is_compressed_is_read_back() {
        let text = compressed("a\nb\n");
        let mut read = String::new();
        flate2::read::GzDecoder::new(&STANDARD.decode(&text).unwrap()[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, "a\nb\n");
        assert_eq!(text, compressed("a\nb\n"));
    }

    #[test]
    fn a_name_is_a_name_of_a_file() {
        assert_eq!(file_name("runs/<b> x"), "runs--b--x");
        assert_eq!(file_name("../"), "run");
    }
}
