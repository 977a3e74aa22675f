//! Keys and values from a TOML file, and from flags that override them, each with where it was written: so that
//! every error starts from what the user wrote.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use protocol::Options;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// A setting that can't be used: where it was written, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// `configs/quick.toml:7: batch_sizes`, `--batch-size`.
    pub origin: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)
    }
}

impl std::error::Error for SettingsError {}

/// One setting.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) origin: String,
    /// Of the file; 0 for a flag.
    line: usize,
    pub(crate) value: Value,
    /// What a relative path in it is relative to.
    pub(crate) base: PathBuf,
}

impl Setting {
    /// A setting that a flag gives.
    pub(crate) fn of_flag(origin: &str, value: impl Into<Value>) -> Self {
        Self { origin: origin.into(), line: 0, value: value.into(), base: PathBuf::new() }
    }

    pub(crate) fn error(&self, what: impl fmt::Display) -> SettingsError {
        SettingsError { origin: self.origin.clone(), what: what.to_string() }
    }

    /// Whether a flag gave it.
    pub(crate) fn is_flag(&self) -> bool {
        self.line == 0
    }

    fn expected(&self, expected: &str) -> SettingsError {
        self.error(format!("expected {expected}, found {}", self.value))
    }

    /// A whole number in `least..=u32::MAX`.
    pub(crate) fn whole(&self, least: u32) -> Result<u32, SettingsError> {
        let number = self.value.as_integer().and_then(|number| u32::try_from(number).ok());
        number
            .filter(|&number| number >= least)
            .ok_or_else(|| self.expected(&format!("a whole number from {least}")))
    }

    /// One whole number from 1, or a list of them without repetition.
    pub(crate) fn sizes(&self) -> Result<Vec<u32>, SettingsError> {
        let expected = || self.expected("whole numbers from 1, each once");
        let size = |value: &Value| {
            let size = value.as_integer().and_then(|number| u32::try_from(number).ok());
            size.filter(|&size| size > 0).ok_or_else(expected)
        };
        let sizes = self.items().into_iter().map(size).collect::<Result<Vec<_>, _>>()?;
        let once = sizes.iter().enumerate().all(|(index, size)| !sizes[..index].contains(size));
        if sizes.is_empty() || !once { Err(expected()) } else { Ok(sizes) }
    }

    /// One word, or a list of words without repetition.
    pub(crate) fn words(&self) -> Result<Vec<String>, SettingsError> {
        let expected = || self.expected("a list of names, each once");
        let word = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(expected);
        let words = self.items().into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
        let once = words.iter().enumerate().all(|(index, word)| !words[..index].contains(word));
        if words.is_empty() || !once { Err(expected()) } else { Ok(words) }
    }

    /// One word.
    pub(crate) fn word(&self) -> Result<&str, SettingsError> {
        self.value.as_str().ok_or_else(|| self.expected("a text"))
    }

    /// True or false.
    pub(crate) fn flag(&self) -> Result<bool, SettingsError> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// The value of an engine's own option.
    pub(crate) fn option(&self) -> Result<serde_json::Value, SettingsError> {
        let value = serde_json::to_value(&self.value).map_err(|error| self.error(error))?;
        if has_null(&value) { Err(self.error("expected a finite number")) } else { Ok(value) }
    }

    /// A table of an engine's own options.
    pub(crate) fn options(&self) -> Result<Options, SettingsError> {
        match self.option()? {
            serde_json::Value::Object(options) => Ok(options.into_iter().collect()),
            _ => Err(self.error("expected a table of an engine's options")),
        }
    }

    /// A number of seconds above 0.
    pub(crate) fn seconds(&self) -> Result<f64, SettingsError> {
        let number = self.value.as_float().or_else(|| self.value.as_integer().map(|number| number as f64));
        let seconds = number.filter(|seconds| *seconds > 0.0 && *seconds <= 1e9);
        seconds.ok_or_else(|| self.expected("a number of seconds above 0"))
    }

    /// A number of seconds, or none (0).
    pub(crate) fn pause_seconds(&self) -> Result<f64, SettingsError> {
        let number = self.value.as_float().or_else(|| self.value.as_integer().map(|number| number as f64));
        let seconds = number.filter(|seconds| (0.0..=3600.0).contains(seconds));
        seconds.ok_or_else(|| self.expected("a number of seconds from 0 to 3600"))
    }

    /// A share above 0 and of at most `most`: `"0.5%"`, or the number 0.005.
    pub(crate) fn share(&self, most: f64) -> Result<f64, SettingsError> {
        let percent = |text: &str| {
            let number = text.trim().strip_suffix('%')?.trim().parse::<f64>().ok()?;
            Some(number / 100.0)
        };
        let share = self.value.as_str().map_or_else(|| self.value.as_float(), percent);
        let share = share.filter(|share| *share > 0.0 && *share <= most);
        share.ok_or_else(|| {
            self.expected(&format!("a percentage above 0 and of at most {}%, such as \"0.5%\"", most * 100.0))
        })
    }

    fn items(&self) -> Vec<&Value> {
        self.value.as_array().map_or_else(|| vec![&self.value], |items| items.iter().collect())
    }
}

