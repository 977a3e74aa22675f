//! Types of values that a key can have: the accepted values as text and as JSON Schema, and how TOML and flags write them.

use std::collections::HashSet;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use protocol::{Device, LockedClock, Options, Precision};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value as Json, json};
use toml::Value;

use crate::sweep::units::parse_bytes;

/// The kind of a flag on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKind {
    /// `--prune-oom`.
    Switch,
    /// `--seed 1`.
    One,
    /// `--batch-size 1,4`, or several times.
    List,
    /// `--option ENGINE.KEY=VALUE`, also several times.
    Pairs,
}

/// A type of value.
pub(crate) trait SettingValue: Serialize + Sized {
    const FLAG: FlagKind;

    /// The accepted values, as text.
    fn expected() -> String;

    /// The accepted values, as JSON Schema.
    fn schema() -> Json;

    /// Reads a value from TOML; `None` where it is not accepted.
    fn from_toml(value: &Value) -> Option<Self>;

    /// Reads a value from TOML.
    ///
    /// # Errors
    /// The expected and the found value.
    fn read(value: &Value) -> Result<Self, String> {
        Self::from_toml(value)
            .ok_or_else(|| format!("expected {}, found {}", Self::expected(), brief(&value.to_string())))
    }

    /// Reads a value from a flag's words, as text or else as numbers.
    ///
    /// # Errors
    /// The expected and the found value.
    fn read_words(words: &[String]) -> Result<Self, String> {
        let value = |item: fn(&str) -> Value| match Self::FLAG {
            FlagKind::Switch => true.into(),
            FlagKind::One | FlagKind::Pairs => item(words.last().map_or("", String::as_str)),
            FlagKind::List => {
                words.iter().flat_map(|word| split_list(word)).map(item).collect::<Vec<_>>().into()
            }
        };
        let text = Self::from_toml(&value(|word| word.into()));
        text.map_or_else(|| Self::read(&value(number_or_text)), Ok)
    }
}

/// The items of a list after a flag. Commas separate them, and spaces around an item do not count. An item with a `/` is a path, which may
/// have commas: the longest one that exists, or the rest of the text where none does.
fn split_list(word: &str) -> Vec<&str> {
    let (mut items, mut rest) = (Vec::new(), Some(word));
    while let Some(text) = rest {
        let mut ends = text.match_indices(',').map(|(at, _)| at).chain([text.len()]);
        let first = ends.clone().next().unwrap_or(text.len());
        let end = if text[..first].contains('/') {
            ends.rfind(|&end| Path::new(text[..end].trim()).exists()).unwrap_or(text.len())
        } else {
            first
        };
        items.push(text[..end].trim());
        rest = text.get(end + 1..);
    }
    items
}

/// A text for an error, cut where it is long.
pub(crate) fn brief(text: &str) -> String {
    const LONGEST: usize = 200;
    if text.chars().nth(LONGEST).is_none() {
        text.into()
    } else {
        text.chars().take(LONGEST).chain(['…']).collect()
    }
}

fn number_or_text(word: &str) -> Value {
    let whole = word.parse::<i64>().map(Value::from);
    whole.or_else(|_| word.parse::<f64>().map(Value::from)).unwrap_or_else(|_| word.into())
}

fn whole(value: &Value, least: u32) -> Option<u32> {
    value.as_integer().and_then(|number| u32::try_from(number).ok()).filter(|&number| number >= least)
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|number| number as f64))
}

/// The items of a list, or a single value as a list of one; `None` where an item is repeated or wrong.
fn list<T: Eq + Hash>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let items = items.iter().map(read).collect::<Option<Vec<T>>>()?;
    let mut seen = HashSet::with_capacity(items.len());
    let once = items.iter().all(|item| seen.insert(item));
    (once && !items.is_empty()).then_some(items)
}

fn list_schema(item: &Json) -> Json {
    json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1, "uniqueItems": true }] })
}

/// A value that JSON has, too, since its numbers are finite.
fn finite(value: &Value) -> Option<Json> {
    fn has_null(value: &Json) -> bool {
        match value {
            Json::Null => true,
            Json::Array(items) => items.iter().any(has_null),
            Json::Object(entries) => entries.values().any(has_null),
            _ => false,
        }
    }
    serde_json::to_value(value).ok().filter(|json| !has_null(json))
}

/// A whole number in `LEAST..=u32::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Whole<const LEAST: u32>(pub u32);

