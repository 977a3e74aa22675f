//! JSON as Python reads and writes it: with `NaN`, `Infinity` and `-Infinity`, which JSON does not have.

use std::borrow::Cow;

use serde_json::Value;

/// What Python writes for numbers that are not finite.
const NON_FINITE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
/// Marks a string that stands for such a word: a character of Unicode's private use, which no config has.
const MARK: char = '\u{f8ff}';

/// Parses JSON as Python's `json` does. A number that is not finite becomes a string, so that nothing takes it for a number or
/// for nothing; [`to_python_json`] writes it as it was.
pub fn from_python_json(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(&quoted(text))
}

/// The value as indented JSON, with the numbers that are not finite as Python writes them.
pub fn to_python_json(value: &Value) -> String {
    unquoted(&format!("{value:#}"))
}

/// `text` with each of [`NON_FINITE`] that stands outside strings as a marked string.
fn quoted(text: &str) -> Cow<'_, str> {
    if !NON_FINITE.iter().any(|word| text.contains(word)) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = NON_FINITE.iter().find(|word| rest.starts_with(**word));
        let length = match word {
            Some(word) => {
                out.extend(['"', MARK]);
                word.len()
            }
            None if first == '"' => string_length(rest),
            None => first.len_utf8(),
        };
        out.push_str(&rest[..length]);
        out.extend(word.map(|_| '"'));
        rest = &rest[length..];
    }
    out.into()
}

/// Bytes of the string that `text` begins with, its quotes included; all of `text` where it does not end.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|&(_, char)| {
        let ends = char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(index, _)| index + 1)
}

/// `text` with the marked strings as the words that they stand for.
pub(crate) fn unquoted(text: &str) -> String {
    NON_FINITE.iter().fold(text.to_owned(), |text, word| text.replace(&format!("\"{MARK}{word}\""), word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_read_and_written_as_python_does() {
        let text = r#"{
  "limits": [
    0.0,
    Infinity,
    -Infinity
  ],
  "eps": NaN
}"#;
        let value = from_python_json(text).unwrap();
        assert_eq!(value["limits"][0], 0.0);
        assert!(value["eps"].is_string() && value["limits"][2].is_string());
        assert_eq!(to_python_json(&value), text);
    }

    #[test]
    fn strings_that_have_the_words_stay_as_they_are() {
        let text = r#"{"NaN": "Infinity", "a\"NaN": "\\", "b": [NaN], "é": "\\\"-Infinity"}"#;
        let value = from_python_json(text).unwrap();
        assert_eq!(value["NaN"], "Infinity");
        assert_eq!(value["a\"NaN"], "\\");
        assert_eq!(value["é"], "\\\"-Infinity");
        assert_ne!(value["b"], json!(["NaN"]));
        assert_eq!(unquoted(&value.to_string()), text.replace(": ", ":").replace(", ", ","));
    }

    #[test]
    fn what_python_does_not_read_is_an_error() {
        for text in
            ["{\"a\": +Infinity}", "{\"a\": nan}", "{\"a\": Infinity1}", "\"NaN", "{\"a\": \"\\", "NaN}"]
        {
            assert!(from_python_json(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn json_is_read_as_it_is(text in r#"[\[\],:"\\0-9a-zNIé -]{0,40}"#) {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                proptest::prop_assert_eq!(from_python_json(&text).unwrap(), value);
            }
        }
    }
}
