//! Wrong pieces of text and JSON values, to put where something else belongs.

use serde_json::{Value, json};

/// Numbers at the edges of their types, words that some take for numbers, and what texts are made of.
const WORDS: &str = r#"0 -0.0 -1 1 2 0.1 1e999 -1e999 1e-400 5e-324 1.7976931348623157e308 1e39 16777216 16777217
    4294967295 4294967296 9007199254740993 9223372036854775807 9223372036854775808 -9223372036854775808
    18446744073709551615 18446744073709551616 0x7fffffff 1_000 NaN nan inf -Infinity null true false
    "" "a" [] {} [ ] { } " ' """ \ , : = . | # \u0000 \ud800 \udc00\ud800 \u001b[2J é 😀"#;

/// Invisible characters: line ends, an escape, and marks that reverse or begin a text.
const UNSEEN: [&str; 9] = ["\n", "\r", "\t", "\0", "\u{1b}[2J", "\u{85}", "\u{2028}", "\u{202e}", "\u{feff}"];

/// Texts that writers have stumbled over.
const TEXTS: [&str; 16] = [
    "",
    " ",
    "a|b\nc",
    "\0",
    "\u{1b}]0;x\u{7}",
    "\u{9b}2J",
    "\u{202e}",
    "\r\n",
    "=1+1",
    "@a",
    "\"",
    "\\|",
    "|",
    "é",
    "`<b>*[x](y)",
    "../x",
];

/// The general words, those too long to be written down, and a target's own.
pub(crate) fn words(own: &str) -> Vec<String> {
    let long = [
        "9".repeat(4000),
        format!("0.{}1", "0".repeat(4000)),
        format!("\"{}\"", "x".repeat(20_000)),
        "[".repeat(10_000),
        "{\"a\":".repeat(5_000),
        "[".repeat(100) + &"]".repeat(100),
        "a.".repeat(5_000),
    ];
    // A target's own words are worth more than the general ones.
    let own = own.split_whitespace();
    let own = own.clone().cycle().take(own.count().max(60));
    own.chain(WORDS.split_whitespace()).chain(UNSEEN).map(str::to_owned).chain(long).collect()
}

/// JSON values of every kind.
pub(crate) fn values() -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(-0.0),
        json!(0.5),
        json!(1e-300),
        json!(f64::MAX),
        json!(-f64::MAX),
        json!(1e39),
        json!(1 << 24),
        json!((1 << 24) + 1),
        json!(u32::MAX),
        json!(1u64 << 32),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(1u64 << 63),
        json!(u64::MAX),
        json!([]),
        json!({}),
        json!([0]),
        json!([[]]),
        json!({"a": 1}),
        json!("x".repeat(20_000)),
        json!([0].repeat(5_000)),
    ];
    values.extend(TEXTS.map(Value::from));
    values
}
