//! A run that was cut off at any byte: what was whole stays, nothing is doubled, and what is damaged is refused.

use std::path::{Path, PathBuf};

use protocol::{Environment, Measurement, Outcome};
use results::{Run, RunFolder};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/llama2-15m-fp32-cpu");

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(RUN).join(name)).unwrap()
}

/// Three records with short series.
fn records() -> Vec<Measurement> {
    let short = |line: &str| {
        let mut record = Measurement::from_json(line.as_bytes()).unwrap();
        let Outcome::Ok(cell) = &mut record.outcome else { panic!("measured") };
        cell.series.prompt_seconds.truncate(2);
        cell.series.generations[0].token_seconds.truncate(2);
        cell.notes.clear();
        record
    };
    read("measurements.jsonl").lines().take(3).map(short).collect()
}

/// A run of [`records`] in a folder of `place`.
fn run(place: &Path) -> PathBuf {
    let dir = place.join("run");
    let environment: Environment = serde_json::from_str(&read("environment.json")).unwrap();
    let mut folder = RunFolder::create(&dir, &read("sweep.toml"), || environment).unwrap();
    records().iter().for_each(|record| folder.append(record).unwrap());
    dir
}

#[test]
fn a_cut_at_any_byte_of_the_last_record_loses_that_record_alone_and_doubles_none() {
    let place = tempfile::tempdir().unwrap();
    let dir = run(place.path());
    let path = dir.join("measurements.jsonl");
    let whole = std::fs::read(&path).unwrap();
    let before_last = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    for length in before_last..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(Run::read(&dir).unwrap().records().count(), 2, "{length}");
        let (mut folder, warning) = RunFolder::open(&dir).unwrap();
        assert_eq!(warning.is_some(), length > before_last, "{length}");
        folder.append(&records()[2]).unwrap();
        drop(folder);
        assert!(std::fs::read(&path).unwrap() == whole, "{length}");
    }
}

#[test]
fn a_cut_at_any_byte_of_another_file_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let dir = run(place.path());
    for name in ["environment.json", "sweep.toml"] {
        let path = dir.join(name);
        let whole = std::fs::read(&path).unwrap();
        // The last byte is the end of the last line.
        for length in 0..whole.len() - 1 {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = Run::read(&dir).unwrap_err().to_string();
            assert!(error.contains(name), "{name} {length}: {error}");
            assert!(RunFolder::open(&dir).is_err(), "{name} {length}");
        }
        std::fs::write(&path, whole).unwrap();
    }
    assert_eq!(Run::read(&dir).unwrap().records().count(), 3);
}
