//! Reads an engine's options (`attention = "sdpa"`), with errors that name the possible values.

use std::collections::BTreeMap;

use protocol::Options;
use serde_json::Value;

/// An option that an engine doesn't have, or a value that it can't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError(String);

impl std::fmt::Display for OptionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OptionError {}

/// Takes the option `name`, one of `words`; the first is the default.
pub fn take_word(
    options: &mut Options,
    name: &str,
    words: &[&'static str],
) -> Result<&'static str, OptionError> {
    let Some(value) = options.remove(name) else { return Ok(words[0]) };
    words.iter().find(|&&word| value == word).copied().ok_or_else(|| {
        let words = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        OptionError(format!("option {name}: expected {words}, found {value}"))
    })
}

/// Takes the option `name`, true or false.
pub fn take_flag(options: &mut Options, name: &str, default: bool) -> Result<bool, OptionError> {
    match options.remove(name) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(value) => Err(OptionError(format!("option {name}: expected true or false, found {value}"))),
    }
}

/// Resolves the value of every declared option: the given value, else the first of its possible values. An option without a list
/// can have any value; where it is not given, it has none.
pub fn resolve_options(given: &Options, declared: &[(String, Vec<Value>)]) -> Result<Options, OptionError> {
    let known: Vec<&str> = declared.iter().map(|(name, _)| name.as_str()).collect();
    let unknown = given.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    unknown_options(&unknown.map(|(name, value)| (name.clone(), value.clone())).collect(), &known)?;
    let mut resolved = Options::new();
    for (name, values) in declared {
        let Some(value) = given.get(name).or(values.first()) else { continue };
        if !values.is_empty() && !values.contains(value) {
            let values = values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
            return Err(OptionError(format!("option {name}: expected {values}, found {value}")));
        }
        resolved.insert(name.clone(), value.clone());
    }
    Ok(resolved)
}

/// Builds the options of a hello: each with its possible words, the default first; `true` and `false` become flags.
pub fn describe_options(options: &[(&str, &[&str])]) -> BTreeMap<String, Vec<Value>> {
    let value = |word: &&str| word.parse::<bool>().map_or_else(|_| Value::from(*word), Value::from);
    options.iter().map(|(name, words)| ((*name).to_owned(), words.iter().map(value).collect())).collect()
}

/// Refuses options that are left after an engine took its own.
pub fn unknown_options(options: &Options, known: &[&str]) -> Result<(), OptionError> {
    let Some(name) = options.keys().next() else { return Ok(()) };
    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
    Err(OptionError(format!("unknown option {name}: this engine has {known}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_taken_defaulted_or_refused() {
        let mut options = Options::from([("attention".into(), "sdpa".into()), ("threads".into(), 4.into())]);
        assert_eq!(take_word(&mut options, "attention", &["eager", "sdpa"]), Ok("sdpa"));
        assert_eq!(take_word(&mut options, "kv_cache", &["dynamic", "static"]), Ok("dynamic"));
        let error = unknown_options(&options, &["attention", "kv_cache"]).unwrap_err().to_string();
        assert_eq!(error, "unknown option threads: this engine has attention, kv_cache");

        let mut options = Options::from([("attention".into(), "flash".into()), ("graph".into(), 1.into())]);
        let error = take_word(&mut options, "attention", &["eager", "sdpa"]).unwrap_err().to_string();
        assert_eq!(error, r#"option attention: expected "eager" or "sdpa", found "flash""#);
        let error = take_flag(&mut options, "graph", false).unwrap_err().to_string();
        assert_eq!(error, "option graph: expected true or false, found 1");
        assert_eq!(take_flag(&mut options, "graph", true), Ok(true));
    }

    #[test]
    fn declared_options_are_resolved_or_refused() {
        let declared = [
            ("attention".to_owned(), vec!["sdpa".into(), "eager".into()]),
            ("graph".to_owned(), vec![false.into(), true.into(), "auto".into()]),
            ("share".to_owned(), Vec::new()),
        ];
        let resolve = |given: Value| {
            let given = serde_json::from_value(given).unwrap();
            let resolved = resolve_options(&given, &declared).map_err(|error| error.to_string())?;
            Ok::<_, String>(serde_json::to_value(resolved).unwrap())
        };
        assert_eq!(resolve(json!({})), Ok(json!({"attention": "sdpa", "graph": false})));
        let given = json!({"attention": "eager", "graph": "auto", "share": 0.8});
        assert_eq!(resolve(given.clone()), Ok(given));
        let refused = |given| resolve(given).unwrap_err();
        assert_eq!(
            refused(json!({"threads": 4})),
            "unknown option threads: this engine has attention, graph, share"
        );
        assert_eq!(
            refused(json!({"attention": "flash"})),
            r#"option attention: expected "sdpa" or "eager", found "flash""#
        );
        // The number 1 is not `true`.
        assert_eq!(
            refused(json!({"graph": 1})),
            r#"option graph: expected false or true or "auto", found 1"#
        );
        let none = resolve_options(&Options::from([("graph".into(), true.into())]), &[]).unwrap_err();
        assert_eq!(none.to_string(), "unknown option graph: this engine has none");
    }
}
