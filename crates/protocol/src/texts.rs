//! Names and notes are bounded where they are read, from a pipe or a file: tables and comparisons hold many of them.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The most bytes of the name of an engine or a model: no folder's is longer.
pub const LONGEST_NAME: usize = 255;
/// The most notes that a worker may send, or a record may have, which also has the harness's own.
pub(crate) const MOST_NOTES: usize = 100;
/// The most bytes of a note.
pub(crate) const LONGEST_NOTE: usize = 4096;

pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.len() > LONGEST_NAME {
        let what = format!("a name of {} bytes, expected at most {LONGEST_NAME}", name.len());
        return Err(D::Error::custom(what));
    }
    Ok(name)
}

/// The notes of a worker's reply.
pub(crate) fn notes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    check(Vec::deserialize(deserializer)?, MOST_NOTES).map_err(D::Error::custom)
}

/// The notes of a record.
pub(crate) fn record_notes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    check(Vec::deserialize(deserializer)?, 2 * MOST_NOTES).map_err(D::Error::custom)
}

fn check(notes: Vec<String>, most: usize) -> Result<Vec<String>, String> {
    if notes.len() > most {
        return Err(format!("{} notes, expected at most {most}", notes.len()));
    }
    match notes.iter().map(String::len).find(|&length| length > LONGEST_NOTE) {
        Some(length) => Err(format!("a note of {length} bytes, expected at most {LONGEST_NOTE}")),
        None => Ok(notes),
    }
}

#[cfg(test)]
mod tests {
    use crate::{CellKey, Loaded};

    #[test]
    fn long_names_and_many_or_long_notes_are_refused() {
        let key = |engine: &str| {
            let key = format!(
                r#"{{"model":"m","precision":"fp32","device":"cpu","ranks":{{"world_size":1}},"engine":"{engine}","batch_size":1,
                "prompt_length":1,"generation_length":1}}"#
            );
            serde_json::from_str::<CellKey>(&key).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(key(&"a".repeat(255)), Ok(()));
        let error = key(&"a".repeat(256)).unwrap_err();
        assert!(error.starts_with("a name of 256 bytes, expected at most 255"), "{error}");
        let loaded = |notes: Vec<String>| {
            let loaded = serde_json::json!({"weights_bytes": 0, "notes": notes}).to_string();
            serde_json::from_str::<Loaded>(&loaded).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(loaded(vec!["a".repeat(4096); 100]), Ok(()));
        let error = loaded(vec![String::new(); 101]).unwrap_err();
        assert!(error.starts_with("101 notes, expected at most 100"), "{error}");
        let error = loaded(vec!["a".repeat(4097)]).unwrap_err();
        assert!(error.starts_with("a note of 4097 bytes, expected at most 4096"), "{error}");
    }
}
