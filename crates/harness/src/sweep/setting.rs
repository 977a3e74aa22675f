//! A value with the place where it was written, so that every error starts from the user's own text.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// An unusable setting: where it was written, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// Where it was written: `configs/quick.toml:7: batch_sizes`, `--batch-size`.
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

/// The place where a setting was written.
#[derive(Debug, Clone)]
pub struct Origin {
    place: String,
    /// The folder of the file; `None` for a flag.
    folder: Option<PathBuf>,
}

impl Origin {
    /// The origin of a flag, or of the program itself.
    pub(crate) fn flag(name: &str) -> Self {
        Self { place: name.into(), folder: None }
    }

    /// The origin of a key of a file in `folder`.
    pub(crate) fn file(place: String, folder: &Path) -> Self {
        Self { place, folder: Some(folder.into()) }
    }

    /// An error of this setting.
    pub fn error(&self, what: impl fmt::Display) -> SettingsError {
        SettingsError { origin: self.to_string(), what: what.to_string() }
    }

    /// The folder of relative paths: the file's, or the working folder for a flag.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new(""))
    }

    /// A key as its flag where this is one: `--world-size` for `world_size`.
    pub(crate) fn key(&self, key: &str) -> String {
        if self.is_flag() { format!("--{}", key.replace('_', "-")) } else { key.into() }
    }

    pub(crate) fn is_flag(&self) -> bool {
        self.folder.is_none()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// A value and where it was written. Two settings are equal if their values are.
#[derive(Debug, Clone)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value given by `flag`.
    pub fn new(value: T, flag: &str) -> Self {
        Self { value, origin: Origin::flag(flag) }
    }

    /// An error of this setting.
    pub(crate) fn error(&self, what: impl fmt::Display) -> SettingsError {
        self.origin.error(what)
    }
}

impl<T: PartialEq> PartialEq for Setting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Serialize> Serialize for Setting<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// The value of a key that has a default, in a layer over the defaults.
///
/// # Panics
/// Where the key has no default and is not set.
pub(crate) fn value_of<T: Copy>(setting: &Option<Setting<T>>) -> T {
    setting.as_ref().expect("a key with a default").value
}
