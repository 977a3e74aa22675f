//! JSON Schemas of what crosses the pipe and of a run's files, as the types give them: `INSTA_UPDATE=always cargo nextest run -p
//! protocol schema` writes them.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::read_measurement::MeasurementV1;
use crate::{Device, Environment, LONGEST_NAME, Measurement, Reply, Request, Share, Verification};
use crate::{bounds, latency, texts};

/// Gives types the schema that their own reading accepts.
macro_rules! schemas {
    ($($name:ty => $schema:expr,)*) => {$(
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

/// Names what the functions of [`bounds`], [`latency`] and [`texts`] accept.
macro_rules! markers {
    ($($name:ident),*) => {$(pub(crate) struct $name;)*};
}

markers!(Fraction, Seconds, Bytes, Watts, Joules, Rate, LoadAverage, Latency, DeviceLatency);
markers!(Name, Notes, RecordNotes);

schemas! {
    Fraction => number(&bounds::FRACTION),
    Seconds => number(&bounds::SECONDS),
    Bytes => json_schema!({ "type": "integer", "minimum": 0, "maximum": *bounds::BYTES.end() as u64 }),
    Watts => number(&bounds::WATTS),
    Joules => number(&bounds::JOULES),
    Rate => number(&bounds::RATE),
    LoadAverage => number(&bounds::LOAD_AVERAGE),
    Latency => number(&(latency::SHORTEST..=latency::LONGEST)),
    DeviceLatency => json_schema!({ "anyOf": [{ "const": 0.0 }, number(&(latency::SHORTEST..=latency::LONGEST))] }),
    Name => json_schema!({ "type": "string", "maxLength": LONGEST_NAME }),
    Notes => lines(texts::MOST_NOTES),
    RecordNotes => lines(2 * texts::MOST_NOTES),
    Device => json_schema!({ "type": "string", "pattern": "^(cpu|cuda|cuda:[0-9]+)$" }),
    Share => json_schema!({ "type": "string", "pattern": "^[0-9]+/[0-9]+$" }),
}

/// An object whose keys are words.
pub(crate) struct Map<K, V>(PhantomData<(K, V)>);

impl<K: JsonSchema, V: JsonSchema> JsonSchema for Map<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Map".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (keys, values) = (generator.subschema_for::<K>(), generator.subschema_for::<V>());
        json_schema!({ "type": "object", "propertyNames": keys, "additionalProperties": values })
    }
}

fn number(range: &std::ops::RangeInclusive<f64>) -> Schema {
    json_schema!({ "type": "number", "minimum": range.start(), "maximum": range.end() })
}

fn lines(most: usize) -> Schema {
    let line = json!({ "type": "string", "maxLength": texts::LONGEST_NOTE });
    json_schema!({ "type": "array", "maxItems": most, "items": line })
}

/// A schema that accepts each of the types.
fn any_of(title: &str, types: &[fn(&mut SchemaGenerator) -> Schema]) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let any: Vec<Schema> = types.iter().map(|one| one(&mut generator)).collect();
    let one = |mut any: Vec<Schema>| {
        if any.len() == 1 { any.remove(0).to_value() } else { json!({ "anyOf": any }) }
    };
    let mut schema = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title });
    let object = schema.as_object_mut().unwrap();
    object.extend(one(any).as_object().unwrap().clone());
    object.insert("$defs".into(), generator.take_definitions(true).into());
    schema
}

/// Compares a file of `docs/reference/schemas` with the schema, or writes it.
fn hold(name: &str, schema: &Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/schemas");
    let path = folder.join(format!("{name}.schema.json"));
    // Descriptions are the types' own documentation, with Rust's words in it.
    let words = [("[`", "`"), ("`]", "`"), ("`None`", "null"), ("crate::", "")];
    let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
    let text = words.iter().fold(text, |text, (rust, plain)| text.replace(rust, plain));
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let is_same = std::fs::read_to_string(&path).is_ok_and(|written| written == text);
    assert!(is_same, "{} is stale: INSTA_UPDATE=always cargo nextest run -p protocol schema", path.display());
}

#[test]
fn the_schema_of_the_pipe_is_that_of_its_types() {
    let types = [SchemaGenerator::subschema_for::<Request>, SchemaGenerator::subschema_for::<Reply>];
    hold("protocol", &any_of("A line between llama2-bench and a worker", &types));
}

#[test]
fn the_schemas_of_a_runs_files_are_those_of_their_types() {
    let records =
        [SchemaGenerator::subschema_for::<Measurement>, SchemaGenerator::subschema_for::<MeasurementV1>];
    hold("measurements", &any_of("A line of measurements.jsonl", &records));
    let mut environment = any_of("environment.json", &[SchemaGenerator::subschema_for::<Environment>]);
    let properties = environment.pointer_mut("/$defs/Environment/properties").unwrap();
    let mut ceilings = properties["peaks"].clone();
    ceilings["description"] = "The name of `peaks` in files from before 2026-11-30.".into();
    ceilings["deprecated"] = true.into();
    properties["ceilings"] = ceilings;
    hold("environment", &environment);
    hold(
        "verification",
        &any_of("verification.json", &[SchemaGenerator::subschema_for::<Vec<Verification>>]),
    );
}
