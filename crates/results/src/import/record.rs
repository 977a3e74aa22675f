//! The records of a file: a JSON object, an array of them, or one behind the other, as in JSON lines.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// More records than a file has that a tool wrote.
const MOST_RECORDS: usize = 100_000;

/// What the parser calls numbers.
const NUMBERS: [(&str, &str); 3] = [
    ("expected f64", "expected a number"),
    ("expected u32", "expected a whole number"),
    ("expected u64", "expected a whole number"),
];

/// A record, and where it is.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    /// The line in which it starts, from 1.
    pub(crate) line: usize,
    text: &'a str,
}

/// What is wrong with a file, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportError {
    /// `None` where it is the whole file.
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
}

impl ImportError {
    pub(crate) fn of_file(what: impl Into<String>) -> Self {
        Self { line: None, what: what.into() }
    }
}

impl<'a> Record<'a> {
    /// All records of a text, in order.
    ///
    /// # Errors
    /// Where the text is not JSON, or ends inside a record.
    pub(crate) fn all(text: &'a str) -> Result<Vec<Self>, ImportError> {
        let whole = FileText::new(text);
        let mut records = Vec::new();
        for value in serde_json::Deserializer::from_str(whole.text).into_iter::<&RawValue>() {
            let value = value.map_err(|error| whole.not_json(&error, whole.text))?;
            if value.get().starts_with('[') {
                let items: Vec<&RawValue> =
                    serde_json::from_str(value.get()).map_err(|error| whole.not_json(&error, value.get()))?;
                records.extend(items);
            } else {
                records.push(value);
            }
            if records.len() > MOST_RECORDS {
                return Err(ImportError::of_file(format!("more than {MOST_RECORDS} records")));
            }
        }
        let mut lines = LineCounter { text: whole.text, at: 0, line: 1 };
        let record = |value: &'a RawValue| Self { line: lines.line_number(value.get()), text: value.get() };
        Ok(records.into_iter().map(record).collect())
    }

    /// The first record of a text that may break off later.
    pub(crate) fn first(text: &'a str) -> Option<Self> {
        let whole = FileText::new(text);
        let start = whole.text.find('{')?;
        let before = &whole.text[..start];
        if !before.chars().all(|c| c.is_whitespace() || c == '[') {
            return None;
        }
        let mut values = serde_json::Deserializer::from_str(&whole.text[start..]).into_iter::<&RawValue>();
        let text = values.next()?.ok()?.get();
        Some(Self { line: 1 + before.matches('\n').count(), text })
    }

    /// Reads what an importer wants of it.
    pub(crate) fn read<T: Deserialize<'a>>(&self) -> Result<T, ImportError> {
        let mut json = serde_json::Deserializer::from_str(self.text);
        serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let line = self.line + error.inner().line().max(1) - 1;
            let key = crate::one_line(&error.path().to_string());
            let mut what = without_place(error.inner());
            for (rust, plain) in NUMBERS {
                what = what.replace(rust, plain);
            }
            if let Some(at) = what.find("expected struct ") {
                what.replace_range(at.., "expected an object");
            }
            ImportError { line: Some(line), what: if key == "." { what } else { format!("{key}: {what}") } }
        })
    }

    /// Whether it has a key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.read::<BTreeMap<String, IgnoredAny>>().is_ok_and(|keys| keys.contains_key(key))
    }

    pub(crate) fn error(&self, what: impl Into<String>) -> ImportError {
        ImportError { line: Some(self.line), what: what.into() }
    }

    /// A time or a rate, which is above 0.
    pub(crate) fn positive(&self, key: &str, value: f64) -> Result<f64, ImportError> {
        if value > 0.0 && value.is_finite() {
            return Ok(value);
        }
        Err(self.error(format!("{key}: expected a number above 0, found {value}")))
    }
}

/// A file's text without a byte order mark.
struct FileText<'a> {
    text: &'a str,
}

impl<'a> FileText<'a> {
    fn new(text: &'a str) -> Self {
        Self { text: text.strip_prefix('\u{feff}').unwrap_or(text) }
    }

    fn not_json(&self, error: &serde_json::Error, part: &str) -> ImportError {
        let before = offset(self.text, part);
        let line = self.text[..before].matches('\n').count() + error.line().max(1);
        ImportError { line: Some(line), what: format!("not JSON: {}", without_place(error)) }
    }
}

/// Where a part of a text starts in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize).min(text.len())
}

/// Tells the lines of parts of a text, in order.
struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl LineCounter<'_> {
    fn line_number(&mut self, part: &str) -> usize {
        let start = offset(self.text, part).max(self.at);
        self.line += self.text[self.at..start].matches('\n').count();
        self.at = start;
        self.line
    }
}

/// The parser's words without the place that it adds to them.
fn without_place(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let end = words.rfind(" at line ").unwrap_or(words.len());
    crate::one_line(&words[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<usize>, String> {
        let records = Record::all(text).map_err(|error| format!("{:?}: {}", error.line, error.what))?;
        Ok(records.iter().map(|record| record.line).collect())
    }

    #[test]
    fn records_stand_alone_in_an_array_or_in_lines() {
        assert_eq!(lines("{\n\"a\": 1}\n"), Ok(vec![1]));
        assert_eq!(lines("\u{feff}[\n  {},\n  {}\n]"), Ok(vec![2, 3]));
        assert_eq!(lines("{}\r\n\r\n{}\n{\n}{}"), Ok(vec![1, 3, 4, 5]));
        assert_eq!(lines(""), Ok(vec![]));
    }

    #[test]
    fn a_text_that_breaks_off_is_refused_with_its_line() {
        let end = "not JSON: EOF while parsing";
        assert_eq!(lines("{}\n{\"a\":\n"), Err(format!("Some(3): {end} a value")));
        assert_eq!(lines("[{},\n{\"a\": [1"), Err(format!("Some(2): {end} a list")));
        assert_eq!(lines("{\"a\": NaN}"), Err("Some(1): not JSON: expected value".into()));
        assert!(lines(&"[".repeat(100_000)).is_err());
    }
}