impl<const LEAST: u32> SettingValue for Whole<LEAST> {
    const FLAG: FlagKind = FlagKind::One;

    fn expected() -> String {
        format!("a whole number from {LEAST}")
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": LEAST, "maximum": u32::MAX })
    }

    fn from_toml(value: &Value) -> Option<Self> {
        whole(value, LEAST).map(Self)
    }
}

/// A number of seconds above 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Seconds(pub f64);

/// A number of seconds from 0 to an hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PauseSeconds(pub f64);

/// A share above 0 and of at most 10 %: `"0.5%"`, or the number 0.005.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentage(pub f64);

/// The least number without a unit that is taken for bytes.
const LEAST_BYTES: i64 = 1 << 20;

/// The largest share. A larger number is more likely a percentage without its sign.
const MOST_SHARE: f64 = 0.1;

/// A size in bytes: `"1GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}B", self.0))
    }
}

/// The lifetime of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// One worker for all cells of an engine; a fresh one after a failed cell.
    Engine,
    /// A fresh worker for every cell.
    Cell,
    /// One worker for each engine, all loaded at once. They take turns, and a replicate is a turn.
    Turn,
}

/// The order in which the cells of a replicate are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellOrder {
    /// Shuffled by the sweep's seed, without loading a model again.
    Shuffled,
    /// The order of the table's rows.
    Table,
}

/// When the device's peaks are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeaksPolicy {
    /// Once, before the first cell; or those that an earlier run measured on this machine within a day.
    Run,
    /// Once, before the first cell, whatever an earlier run measured.
    Again,
    /// Once, and on a CPU the memory bandwidth right before and right after every cell.
    Cell,
}

/// A row of a table: `["onnxruntime", 1, 16]` in TOML.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SweepRow(pub String, pub u32, pub u32);

/// A program and its arguments.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CommandLine {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
}

/// Declares a type of value: its kind of flag, the accepted values as text and as JSON Schema, and how TOML has it.
macro_rules! setting_value {
    ($type:ty, $flag:ident, $expected:expr, $schema:expr, $from_toml:expr) => {
        impl SettingValue for $type {
            const FLAG: FlagKind = FlagKind::$flag;

            fn expected() -> String {
                $expected.into()
            }

            fn schema() -> Json {
                $schema
            }

            fn from_toml(value: &Value) -> Option<Self> {
                let read: fn(&Value) -> Option<Self> = $from_toml;
                read(value)
            }
        }
    };
}

setting_value!(bool, Switch, "true or false", json!({ "type": "boolean" }), Value::as_bool);

setting_value!(PathBuf, One, "a path", json!({ "type": "string" }), |value| value.as_str().map(Self::from));

setting_value!(
    Vec<u32>,
    List,
    "whole numbers from 1, each once",
    list_schema(&Whole::<1>::schema()),
    |value| list(value, |item| whole(item, 1))
);

setting_value!(
    Vec<String>,
    List,
    "a list of names, each once",
    list_schema(&json!({ "type": "string" })),
    |value| list(value, |item| item.as_str().map(str::to_owned))
);

setting_value!(
    Vec<SweepRow>,
    One,
    "rows such as [\"onnxruntime\", 1, 16], each once",
    {
        let items = [json!({ "type": "string" }), Whole::<1>::schema(), Whole::<1>::schema()];
        let row = json!({ "type": "array", "prefixItems": items, "items": false, "minItems": 3 });
        json!({ "type": "array", "items": row, "minItems": 1, "uniqueItems": true })
    },
    |value| {
        let row = |row: &Value| match row.as_array()?.as_slice() {
            [engine, batch, prompt] => {
                Some(SweepRow(engine.as_str()?.into(), whole(batch, 1)?, whole(prompt, 1)?))
            }
            _ => None,
        };
        // One row alone is no list of rows.
        list(value, row).filter(|_| value.is_array())
    }
);

setting_value!(
    Seconds,
    One,
    "a number of seconds above 0",
    json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1e9 }),
    |value| number(value).filter(|seconds| *seconds > 0.0 && *seconds <= 1e9).map(Self)
);

setting_value!(
    PauseSeconds,
    One,
    "a number of seconds from 0 to 3600",
    json!({ "type": "number", "minimum": 0, "maximum": 3600 }),
    |value| number(value).filter(|seconds| (0.0..=3600.0).contains(seconds)).map(Self)
);