/// What JSON makes of a number that is not finite.
fn has_null(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Array(items) => items.iter().any(has_null),
        serde_json::Value::Object(entries) => entries.values().any(has_null),
        _ => false,
    }
}

/// Settings by key; keys of sub-tables are dotted (`procedure.warmup_runs`).
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The file, where one was read.
    origin: Option<String>,
    entries: BTreeMap<String, Setting>,
}

impl Settings {
    /// Reads TOML. `origin` names the file in errors, `base` is what its relative paths are relative to. Sub-tables
    /// named in `sections` are opened (`procedure` gives `procedure.warmup_runs`), and so are those directly below a
    /// section named with a final dot; other tables are values.
    pub fn parse(text: &str, origin: &str, base: &Path, sections: &[&str]) -> Result<Self, SettingsError> {
        let line = |offset: usize| {
            1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&b| b == b'\n').count()
        };
        let table = DeTable::parse(text).map_err(|error| SettingsError {
            origin: format!("{origin}:{}", line(error.span().map_or(0, |span| span.start))),
            what: error.message().trim().replace('\n', ", "),
        })?;
        let mut settings = Self { origin: Some(origin.into()), ..Self::default() };
        let mut open = vec![(String::new(), table.into_inner())];
        while let Some((prefix, table)) = open.pop() {
            for (key, value) in table {
                let line = line(key.span().start);
                let key = format!("{prefix}{}", key.into_inner());
                match value.into_inner() {
                    DeValue::Table(inner)
                        if sections.contains(&key.as_str()) || sections.contains(&prefix.as_str()) =>
                    {
                        open.push((format!("{key}."), inner));
                    }
                    value => {
                        let origin = format!("{origin}:{line}: {key}");
                        let value =
                            convert(value).map_err(|what| SettingsError { origin: origin.clone(), what })?;
                        let setting = Setting { origin, line, value, base: base.into() };
                        // `"a.b" = 1` beside `[a] b = 2`: to TOML they are two keys.
                        if let Some(earlier) = settings.entries.insert(key, setting.clone()) {
                            return Err(setting.error(format!("set twice: also in {}", earlier.origin)));
                        }
                    }
                }
            }
        }
        Ok(settings)
    }

    /// Sets `key` from a flag: `origin` is the flag, relative paths are relative to the working folder.
    pub fn set(&mut self, key: &str, origin: &str, value: impl Into<Value>) {
        self.entries.insert(key.into(), Setting::of_flag(origin, value));
    }

    /// Whether `key` is set.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where the first setting was written; `None` where nothing is set.
    pub fn first_origin(&self) -> Option<&str> {
        self.entries.values().next().map(|setting| setting.origin.as_str())
    }

    /// Takes a setting that must be there.
    pub(crate) fn need(&mut self, key: &str) -> Result<Setting, SettingsError> {
        let origin = self.origin.clone();
        let missing = || SettingsError {
            origin: origin.unwrap_or_else(|| "settings".into()),
            what: format!("{key} is not set"),
        };
        self.take(key).ok_or_else(missing)
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Setting> {
        self.entries.remove(key)
    }

    /// Takes everything below `prefix.`.
    pub(crate) fn take_below(&mut self, prefix: &str) -> Vec<(String, Setting)> {
        let prefix = format!("{prefix}.");
        let keys: Vec<_> = self.entries.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        keys.into_iter()
            .filter_map(|key| Some((key[prefix.len()..].to_owned(), self.entries.remove(&key)?)))
            .collect()
    }

    /// Refuses the first key, in the file's order, that `known` does not have among its equals: those without a dot,
    /// or those below the same table. Tables that `known` names with a final dot take any key.
    pub(crate) fn refuse_unknown(&self, known: &[&str]) -> Result<(), SettingsError> {
        let table = |key: &str| key.rfind('.').map_or(0, |dot| dot + 1);
        let below = |key: &str| known.iter().any(|known| known.ends_with('.') && key.starts_with(known));
        let is_known = |key: &str| known.contains(&key) || below(key);
        let unknown = self.entries.iter().filter(|(key, _)| !is_known(key));
        let Some((key, setting)) = unknown.min_by_key(|(_, setting)| setting.line) else { return Ok(()) };
        let prefix = &key[..table(key)];
        let equals = known.iter().filter_map(|known| known.strip_prefix(prefix));
        let equals: Vec<&str> = equals.filter(|rest| !rest.is_empty() && !rest.contains('.')).collect();
        Err(setting.error(format!("unknown key: expected one of {}", equals.join(", "))))
    }
}

fn convert(value: DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Value::Integer(
                parsed
                    .map_err(|_| format!("expected a number that fits 64 bits, found {}", number.as_str()))?,
            )
        }
        DeValue::Float(number) => {
            Value::Float(number.as_str().parse().map_err(|_| "expected a number".to_owned())?)
        }
        DeValue::Boolean(flag) => Value::Boolean(flag),
        DeValue::Datetime(moment) => Value::Datetime(moment),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| convert(item.into_inner()));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| {
                Ok::<_, String>((key.into_inner().into_owned(), convert(value.into_inner())?))
            });
            Value::Table(entries.collect::<Result<_, _>>()?)
        }
    })
}
