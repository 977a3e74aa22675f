//! Ids and texts, compared with those of transformers.

use anyhow::Result;
use serde_json::{Value, json};
use tokenizer::TOKENIZER_FILE;

use crate::checked::CONFIG_FILE;
use crate::prompt_tokenizer::PromptTokenizer;

/// A tokenizer like LLaMA-2's, with eight tokens.
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
        let prompt = tokenizer.encode(text).unwrap();
        assert_eq!((&*prompt.ids, prompt.caveat), (ids, None), "{text:?} {config}");
        assert_eq!(tokenizer.decode(&ids[1..]).unwrap(), decoded, "{text:?} {config}");
    }
    // The class may stand in config.json.
    for config in [Value::Null, json!({}), json!({"tokenizer_class": null})] {
        let tokenizer = read(&config, &json!({"tokenizer_class": LLAMA})).unwrap();
        assert_eq!(tokenizer.encode("a<s>b").unwrap().ids, [1, 6, 1, 5]);
    }
}

#[test]
fn what_is_not_followed_is_said() {
    let caveat = |config: Value, prompt: &str| {
        let tokenizer = read(&config, &json!({})).unwrap();
        let caveat = tokenizer.encode(prompt).unwrap().caveat?;
        let what = caveat.split_once("not followed: ").unwrap().1.split_once("; the prompt's ids").unwrap().0;
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
    let s =
        |strip: bool| json!({"1": {"content": "<s>", "lstrip": strip, "normalized": false, "special": true}});
    assert_eq!(caveat(json!({"added_tokens_decoder": s(false)}), "a<s>b"), None);
    assert_eq!(caveat(json!({"added_tokens_decoder": s(true)}), "a<s>b").unwrap(), "token \"<s>\"");
    let llama =
        json!({"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": s(false), "eos_token": "</s>"});
    assert_eq!(caveat(llama.clone(), "a</s><s>"), None);
    assert_eq!(caveat(llama, "a<unk>").unwrap(), "token \"<unk>\"");
    let error =
        read(&json!({"tokenizer_class": "LlamaTokenizer", "legacy": 0}), &json!({})).map(drop).unwrap_err();
    let message = format!("{error:#}");
    assert!(message.ends_with("tokenizer_config.json: legacy: expected true or false, found 0"), "{message}");
}
