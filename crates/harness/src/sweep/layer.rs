//! A layer of settings, as a file or flags give them. [`layer!`] declares its keys; reading, flags, merging with a layer below, JSON
//! Schema and reference page all follow from that declaration.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use toml::de::{DeString, DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

use crate::sweep::setting::{Origin, Setting, SettingsError};
use crate::sweep::suggest::suggestion;
use crate::sweep::values::{FlagKind, SettingValue, brief};

/// A key, for flags and for documentation.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name in a file, with those of its tables: `procedure.warmup_runs`.
    pub path: String,
    /// Its meaning in a few words.
    pub help: String,
    /// Further sentences; may be empty.
    pub details: String,
    /// The accepted values, as text.
    pub expected: String,
    /// The flag that sets it, where there is one.
    pub flag: Option<Flag>,
    /// The kind of that flag.
    pub kind: FlagKind,
    /// The default value, as TOML.
    pub default: Option<&'static str>,
}

impl Key {
    /// Its meaning in full.
    pub fn meaning(&self) -> String {
        meaning(&self.help, &self.details)
    }
}

fn meaning(help: &str, details: &str) -> String {
    if details.is_empty() { help.to_owned() } else { format!("{help}. {details}") }
}

/// The flag of a key.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// The name of its value in the help.
    pub value_name: &'static str,
    /// Its group of flags in the help.
    pub heading: &'static str,
    /// Whether it also applies to a single worker, as `generate` starts one.
    pub is_setup: bool,
}

/// The part of a key's declaration beside its name, type and meaning.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spec {
    flag: Option<Flag>,
    default: Option<&'static str>,
}

impl Spec {
    /// A key without a flag.
    pub(crate) const FILE_ONLY: Self = Self { flag: None, default: None };

    /// A key with a flag.
    pub(crate) const fn flag(heading: &'static str, name: &'static str, value_name: &'static str) -> Self {
        Self { flag: Some(Flag { name, value_name, heading, is_setup: false }), default: None }
    }

    /// A key with a flag that also applies to a single worker.
    pub(crate) const fn setup(heading: &'static str, name: &'static str, value_name: &'static str) -> Self {
        Self { flag: Some(Flag { name, value_name, heading, is_setup: true }), default: None }
    }

    /// The default value, as TOML.
    pub(crate) const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

/// A file that is being read.
pub(crate) struct TomlFile<'a> {
    pub(crate) name: &'a str,
    text: &'a str,
    /// The folder of its relative paths.
    folder: &'a Path,
    /// Offsets of the line ends.
    line_ends: Vec<usize>,
}

impl<'a> TomlFile<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str, folder: &'a Path) -> Self {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { name, text, folder, line_ends }
    }

    /// The whole file as an entry.
    pub(crate) fn parse(&self) -> Result<TomlEntry<'a>, SettingsError> {
        let table = DeTable::parse(self.text).map_err(|error| SettingsError {
            origin: format!("{}:{}", self.name, self.line(error.span().map_or(0, |span| span.start))),
            what: error.message().trim().replace('\n', ", "),
        })?;
        let span = table.span();
        let value = Spanned::new(span.clone(), DeValue::Table(table.into_inner()));
        Ok(TomlEntry { path: String::new(), offset: span.start, value })
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|&end| end < offset)
    }

    pub(crate) fn origin(&self, entry: &TomlEntry<'_>) -> Origin {
        let place = format!("{}:{}: {}", self.name, self.line(entry.offset), brief(&entry.path));
        Origin::file(place, self.folder)
    }
}

/// A key of a file and its value.
pub(crate) struct TomlEntry<'a> {
    /// The key, with those of its tables.
    pub(crate) path: String,
    /// Offset of the key in the file's text.
    offset: usize,
    value: Spanned<DeValue<'a>>,
}

impl<'a> TomlEntry<'a> {
    /// The entries of this table in the order of the file; `None` where it is no table.
    pub(crate) fn entries(self) -> Option<Vec<(String, TomlEntry<'a>)>> {
        let DeValue::Table(table) = self.value.into_inner() else { return None };
        let prefix = if self.path.is_empty() { String::new() } else { format!("{}.", self.path) };
        let entry = |(key, value): (Spanned<DeString<'a>>, _)| {
            let offset = key.span().start;
            let key = key.into_inner().into_owned();
            let path =
                if key.contains('.') { format!("{prefix}\"{key}\"") } else { format!("{prefix}{key}") };
            (key, TomlEntry { path, offset, value })
        };
        Some(table.into_iter().map(entry).collect())
    }

