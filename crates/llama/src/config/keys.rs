//! The keys of a `config.json`, each read with its type and named in errors.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::ConfigError;
use crate::json::unquoted;

/// The largest size: larger ones come from a damaged or hostile file, and would overflow.
const LARGEST_SIZE: u64 = 1 << 24;

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// An object of a config.
#[derive(Clone, Copy)]
pub(crate) struct ConfigObject<'a> {
    object: &'a Map<String, Value>,
    origin: &'a str,
    /// The key that the object stands under, where it is inside the config.
    inside: Option<&'a str>,
}

impl<'a> ConfigObject<'a> {
    /// The keys of the whole config.
    pub(super) fn new(object: &'a Map<String, Value>, origin: &'a str) -> Self {
        Self { object, origin, inside: None }
    }

    /// The keys of nothing.
    pub(crate) fn empty(&self) -> Self {
        Self { object: &EMPTY, ..*self }
    }

    /// The object under `key`; `None` where there is none, or an empty one.
    pub(crate) fn object(&self, key: &'a str) -> Result<Option<Self>, ConfigError> {
        match self.value(key) {
            Value::Null | Value::Bool(false) => Ok(None),
            Value::Object(object) if object.is_empty() => Ok(None),
            Value::Object(object) => Ok(Some(Self { object, origin: self.origin, inside: Some(key) })),
            other => Err(self.error(key, "an object".into(), other)),
        }
    }

    /// Whether `key` is there, even if with `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// The value of `key`, or `null`.
    pub(crate) fn value(&self, key: &str) -> &'a Value {
        self.object.get(key).unwrap_or(&Value::Null)
    }

    /// The value of `key`, where it is there and not `null`.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// The error that `key` has an unexpected value.
    pub(crate) fn error(&self, key: &str, expected: String, found: &Value) -> ConfigError {
        let found = if self.has(key) || !found.is_null() { brief(found) } else { "nothing".into() };
        let key = self.inside.map_or(key.into(), |object| format!("{object}.{key}"));
        ConfigError::Key { origin: self.origin.into(), key, expected, found }
    }

    /// Checks that `key` is absent, `null`, or a value that holds.
    pub(crate) fn only(
        &self,
        key: &str,
        expected: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<(), ConfigError> {
        match self.get(key) {
            Some(value) if !holds(value) => Err(self.error(key, expected.into(), value)),
            _ => Ok(()),
        }
    }

    /// The size `key`.
    pub(crate) fn size(&self, key: &str) -> Result<usize, ConfigError> {
        let value = self.value(key);
        match value.as_u64() {
            Some(size) if (1..=LARGEST_SIZE).contains(&size) => Ok(size as usize),
            _ => Err(self.error(key, format!("a whole number from 1 to {LARGEST_SIZE}"), value)),
        }
    }

    /// The size `key`, or the default.
    pub(super) fn size_or(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        if self.get(key).is_some() { self.size(key) } else { Ok(default) }
    }

    /// The size `key`, which may be written as a float: 8192.0.
    pub(crate) fn size_or_whole_float(&self, key: &str) -> Result<usize, ConfigError> {
        match self.value(key).as_f64() {
            Some(size) if size.fract() == 0.0 && (1.0..=LARGEST_SIZE as f64).contains(&size) => {
                Ok(size as usize)
            }
            _ => self.size(key),
        }
    }

    /// The positive number `key`.
    pub(crate) fn positive(&self, key: &str) -> Result<f64, ConfigError> {
        let value = self.value(key);
        match value.as_f64() {
            Some(number) if number.is_finite() && number > 0.0 => Ok(number),
            _ => Err(self.error(key, "a number above 0".into(), value)),
        }
    }

    /// The number `key`, which is 0 or positive, or the default.
    pub(super) fn non_negative_or(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        match value.as_f64() {
            Some(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(self.error(key, "a number from 0".into(), value)),
        }
    }

    /// True or false, or the default.
    pub(super) fn bool_or(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.error(key, "true or false".into(), value))
    }
}

/// A value as written in a config, shortened for an error.
pub(super) fn brief(value: &Value) -> String {
    let text = unquoted(&value.to_string());
    if text.chars().count() <= 80 { text } else { text.chars().take(79).chain(['…']).collect() }
}
