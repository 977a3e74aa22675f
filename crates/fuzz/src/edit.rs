//! Edits of a sample. Places are [`Index`]es, so that an edit means something in every text and shrinks.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use crate::json::{add_entry, change_value, remove_entry};
use crate::vocabulary::{values, words};

/// One edit.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    /// A word, a number or a quoted text becomes another word.
    Word { token: Index, word: Index },
    /// A number becomes this one.
    Number { token: Index, number: f64 },
    /// A word is put between two bytes.
    Insert { at: Index, word: Index },
    /// A JSON value becomes another.
    Value { line: Index, node: Index, value: Index },
    /// A JSON array or object loses an entry.
    Remove { line: Index, node: Index, entry: Index },
    /// A JSON array or object gains an entry.
    Add { line: Index, node: Index, word: Index, value: Index },
    /// A line is put before another line.
    Line { from: Index, to: Index },
    /// A line is left out.
    DeleteLine { line: Index },
    /// Bytes are left out.
    Delete { at: Index, len: u8 },
    /// Bytes come several times.
    Repeat { at: Index, len: u8, times: u8 },
    /// Two ranges change places.
    Swap { one: Index, other: Index, len: u8 },
    /// A byte becomes another.
    Byte { at: Index, byte: u8 },
    /// The text ends early.
    Cut { at: Index },
    /// The text goes on as another sample does.
    Splice { at: Index, sample: Index, from: Index },
}

/// Any edit; those that leave most of a sample standing are the most frequent.
pub(crate) fn edits() -> impl Strategy<Value = Edit> {
    let place = any::<Index>;
    let pair = || (place(), place());
    let triple = || (place(), place(), place());
    let number = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
    let number = prop_oneof![number, 1e-6f64..1e6];
    prop_oneof![
        6 => pair().prop_map(|(token, word)| Edit::Word { token, word }),
        5 => (place(), number).prop_map(|(token, number)| Edit::Number { token, number }),
        2 => pair().prop_map(|(at, word)| Edit::Insert { at, word }),
        6 => triple().prop_map(|(line, node, value)| Edit::Value { line, node, value }),
        2 => triple().prop_map(|(line, node, entry)| Edit::Remove { line, node, entry }),
        2 => (pair(), pair())
            .prop_map(|((line, node), (word, value))| Edit::Add { line, node, word, value }),
        3 => pair().prop_map(|(from, to)| Edit::Line { from, to }),
        2 => place().prop_map(|line| Edit::DeleteLine { line }),
        1 => (place(), any::<u8>()).prop_map(|(at, len)| Edit::Delete { at, len }),
        1 => (place(), any::<u8>(), any::<u8>()).prop_map(|(at, len, times)| Edit::Repeat { at, len, times }),
        1 => (pair(), any::<u8>()).prop_map(|((one, other), len)| Edit::Swap { one, other, len }),
        1 => (place(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte { at, byte }),
        1 => place().prop_map(|at| Edit::Cut { at }),
        1 => triple().prop_map(|(at, sample, from)| Edit::Splice { at, sample, from }),
    ]
}

/// What edits take from.
pub(crate) struct Material {
    pub(crate) samples: Vec<Vec<u8>>,
    pub(crate) words: Vec<String>,
    pub(crate) values: Vec<Value>,
}

impl Material {
    /// Makes these samples material; `own_words`, with spaces between them, join the general ones.
    pub(crate) fn new(samples: Vec<Vec<u8>>, own_words: &str) -> Self {
        assert!(!samples.is_empty(), "there are samples");
        Self { samples, words: words(own_words), values: values() }
    }
}

impl Edit {
    /// Applies this to `text`.
    pub(crate) fn apply(self, text: &mut Vec<u8>, material: &Material) {
        let Material { samples, words, values } = material;
        match self {
            Self::Word { token, word } => replace(text, &tokens(text), token, word.get(words).as_str()),
            Self::Number { token, number } => {
                let mut numbers = tokens(text);
                numbers.retain(|token| is_number(&text[token.clone()]));
                replace(text, &numbers, token, &format!("{number:?}"));
            }
            Self::Insert { at, word } => {
                let at = place(text, at);
                text.splice(at..at, word.get(words).bytes());
            }
            Self::Value { line, node, value } => {
                change_value(text, line, node, |old| *old = value.get(values).clone());
            }
            Self::Remove { line, node, entry } => {
                change_value(text, line, node, |old| remove_entry(old, entry));
            }
            Self::Add { line, node, word, value } => {
                let name = word.get(words).trim_matches('"');
                change_value(text, line, node, |old| add_entry(old, name, value.get(values).clone()));
            }
            Self::Line { from, to } => {
                let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
                if !lines.is_empty() {
                    let (from, to) = (from.index(lines.len()), to.index(lines.len()));
                    *text = [&lines[..to], &[lines[from]], &lines[to..]].concat().concat();
                }
            }
            Self::DeleteLine { line } => {
                let mut lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
                if !lines.is_empty() {
                    lines.remove(line.index(lines.len()));
                    *text = lines.concat();
                }
            }
            Self::Delete { at, len } => drop(text.drain(range(text, at, len))),
            Self::Repeat { at, len, times } => {
                let range = range(text, at, len);
                let repeated = text[range.clone()].repeat(times.into());
                text.splice(range, repeated);
            }
            Self::Swap { one, other, len } => {
                let (one, other) = (range(text, one, len), range(text, other, len));
                let (first, second) = if one.start < other.start { (one, other) } else { (other, one) };
                if first.end <= second.start {
                    let between = &text[first.end..second.start];
                    let swapped = [&text[second.clone()], between, &text[first.clone()]].concat();
                    text.splice(first.start..second.end, swapped);
                }
            }
            Self::Byte { at, byte } => {
                let at = place(text, at);
                if let Some(old) = text.get_mut(at) {
                    *old = byte;
                }
            }
            Self::Cut { at } => text.truncate(place(text, at)),
            Self::Splice { at, sample, from } => {
                let sample = sample.get(samples);
                text.truncate(place(text, at));
                text.extend_from_slice(&sample[place(sample, from)..]);
            }
        }
    }
}

/// A place before, between or after the bytes.
fn place(text: &[u8], at: Index) -> usize {
    at.index(text.len() + 1)
}

fn range(text: &[u8], at: Index, len: u8) -> Range<usize> {
    let start = place(text, at);
    start..text.len().min(start + usize::from(len))
}

fn replace(text: &mut Vec<u8>, tokens: &[Range<usize>], token: Index, word: &str) {
    if !tokens.is_empty() {
        text.splice(token.get(tokens).clone(), word.bytes());
    }
}

fn is_number(token: &[u8]) -> bool {
    str::from_utf8(token).is_ok_and(|token| token.parse::<f64>().is_ok())
}

/// Words, numbers and quoted texts.
fn tokens(text: &[u8]) -> Vec<Range<usize>> {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(byte);
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let rest = &text[start..];
        let len = match rest[0] {
            b'"' => rest[1..].iter().position(|&byte| byte == b'"').map_or(rest.len(), |end| end + 2),
            _ => rest.iter().take_while(|byte| in_word(byte)).count(),
        };
        if len > 0 {
            tokens.push(start..start + len);
        }
        start += len.max(1);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_words_numbers_and_quoted_texts() {
        let text = br#"{"a b": [-1.5e3, x_y], "open"#;
        let found: Vec<&[u8]> = tokens(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, [&br#""a b""#[..], b"-1.5e3", b"x_y", br#""open"#]);
    }
}
