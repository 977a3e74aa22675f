//! The files of a checkpoint's tokenizer, as transformers 5.23's `AutoTokenizer` loads them: `tokenizer.json`, and what
//! `tokenizer_config.json` changes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use tokenizer::TOKENIZER_FILE;

pub(crate) const CONFIG_FILE: &str = "tokenizer_config.json";
/// The classes that leave `tokenizer.json` as it is.
const PLAIN_CLASSES: [&str; 4] =
    ["PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"];

/// A checkpoint's files of its tokenizer, read and checked as far as this is cheap.
#[derive(Debug)]
pub struct CheckedFiles {
    /// `tokenizer.json`, changed as transformers changes it; without padding and truncation.
    pub tokenizer: String,
    /// Whether special tokens of a prompt's text are split as any other text.
    pub split_special_tokens: bool,
    dir: PathBuf,
    /// What is not followed, whatever the prompt is.
    not_followed: Vec<String>,
    /// Tokens that transformers has, or does not have, in contrast to `tokenizer.json`.
    other_tokens: Vec<String>,
}

impl CheckedFiles {
    /// Reads the files in a checkpoint's folder.
    ///
    /// # Errors
    /// Fails where a file can't be read, is no JSON object, or can't be followed; names it.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(TOKENIZER_FILE);
        let at = || path.display().to_string();
        ensure!(path.exists(), "{}: no such file: a text prompt needs it; --prompt-ids does not", at());
        let text = llama::read_text(&path).with_context(at)?;
        let mut stored: Value = serde_json::from_str(&text).with_context(at)?;
        let Some(keys) = stored.as_object_mut() else { bail!("{}: not a JSON object", at()) };
        // Saved by whoever last padded or cut a batch; transformers does neither unless it is asked to.
        keys.insert("padding".into(), Value::Null);
        keys.insert("truncation".into(), Value::Null);
        check_templates(&stored["post_processor"]).with_context(at)?;
        let config = object(dir, CONFIG_FILE)?;
        let special_tokens = object(dir, "special_tokens_map.json")?;
        let at_config = || dir.join(CONFIG_FILE).display().to_string();

        let model_config = object(dir, "config.json")?;
        let class = [&config, &model_config].into_iter().find_map(|keys| {
            keys.get("tokenizer_class").and_then(Value::as_str).filter(|class| !class.is_empty())
        });
        let mut not_followed = Vec::new();
        if config.contains_key("auto_map") {
            not_followed.push("auto_map".to_owned());
        }
        let is_bpe = stored["model"]["type"] == "BPE";
        let mut is_rebuilt = false;
        match class {
            None => {}
            Some(class) if PLAIN_CLASSES.contains(&class) => {}
            // transformers looks for the word in the file, and then leaves it as it is.
            Some("LlamaTokenizer" | "LlamaTokenizerFast") if text.contains("\"ByteLevel\"") => {}
            Some("LlamaTokenizer" | "LlamaTokenizerFast") if is_bpe => {
                is_rebuilt = true;
                let prefix_space = flag(&config, "add_prefix_space", true).with_context(at_config)?;
                let legacy = flag(&config, "legacy", false).with_context(at_config)?;
                rebuild_as_llama(&mut stored, prefix_space, legacy);
            }
            Some(class) => not_followed.push(format!("tokenizer_class {class:?}")),
        }

        let split_special_tokens = flag(&config, "split_special_tokens", false).with_context(at_config)?;
        let other_tokens = other_tokens(&stored, &config, &special_tokens, is_rebuilt);
        let tokenizer = stored.to_string();
        Ok(Self { tokenizer, split_special_tokens, dir: dir.into(), not_followed, other_tokens })
    }

    /// The path of `tokenizer.json`, for messages.
    pub(crate) fn path(&self) -> impl std::fmt::Display {
        self.dir.join(TOKENIZER_FILE).display().to_string()
    }

    /// Says where transformers may have other ids for a prompt.
    pub fn caveat(&self, prompt: &str) -> Option<String> {
        let tokens = self.other_tokens.iter().filter(|token| prompt.contains(token.as_str()));
        let what: Vec<String> =
            self.not_followed.iter().cloned().chain(tokens.map(|token| format!("token {token:?}"))).collect();
        (!what.is_empty()).then(|| {
            format!(
                "{}: not followed: {}; the prompt's ids are those of {TOKENIZER_FILE} alone, transformers may have others \
                 (--prompt-ids takes these)",
                self.dir.join(CONFIG_FILE).display(),
                what.join(", ")
            )
        })
    }
}

