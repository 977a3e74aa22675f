//! Entries of a history: what is accepted comes back, and becomes series.

use compare::history::{Entry, History};
use proptest::prelude::*;
use serde_json::json;
use testing::fuzz::{BoundedAllocator, Corpus, check};

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

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

#[test]
fn any_entry() {
    let sample = entry("2026-01-02T00:00:00Z");
    assert!(Entry::parse(&sample).is_ok());
    let others = ["2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"].map(|at| Entry::parse(&entry(at)).unwrap());
    check(1000, Corpus::new([sample], WORDS).inputs(), |input| {
        let Ok(entry) = Entry::parse(&input.text()) else { return Ok(()) };
        let again = Entry::parse(&entry.to_json()).ok();
        prop_assert_eq!(again.as_ref(), Some(&entry));
        let name = entry.file_stem(1);
        prop_assert!(name.len() < 200 && !name.contains('/'), "{}", name);
        let history = History::from_entries(&others.iter().cloned().chain([entry]).collect::<Vec<_>>(), 0.05);
        for text in
            [history.to_terminal(true, None), history.to_terminal(false, Some(40)), history.to_markdown(true)]
        {
            prop_assert_eq!(text.chars().find(|char| char.is_control() && *char != '\n'), None);
        }
        let json = history.to_json();
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        Ok(())
    });
}