setting_value!(
    Percentage,
    One,
    format!("a percentage above 0 and of at most {}%, such as \"0.5%\"", MOST_SHARE * 100.0),
    json!({ "anyOf": [
        { "type": "string", "pattern": "%\\s*$" },
        { "type": "number", "exclusiveMinimum": 0, "maximum": MOST_SHARE },
    ] }),
    |value| {
        let percent = |text: &str| {
            let number = text.trim().strip_suffix('%')?.trim().parse::<f64>().ok()?;
            Some(number / 100.0)
        };
        let share = value.as_str().map_or_else(|| value.as_float(), percent);
        share.filter(|share| *share > 0.0 && *share <= MOST_SHARE).map(Self)
    }
);

impl SettingValue for Bytes {
    const FLAG: FlagKind = FlagKind::One;

    fn expected() -> String {
        "a size such as \"2GiB\" or \"512MiB\"".into()
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            { "type": "string", "pattern": "^\\s*[0-9.eE+-]+\\s*([KMGTkmgt]([iI]?[bB])?|[bB])\\s*$" },
            { "type": "integer", "minimum": LEAST_BYTES },
        ] })
    }

    fn from_toml(value: &Value) -> Option<Self> {
        Self::read(value).ok()
    }

    /// A number alone is bytes where it is too large for another unit: the `sweep.toml` of runs before version 0.1.0 has such.
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Integer(bytes) if *bytes >= LEAST_BYTES => Ok(Self(*bytes as u64)),
            Value::Integer(bytes) => parse_bytes(&bytes.to_string()).map(Self),
            Value::Float(bytes) => parse_bytes(&bytes.to_string()).map(Self),
            Value::String(text) => parse_bytes(text).map(Self),
            _ => Err(format!("expected {}, found {}", Self::expected(), brief(&value.to_string()))),
        }
    }

    fn read_words(words: &[String]) -> Result<Self, String> {
        parse_bytes(words.last().map_or("", String::as_str)).map(Self)
    }
}

setting_value!(
    LockedClock,
    One,
    "base or a clock in MHz",
    json!({ "anyOf": [
        { "type": "string", "pattern": "^(base|[0-9]+)$" },
        { "type": "integer", "minimum": 1, "maximum": 99_999 },
    ] }),
    |value| {
        let text = value.as_integer().map(|mhz| mhz.to_string());
        text.as_deref().or(value.as_str())?.parse().ok()
    }
);

setting_value!(
    Device,
    One,
    "cpu, cuda or cuda:N",
    json!({ "type": "string", "pattern": "^(cpu|cuda(:[0-9]+)?)$" }),
    |value| value.as_str()?.parse().ok()
);

/// Precisions; a single one is written without a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precisions(pub Vec<Precision>);

impl Serialize for Precisions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [single] => single.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

setting_value!(
    Precisions,
    List,
    "fp32, fp16, bf16, int8, int8-g128, int8-channel, int4, int4-g128, or a list of these",
    list_schema(&json!({ "enum": Precision::ALL })),
    |value| list(value, |item| item.as_str()?.parse().ok()).map(Self)
);

setting_value!(
    Isolation,
    One,
    "\"engine\", \"cell\" or \"turn\"",
    json!({ "enum": ["engine", "cell", "turn"] }),
    |value| Self::deserialize(value.clone()).ok()
);

setting_value!(
    CellOrder,
    One,
    "\"shuffled\" or \"table\"",
    json!({ "enum": ["shuffled", "table"] }),
    |value| Self::deserialize(value.clone()).ok()
);

setting_value!(
    PeaksPolicy,
    One,
    "\"run\", \"cell\" or \"again\"",
    json!({ "enum": ["run", "cell", "again"] }),
    |value| Self::deserialize(value.clone()).ok()
);

setting_value!(Json, One, "a value of finite numbers", json!({}), finite);

setting_value!(
    Options,
    One,
    "a table of an engine's options, of finite numbers",
    json!({ "type": "object" }),
    |value| finite(value)?.as_object().map(|options| options.clone().into_iter().collect())
);

setting_value!(
    CommandLine,
    One,
    "a list of texts: a program and its arguments",
    json!({ "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 }),
    |value| {
        let word = |word: &Value| word.as_str().filter(|word| !word.is_empty()).map(str::to_owned);
        let mut words = value.as_array()?.iter().map(word).collect::<Option<Vec<_>>>()?.into_iter();
        Some(Self { program: words.next()?, arguments: words.collect() })
    }
);