    /// The entries of a table. Refuses keys that are not `known`.
    pub(crate) fn known_entries(
        self,
        file: &TomlFile<'_>,
        known: &[&str],
    ) -> Result<Vec<(String, TomlEntry<'a>)>, SettingsError> {
        let origin = file.origin(&self);
        let Some(entries) = self.entries() else {
            return Err(origin.error(format!("expected a table of {}", known.join(", "))));
        };
        let entries: Vec<_> =
            entries.into_iter().map(|(key, entry)| (key_of_today(key, known), entry)).collect();
        let unknown = entries.iter().filter(|(key, _)| !known.contains(&key.as_str()));
        match unknown.min_by_key(|(_, entry)| entry.offset) {
            None => Ok(entries),
            Some((key, entry)) => {
                Err(file.origin(entry).error(format!("unknown key: {}", suggestion(key, known))))
            }
        }
    }
}

/// Today's name of a key that runs of earlier versions have by another one.
fn key_of_today(key: String, known: &[&str]) -> String {
    if key == "ceilings" && known.contains(&"peaks") { "peaks".into() } else { key }
}

/// The settings that a file or flags give: of one key, or of a table of keys.
pub(crate) trait Layer: Sized + Default {
    /// Reads a key's entry.
    fn read(file: &TomlFile<'_>, entry: TomlEntry<'_>) -> Result<Self, SettingsError>;

    /// Sets what a flag says: `path` is below this layer, `""` is the layer itself.
    fn set(&mut self, path: &str, flag: &str, words: &[String]) -> Result<(), SettingsError>;

    /// Refuses a value that its key can't have, since the program may have set it.
    fn check(&self) -> Result<(), SettingsError>;

    /// This layer over another one.
    #[must_use]
    fn over(self, under: Self) -> Self;

    /// The layer of the default values.
    fn defaults(spec: &Spec) -> Self;

    /// Lists the keys, and returns the schema of their values.
    fn describe(path: &str, help: &str, spec: &Spec, keys: &mut Vec<Key>) -> Json;
}

impl<T: SettingValue> Layer for Option<Setting<T>> {
    fn read(file: &TomlFile<'_>, entry: TomlEntry<'_>) -> Result<Self, SettingsError> {
        let origin = file.origin(&entry);
        let value = Value::deserialize(ValueDeserializer::from(entry.value))
            .map_err(|error| origin.error(error.message()))?;
        let value = T::read(&value).map_err(|what| origin.error(what))?;
        Ok(Some(Setting { value, origin }))
    }

    fn set(&mut self, _path: &str, flag: &str, words: &[String]) -> Result<(), SettingsError> {
        let origin = Origin::flag(flag);
        let value = T::read_words(words).map_err(|what| origin.error(what))?;
        *self = Some(Setting { value, origin });
        Ok(())
    }

    fn check(&self) -> Result<(), SettingsError> {
        let Some(Setting { value, origin }) = self else { return Ok(()) };
        let value = Value::try_from(value).map_err(|error| origin.error(error))?;
        T::read(&value).map(drop).map_err(|what| origin.error(what))
    }

    fn over(self, under: Self) -> Self {
        self.or(under)
    }

    fn defaults(spec: &Spec) -> Self {
        let value = spec.default?.parse::<Value>().ok()?;
        Some(Setting::new(T::read(&value).ok()?, "the default"))
    }

    fn describe(path: &str, help: &str, spec: &Spec, keys: &mut Vec<Key>) -> Json {
        let mut schema = T::schema();
        let (help, details) = split_help(help);
        schema["description"] = meaning(help, details).into();
        if let Some(value) = spec.default.and_then(|default| default.parse::<Value>().ok()) {
            schema["default"] = json!(value);
        }
        keys.push(Key {
            path: path.into(),
            help: help.into(),
            details: details.into(),
            expected: T::expected(),
            flag: spec.flag,
            kind: T::FLAG,
            default: spec.default,
        });
        schema
    }
}

