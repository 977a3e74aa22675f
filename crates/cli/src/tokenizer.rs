//! A checkpoint's tokenizer, as transformers 5.23's `AutoTokenizer` loads it: `tokenizer.json`, and what `tokenizer_config.json`
//! changes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

const TOKENIZER_FILE: &str = "tokenizer.json";
const CONFIG_FILE: &str = "tokenizer_config.json";
/// The classes that leave `tokenizer.json` as it is.
const PLAIN_CLASSES: [&str; 4] =
    ["PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"];

/// A checkpoint's tokenizer.
pub(crate) struct PromptTokenizer {
    tokenizer: Tokenizer,
    dir: PathBuf,
    /// What is not followed, whatever the prompt is.
    not_followed: Vec<String>,
    /// Tokens that transformers has, or does not have, in contrast to `tokenizer.json`.
    other_tokens: Vec<String>,
}

impl PromptTokenizer {
    /// Reads the tokenizer of the checkpoint in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(TOKENIZER_FILE);
        ensure!(path.exists(), "{}: no such file: a text needs it, --prompt-ids does not", path.display());
        let text = llama::read_text(&path).with_context(|| path.display().to_string())?;
        let mut stored: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
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

        let mut tokenizer = Tokenizer::from_bytes(stored.to_string())
            .map_err(|error| anyhow!("{}: {error}", path.display()))?;
        // Saved by whoever last padded or cut a batch; transformers does neither unless it is asked to.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        let split_special_tokens = flag(&config, "split_special_tokens", false).with_context(at_config)?;
        tokenizer.set_encode_special_tokens(split_special_tokens);
        let other_tokens = other_tokens(&stored, &config, &special_tokens, is_rebuilt);
        Ok(Self { tokenizer, dir: dir.into(), not_followed, other_tokens })
    }

    /// The token ids of a prompt, with the tokens that the checkpoint puts before and behind it.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode(text, true).map_err(|error| anyhow!("--prompt: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens, without special ones.
    pub(crate) fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| anyhow!("decoding: {error}"))
    }

    /// Says where transformers may have other ids for a prompt.
    pub(crate) fn caveat(&self, prompt: &str) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As LLaMA-2's, with eight tokens.
    fn tokenizer() -> Value {
        let special = |id: u32, content: &str| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                "special": true,
            })
        };
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ]},
            "pre_tokenizer": null,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
            },
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ]},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "a": 4, "b": 5, "▁a": 6, "<0xC3>": 7, "<0xA9>": 8},
                "merges": [["▁", "a"]],
            },
        })
    }

    fn read(config: &Value, model_config: &Value) -> Result<PromptTokenizer> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(TOKENIZER_FILE), tokenizer().to_string()).unwrap();
        std::fs::write(dir.path().join("config.json"), model_config.to_string()).unwrap();
        if !config.is_null() {
            std::fs::write(dir.path().join(CONFIG_FILE), config.to_string()).unwrap();
        }
        PromptTokenizer::read(dir.path())
    }

    /// Ids and texts of transformers 5.23's `AutoTokenizer`.
    #[test]
    fn ids_are_those_of_transformers() {
        const LLAMA: &str = "LlamaTokenizer";
        const PLAIN: &str = "PreTrainedTokenizerFast";
        let cases: [(&str, Value, &[u32], &str); 19] = [
            ("a<s>b", Value::Null, &[1, 6, 1, 3, 5], "a b"),
            ("a<s>b", json!({"tokenizer_class": LLAMA}), &[1, 6, 1, 5], "ab"),
            (
                "a<s>b",
                json!({"tokenizer_class": LLAMA, "legacy": null, "add_prefix_space": null}),
                &[1, 6, 1, 5],
                "ab",
            ),
            ("a<s>b", json!({"tokenizer_class": LLAMA, "legacy": true}), &[1, 6, 1, 3, 5], "a b"),
            (
                "a<s>b",
                json!({"tokenizer_class": "LlamaTokenizerFast", "add_prefix_space": false}),
                &[1, 4, 1, 5],
                "ab",
            ),
            (
                "a<s>b",
                json!({"tokenizer_class": PLAIN, "add_prefix_space": false, "legacy": false}),
                &[1, 6, 1, 3, 5],
                "a b",
            ),
            ("a<s>b", json!({"tokenizer_class": PLAIN, "split_special_tokens": true}), &[1, 6, 0, 5], "ab"),
            ("a<s>b", json!({"tokenizer_class": LLAMA, "split_special_tokens": true}), &[1, 6, 5], "ab"),
            ("ab a", json!({"tokenizer_class": LLAMA, "add_prefix_space": false}), &[1, 4, 5, 6], "ab a"),
            ("ab a", json!({"tokenizer_class": LLAMA}), &[1, 6, 5, 6], "ab a"),
            // With a tokenizer.json these do nothing.
            ("ab a", json!({"tokenizer_class": LLAMA, "add_bos_token": false}), &[1, 6, 5, 6], "ab a"),
            ("ab a", json!({"tokenizer_class": PLAIN, "add_eos_token": true}), &[1, 6, 5, 6], "ab a"),
            (" a", Value::Null, &[1, 3, 6], " a"),
            (" a", json!({"tokenizer_class": LLAMA}), &[1, 6], "a"),
            (" a", json!({"tokenizer_class": LLAMA, "add_prefix_space": false}), &[1, 6], " a"),
            (" 中a", Value::Null, &[1, 3, 3, 0, 4], " a"),
            (" 中a", json!({"tokenizer_class": LLAMA}), &[1, 6], "a"),
            (" é", Value::Null, &[1, 3, 3, 7, 8], " é"),
            (" é", json!({"tokenizer_class": LLAMA}), &[1, 3, 7, 8], "é"),
        ];
        for (text, config, ids, decoded) in cases {
            let tokenizer = read(&config, &json!({})).unwrap();
            assert_eq!(tokenizer.encode(text).unwrap(), ids, "{text:?} {config}");
            assert_eq!(tokenizer.decode(&ids[1..]).unwrap(), decoded, "{text:?} {config}");
            assert_eq!(tokenizer.caveat(text), None, "{text:?} {config}");
        }
        // The class may stand in config.json.
        for config in [Value::Null, json!({}), json!({"tokenizer_class": null})] {
            let tokenizer = read(&config, &json!({"tokenizer_class": LLAMA})).unwrap();
            assert_eq!(tokenizer.encode("a<s>b").unwrap(), [1, 6, 1, 5]);
        }
    }

    #[test]
    fn what_is_not_followed_is_said() {
        let caveat = |config: Value, prompt: &str| {
            let tokenizer = read(&config, &json!({})).unwrap();
            let caveat = tokenizer.caveat(prompt)?;
            let what =
                caveat.split_once("not followed: ").unwrap().1.split_once("; the prompt's ids").unwrap().0;
            Some(what.to_owned())
        };
        assert_eq!(
            caveat(json!({"tokenizer_class": "GPT2Tokenizer"}), "a").unwrap(),
            "tokenizer_class \"GPT2Tokenizer\""
        );
        assert_eq!(caveat(json!({"auto_map": {"AutoTokenizer": ["x", null]}}), "a").unwrap(), "auto_map");
        let x = |key: &str, value: Value| {
            assert_eq!(caveat(json!({key: value}), "a<x>b").unwrap(), "token \"<x>\"");
            assert_eq!(caveat(json!({key: value}), "a<y>b"), None);
        };
        x("pad_token", json!("<x>"));
        x("image_token", json!({"__type": "AddedToken", "content": "<x>"}));
        x("additional_special_tokens", json!(["<x>"]));
        x("extra_special_tokens", json!({"image": "<x>"}));
        x("added_tokens_decoder", json!({"9": {"content": "<x>", "special": true}}));
        // As it is in the file, and otherwise.
        let s = |strip: bool| json!({"1": {"content": "<s>", "lstrip": strip, "normalized": false, "special": true}});
        assert_eq!(caveat(json!({"added_tokens_decoder": s(false)}), "a<s>b"), None);
        assert_eq!(caveat(json!({"added_tokens_decoder": s(true)}), "a<s>b").unwrap(), "token \"<s>\"");
        let llama = json!({"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": s(false), "eos_token": "</s>"});
        assert_eq!(caveat(llama.clone(), "a</s><s>"), None);
        assert_eq!(caveat(llama, "a<unk>").unwrap(), "token \"<unk>\"");
        let error = read(&json!({"tokenizer_class": "LlamaTokenizer", "legacy": 0}), &json!({}))
            .map(drop)
            .unwrap_err();
        let message = format!("{error:#}");
        assert!(
            message.ends_with("tokenizer_config.json: legacy: expected true or false, found 0"),
            "{message}"
        );
    }
}