/// Refuses a template of a prompt with a token that it does not describe: the `tokenizers` crate would panic.
fn check_templates(processor: &Value) -> Result<()> {
    for processor in processor["processors"].as_array().into_iter().flatten() {
        check_templates(processor)?;
    }
    let known = processor["special_tokens"].as_object();
    let pieces = processor["single"].as_array().into_iter().flatten();
    let tokens = pieces.filter_map(|piece| piece["SpecialToken"]["id"].as_str());
    for token in tokens {
        let is_known = known.is_some_and(|known| known.contains_key(token));
        ensure!(is_known, "post_processor: single: {token:?} is none of its special_tokens");
    }
    Ok(())
}

/// Reads a JSON object; an absent file has no keys.
fn object(dir: &Path, name: &str) -> Result<Map<String, Value>> {
    let path = dir.join(name);
    if !path.exists() {
        return Ok(Map::new());
    }
    let at = || path.display().to_string();
    let text = llama::read_text(&path).with_context(at)?;
    match llama::from_python_json(&text).with_context(at)? {
        Value::Object(object) => Ok(object),
        _ => bail!("{}: not a JSON object", path.display()),
    }
}

/// True or false; the default where the key is absent or null.
fn flag(config: &Map<String, Value>, key: &str, default: bool) -> Result<bool> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => bail!("{key}: expected true or false, found {other}"),
    }
}

/// Keeps vocabulary, merges, added tokens and post-processor, and replaces the rest, as the constructor of transformers'
/// `LlamaTokenizer` does. It ignores `add_bos_token` and `add_eos_token` where there is a `tokenizer.json`.
fn rebuild_as_llama(stored: &mut Value, prefix_space: bool, legacy: bool) {
    let prepend_scheme = match (prefix_space, legacy) {
        (false, _) => "never",
        (true, false) => "first",
        (true, true) => "always",
    };
    stored["normalizer"] = Value::Null;
    stored["pre_tokenizer"] =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend_scheme, "split": false});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix_space {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    stored["decoder"] = json!({"type": "Sequence", "decoders": decoders});
    let model = &mut stored["model"];
    for key in ["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"] {
        model[key] = Value::Null;
    }
    model["fuse_unk"] = true.into();
    model["byte_fallback"] = true.into();
    model["ignore_merges"] = false.into();
}

/// How a token is added to a vocabulary: its id and its options.
#[derive(Clone, PartialEq)]
struct AddedToken {
    id: Option<u64>,
    options: [bool; 5],
}

impl AddedToken {
    fn new(id: Option<u64>, token: &Value) -> Self {
        let option = |key: &str| token.get(key).and_then(Value::as_bool);
        let special = option("special").unwrap_or(false);
        let [single_word, lstrip, rstrip] =
            ["single_word", "lstrip", "rstrip"].map(|key| option(key).unwrap_or(false));
        let normalized = option("normalized").unwrap_or(!special);
        Self { id, options: [single_word, lstrip, rstrip, normalized, special] }
    }
}

/// The tokens that transformers adds otherwise than `tokenizer.json` (`stored`) does.
fn other_tokens(
    stored: &Value,
    config: &Map<String, Value>,
    special_tokens: &Map<String, Value>,
    is_rebuilt: bool,
) -> Vec<String> {
    let text = |token: &Value| token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned);
    let added = stored["added_tokens"].as_array().into_iter().flatten();
    let added: BTreeMap<String, AddedToken> = added
        .filter_map(|token| Some((text(token)?, AddedToken::new(token["id"].as_u64(), token))))
        .collect();

    // Those that the config describes, and those that it names.
    let decoder = config.get("added_tokens_decoder").and_then(Value::as_object);
    let described: BTreeMap<String, AddedToken> = decoder
        .into_iter()
        .flatten()
        .filter_map(|(id, token)| Some((text(token)?, AddedToken::new(id.parse().ok(), token))))
        .collect();
    let mut named = Vec::new();
    for (key, value) in config.iter().chain(special_tokens) {
        match (key.as_str(), value) {
            ("additional_special_tokens" | "extra_special_tokens", Value::Array(list)) => {
                named.extend(list.iter().filter_map(text));
            }
            ("additional_special_tokens" | "extra_special_tokens", Value::Object(tokens)) => {
                named.extend(tokens.values().filter_map(text));
            }
            (key, token) if key.ends_with("_token") => named.extend(text(token)),
            _ => {}
        }
    }

    let changed = described.iter().filter(|&(token, how)| added.get(token) != Some(how));
    let new = named.iter().filter(|token| !added.contains_key(*token));
    // The constructor gets the tokens that the config describes, and no others of the file.
    let lost = added.keys().filter(|token| {
        is_rebuilt && decoder.is_some() && !described.contains_key(*token) && !named.contains(token)
    });
    let mut all: Vec<String> = changed.map(|(token, _)| token).chain(new).chain(lost).cloned().collect();
    all.retain(|token| !token.is_empty());
    all.sort();
    all.dedup();
    all
}
