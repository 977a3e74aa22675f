//! The JSON Schemas of `docs/reference/schemas` accept every run that is kept in `results/`, and refuse what is not read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use protocol::{Environment, Measurement, Reply, Verification};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn schema(name: &str) -> Validator {
    let path = root().join(format!("docs/reference/schemas/{name}.schema.json"));
    jsonschema::validator_for(&json(&path)).unwrap()
}

/// The files of this name below a folder.
fn files(dir: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path, name) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.file_name().is_some_and(|file| file == name)).collect()
}

fn hold(schema: &Validator, value: &Value, place: &str) {
    let errors: Vec<String> =
        schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{place}: {errors:?}");
}

#[test]
fn the_schemas_accept_every_kept_run() {
    for name in ["environment", "verification"] {
        let (schema, files) = (schema(name), files(&root().join("results"), &format!("{name}.json")));
        assert!(files.len() > 5, "{name}");
        files.iter().for_each(|path| hold(&schema, &json(path), &path.display().to_string()));
    }
    let (schema, files) = (schema("measurements"), files(&root().join("results"), "measurements.jsonl"));
    assert!(files.len() > 5);
    for path in files {
        for (index, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let place = format!("{}:{}", path.display(), index + 1);
            hold(&schema, &serde_json::from_str(line).unwrap(), &place);
        }
    }
}

/// The names of an object's fields, and of all fields of objects in it.
fn fields(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                names.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| fields(value, names));
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, names)),
        _ => {}
    }
}

#[test]
fn the_pages_name_every_field() {
    let read = |name: &str| std::fs::read_to_string(root().join("docs/reference").join(name)).unwrap();
    let (run_folder, pipe) = (read("run-folder.md"), read("protocol.md"));
    for name in ["environment", "measurements", "verification", "protocol"] {
        let mut schema = json(&root().join(format!("docs/reference/schemas/{name}.schema.json")));
        // Records of schema 1 are no longer written.
        schema["$defs"].as_object_mut().unwrap().remove("MeasurementV1");
        let mut names = BTreeSet::new();
        fields(&schema, &mut names);
        let page = if name == "protocol" { pipe.clone() } else { run_folder.clone() + &pipe };
        let words: BTreeSet<&str> = page.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let missing: Vec<_> = names.iter().filter(|field| !words.contains(field.as_str())).collect();
        assert!(missing.is_empty(), "docs/reference does not name these fields of {name}: {missing:?}");
    }
}

/// Whether the schema and the program agree that this is none.
fn is_refused<T: DeserializeOwned>(schema: &Validator, value: &Value) -> bool {
    let (by_schema, by_program) =
        (!schema.is_valid(value), serde_json::from_value::<T>(value.clone()).is_err());
    assert_eq!(by_schema, by_program, "{value}");
    by_schema
}

/// The value with another one at a place.
fn with(value: &Value, place: &str, other: Value) -> Value {
    let mut value = value.clone();
    let (object, key) = place.rsplit_once('/').unwrap();
    let object = value.pointer_mut(object).unwrap();
    match object {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = other,
        object => object[key] = other,
    }
    value
}

#[test]
fn a_schema_refuses_what_the_program_refuses() {
    let reply = json!({"reply": "measured", "prompt_seconds": [0.1], "memory": {}, "tokens_sha256": "",
        "generations": [{"prompt_seconds": 0.1, "token_seconds": [0.1], "wall_seconds": 0.3}],
        "device_seconds": {"prompt": [0.0], "tokens": [[0.1]]}, "collectives": {"prompt": 0.0, "tokens": 1.0}});
    let pipe = schema("protocol");
    assert!(!is_refused::<Reply>(&pipe, &reply));
    let bad = [
        ("/prompt_seconds/0", json!(0.0)),
        ("/prompt_seconds/0", json!(2e9)),
        ("/generations/0/wall_seconds", json!(null)),
        ("/generations/0/tokens", json!(1)),
        ("/device_seconds/tokens/0", json!([1e-10])),
        ("/collectives/tokens", json!(1.1)),
        ("/memory/peak_bytes", json!((1_u64 << 52) + 1)),
        ("/memory/peak_bytes", json!(-1)),
        ("/reply", json!("measure")),
        ("/latency", json!(1)),
    ];
    for (place, value) in bad {
        assert!(is_refused::<Reply>(&pipe, &with(&reply, place, value)), "{place}");
    }
    let notes = |count, length| json!({"reply": "loaded", "weights_bytes": 1, "notes": vec!["a".repeat(length); count]});
    assert!(!is_refused::<Reply>(&pipe, &notes(100, 4096)));
    assert!(is_refused::<Reply>(&pipe, &notes(101, 1)) && is_refused::<Reply>(&pipe, &notes(1, 4097)));

    let key = json!({"model": "m", "precision": "fp32", "device": "cuda:1", "ranks": {"world_size": 2}, "engine": "e",
        "batch_size": 1, "prompt_length": 16, "generation_length": 1});
    let failed = json!({"kind": "skipped", "phase": null, "error": "x"});
    let record = json!({"schema": 2, "key": key, "replicate": 0, "part": 1, "outcome": {"failed": failed}});
    let records = schema("measurements");
    assert!(!is_refused::<Measurement>(&records, &record));
    for (place, value) in [
        ("/key/device", json!("gpu")),
        ("/key/engine", json!("e".repeat(256))),
        ("/key/precision", json!("fp8")),
        ("/outcome/failed/kind", json!("oom")),
        ("/read_bytes_per_second", json!(0.5)),
        ("/rows", json!(1)),
    ] {
        assert!(is_refused::<Measurement>(&records, &with(&record, place, value)), "{place}");
    }
    // What the program refuses behind the types' own reading.
    for (place, value) in
        [("/schema", json!(3)), ("/key/batch_size", json!(0)), ("/key/ranks/world_size", json!(0))]
    {
        let record = with(&record, place, value);
        assert!(!records.is_valid(&record), "{place}");
        assert!(Measurement::from_json(record.to_string().as_bytes()).is_err(), "{place}");
    }

    assert!(is_refused::<Environment>(&schema("environment"), &json!({})));
    assert!(is_refused::<Vec<Verification>>(&schema("verification"), &json!([{"model": "m"}])));
}
