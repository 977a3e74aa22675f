//! Entries of a history: what is accepted comes back, and becomes series.

use std::sync::LazyLock;

use compare::history::{Entry, History};
use proptest::prelude::*;
use serde_json::json;

use crate::{CaseResult, FuzzTarget};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "history", samples, words: WORDS, run };

const WORDS: &str = r#""prompt" "token" "wall_clock" "memory" "first_128" "tpot" "replicates" "means" "cells" "tables" "schema" 1 2 3
    5e-324 1.7976931348623157e308 0.5 [0.5,0.5] [] "2026-01-01T00:00:00Z""#;

/// An entry whose run began at `started`.
fn entry(started: &str) -> String {
    let cell = |prompt_length: u32| {
        let replicates = json!({"prompt": [0.5, 0.51], "token": [0.01, 0.0101], "memory": [1e9]});
        let means = json!({"token": [0.011, 0.012]});
        json!({"engine": "mock", "batch_size": 1, "prompt_length": prompt_length, "replicates": replicates, "means": means})
    };
    json!({
        "schema": 2, "started": started, "revision": "0f1e", "machine": "m1", "procedure": {"seed": "0", "replicates": "2"},
        "tables": [{"heading": "llama2-15m, FP32", "cells": [cell(16), cell(64)]}],
    })
    .to_string()
}

fn samples() -> Vec<Vec<u8>> {
    vec![entry("2026-01-02T00:00:00Z").into_bytes()]
}

/// What else the history has.
static OTHERS: LazyLock<[Entry; 2]> = LazyLock::new(|| {
    ["2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"].map(|at| Entry::parse(&entry(at)).unwrap())
});

fn run(input: &[u8]) -> CaseResult {
    let Ok(entry) = Entry::parse(&String::from_utf8_lossy(input)) else { return Ok(()) };
    let again = Entry::parse(&entry.to_json()).ok();
    prop_assert_eq!(again.as_ref(), Some(&entry));
    let name = entry.file_stem(1);
    prop_assert!(name.len() < 200 && !name.contains('/'), "{}", name);
    let history = History::from_entries(&OTHERS.iter().cloned().chain([entry]).collect::<Vec<_>>(), 0.05);
    for text in
        [history.to_terminal(true, None), history.to_terminal(false, Some(40)), history.to_markdown(true)]
    {
        prop_assert_eq!(text.chars().find(|char| char.is_control() && *char != '\n'), None);
    }
    let json = history.to_json();
    prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_an_entry() {
        assert!(Entry::parse(&entry("2026-01-02T00:00:00Z")).is_ok());
    }
}
