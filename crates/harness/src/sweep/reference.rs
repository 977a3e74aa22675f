//! The JSON Schema and the reference page of a sweep, as its keys give them: `INSTA_UPDATE=always cargo nextest run -p harness
//! reference` writes both.

use std::path::Path;

use serde_json::Value as Json;

use crate::sweep::keys::SweepKeys;
use crate::sweep::layer::{Key, Layer, Spec};
use crate::sweep::values::FlagKind;

const INTRODUCTION: &str = "\
# Keys of a sweep

A sweep is a TOML file: `llama2-bench run SWEEP.toml`.
A flag replaces what the file says.
A list after a flag has commas, and may have spaces: `--batch-size 1,4` or `--batch-size \"1, 4\"`; the flag may be repeated.
A path keeps its commas: `--model \"/data/a,b\"` is one model, unless there is a `/data/a` and no `/data/a,b`.
An editor checks a sweep against the JSON Schema, `configs/sweep.schema.json`, where its first line is
`#:schema PATH/TO/configs/sweep.schema.json`.

This page is made from the keys' declaration, `crates/harness/src/sweep/keys.rs`.

| key | value | default | flag | meaning |
|---|---|---|---|---|
";

fn schema() -> Json {
    let mut schema = SweepKeys::describe("", "A sweep of llama2-bench", &Spec::FILE_ONLY, &mut Vec::new());
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema
}

fn page() -> String {
    SweepKeys::keys().iter().map(row).fold(INTRODUCTION.to_owned(), |page, row| page + &row)
}

fn row(key: &Key) -> String {
    let flag = key.flag.map(|flag| match key.kind {
        FlagKind::Switch => format!("`--{}`", flag.name),
        _ => format!("`--{} {}`", flag.name, flag.value_name),
    });
    let default = key.default.map(|default| format!("`{default}`")).unwrap_or_default();
    let cells =
        [format!("`{}`", key.path), key.expected.clone(), default, flag.unwrap_or_default(), key.meaning()];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

/// Holds a file of the repository equal to `text`, or writes it.
fn hold(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{}", path.display());
}

#[test]
fn the_schema_is_that_of_the_keys() {
    hold("configs/sweep.schema.json", &(serde_json::to_string_pretty(&schema()).unwrap() + "\n"));
}

#[test]
fn the_page_is_that_of_the_keys() {
    hold("docs/reference/sweep.md", &page());
}