/// The rest of `path` below a table's key.
pub(crate) fn first_key(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

/// Joins the lines of a doc comment: its first paragraph without the final stop, then an empty line and the others.
pub(crate) fn help(lines: &[&str]) -> String {
    let mut paragraphs =
        lines.split(|line| line.trim().is_empty()).map(|lines| lines.concat().trim().to_owned());
    let first = paragraphs.next().unwrap_or_default();
    let first = first.trim_end_matches('.').to_owned();
    std::iter::once(first).chain(paragraphs).collect::<Vec<_>>().join("\n\n")
}

/// The first paragraph of a help text, and the others.
pub(crate) fn split_help(help: &str) -> (&str, &str) {
    help.split_once("\n\n").unwrap_or((help, ""))
}

/// Declares a layer: each key once, with its meaning, type, flag and default.
macro_rules! layer {
    (
        $(#[$outer:meta])*
        $vis:vis struct $name:ident {
            $( $(#[doc = $doc:literal])+ pub $key:ident: $type:ty = $spec:expr, )+
        }
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Default, serde::Serialize)]
        $vis struct $name {
            /// The file that it was read from.
            #[serde(skip)]
            pub file: Option<String>,
            $( $(#[doc = $doc])+ pub $key: $type, )+
        }

        impl $name {
            const KEYS: &[&str] = &[$(stringify!($key)),+];
        }

        impl $crate::sweep::layer::Layer for $name {
            fn read(file: &TomlFile<'_>, entry: TomlEntry<'_>) -> Result<Self, SettingsError> {
                let mut layer = Self { file: Some(file.name.into()), ..Self::default() };
                for (key, entry) in entry.known_entries(file, Self::KEYS)? {
                    match key.as_str() {
                        $( stringify!($key) => layer.$key = Layer::read(file, entry)?, )+
                        _ => {}
                    }
                }
                Ok(layer)
            }

            fn set(&mut self, path: &str, flag: &str, words: &[String]) -> Result<(), SettingsError> {
                if path.is_empty() {
                    return $crate::sweep::layer::set_pairs(self, flag, words, Self::KEYS);
                }
                let (key, rest) = $crate::sweep::layer::first_key(path);
                match key {
                    $( stringify!($key) => self.$key.set(rest, flag, words), )+
                    _ => Err(Origin::flag(flag).error(format!("no key {path}"))),
                }
            }

            fn check(&self) -> Result<(), SettingsError> {
                $( self.$key.check()?; )+
                Ok(())
            }

            fn over(self, under: Self) -> Self {
                Self { file: self.file.or(under.file), $( $key: self.$key.over(under.$key), )+ }
            }

            fn defaults(_: &Spec) -> Self {
                Self { file: None, $( $key: Layer::defaults(&$spec), )+ }
            }

            fn describe(path: &str, help: &str, spec: &Spec, keys: &mut Vec<Key>) -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                $crate::sweep::layer::describe_table(path, help, spec, &format!("a table of {}", Self::KEYS.join(", ")), keys);
                let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
                $({
                    let path = format!("{prefix}{}", stringify!($key));
                    let help = $crate::sweep::layer::help(&[$($doc),+]);
                    let schema = <$type as Layer>::describe(&path, &help, &$spec, keys);
                    properties.insert(stringify!($key).into(), schema);
                })+
                serde_json::json!({
                    "type": "object",
                    "description": $crate::sweep::layer::one_text(help),
                    "properties": properties,
                    "additionalProperties": false,
                })
            }
        }
    };
}
pub(crate) use layer;

/// Sets keys of a table from words such as `load=600`.
pub(crate) fn set_pairs(
    layer: &mut impl Layer,
    flag: &str,
    words: &[String],
    known: &[&str],
) -> Result<(), SettingsError> {
    for word in words {
        let Some((key, value)) = word.split_once('=').filter(|(key, _)| known.contains(key)) else {
            let (last, first) = known.split_last().unwrap_or((&"", &[]));
            let what = format!(
                "expected PHASE=SECONDS, where PHASE is {} or {last}, found \"{word}\"",
                first.join(", ")
            );
            return Err(Origin::flag(flag).error(what));
        };
        layer.set(key, &format!("{flag} {key}"), &[value.into()])?;
    }
    Ok(())
}

/// A help text as one paragraph.
pub(crate) fn one_text(help: &str) -> String {
    let (help, details) = split_help(help);
    meaning(help, details)
}

/// Lists a table that a flag sets as a whole.
pub(crate) fn describe_table(path: &str, help: &str, spec: &Spec, expected: &str, keys: &mut Vec<Key>) {
    if spec.flag.is_some() {
        let (help, details) = split_help(help);
        keys.push(Key {
            path: path.into(),
            help: help.into(),
            details: details.into(),
            expected: expected.into(),
            flag: spec.flag,
            kind: FlagKind::Pairs,
            default: None,
        });
    }
}
