//! A checkpoint's tokenizer: what is checked of its files. `tests/tokenizer.rs` asks the process that tokenizes.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokenizer_worker::CheckedFiles;

use crate::{CaseResult, FuzzTarget, Sections, folder, one_line, sample};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "tokenizer", samples, words: WORDS, run };

const FILES: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"];
/// A prompt with everything that tokenizers treat differently.
pub const PROMPT: &str = "The <x> é 中 <s>  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
const WORDS: &str = r#""BPE" "WordLevel" "WordPiece" "Unigram" "Sequence" "Replace" "Prepend" "Split" "Regex" "(a+)+$"
    ".{1000}" "ByteLevel" "Metaspace" "TemplateProcessing" "SpecialToken" "FixedLength" "Precompiled" "ByteFallback" "Strip"
    "BatchLongest" {"Fixed":300000000} {"type":"Replace","pattern":{"Regex":"."},"content":"aaaaaaaaaaaaaaaa"}
    {"type":"FixedLength","length":0} {"type":"Precompiled","precompiled_charsmap":"/////////w=="}
    {"SpecialToken":{"id":"<y>","type_id":0}} {"type":"Strip","content":"a","start":18446744073709551615,"stop":9}
    "LlamaTokenizer" "auto_map" "legacy" "add_prefix_space" "tokenizer_class" "split_special_tokens" "<s>" "<x>"
    "added_tokens_decoder" "extra_special_tokens" 4294967295 true false null"#;

/// A tokenizer like LLaMA-2's, with few tokens.
fn llama() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{
            "id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true,
        }],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a+|\\s"}, "behavior": "Isolated", "invert": false},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": {"<unk>": 0, "<s>": 1, "▁": 2, "a": 3, "aa": 4, "▁a": 5, "<0xC3>": 6, "<0xA9>": 7},
            "merges": [["▁", "a"], ["a", "a"]],
        },
    })
}

/// What each of [`FILES`] has where it is not damaged.
fn contents() -> [Vec<String>; 4] {
    let model = |model: Value| {
        let mut tokenizer = llama();
        tokenizer["model"] = model;
        tokenizer["post_processor"] =
            json!({"type": "Sequence", "processors": [tokenizer["post_processor"]]});
        tokenizer.to_string()
    };
    let config = json!({
        "tokenizer_class": "LlamaTokenizer", "legacy": false, "eos_token": {"content": "</s>"}, "pad_token": "<x>",
        "added_tokens_decoder": {"1": {"content": "<s>", "lstrip": false, "normalized": false, "special": true}},
    });
    let words = json!({"a": 1, "The": 2, "<unk>": 0});
    [
        vec![
            llama().to_string(),
            model(json!({"type": "WordLevel", "vocab": words, "unk_token": "<unk>"})),
            model(json!({
                "type": "WordPiece", "vocab": words, "unk_token": "<unk>", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 9,
            })),
            model(
                json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["aa", -1.5]]}),
            ),
        ],
        vec![config.to_string(), json!({"split_special_tokens": true}).to_string()],
        vec![json!({"additional_special_tokens": ["<y>"], "bos_token": "<s>"}).to_string()],
        vec![one_line(&sample("fixtures/tiny-mha/config.json"))],
    ]
}

fn samples() -> Vec<Vec<u8>> {
    let contents = contents();
    let input = |tokenizer: &str, config: &str| {
        let files = [tokenizer, config, &contents[2][0], &contents[3][0]];
        Sections::write(&[0, 1, 2, 3].map(|number| (FILES[number], files[number].as_bytes())))
    };
    let of_tokenizers = contents[0].iter().map(|tokenizer| input(tokenizer, &contents[1][0]));
    of_tokenizers.chain([input(&contents[0][0], &contents[1][1])]).collect()
}

/// Writes the files of an input into `dir`, and removes the others.
///
/// # Panics
/// Where they can't be written.
pub fn write(dir: &Path, input: &[u8]) {
    let sections = Sections::parse(input);
    for name in FILES {
        match sections.get(name) {
            Some(content) => std::fs::write(dir.join(name), content).unwrap(),
            None => drop(std::fs::remove_file(dir.join(name))),
        }
    }
}

/// What is tokenized has neither padding nor truncation, and no prompt's caveat fails.
fn holds(files: &CheckedFiles) -> CaseResult {
    let tokenizer: Value = serde_json::from_str(&files.tokenizer).unwrap();
    prop_assert!(tokenizer["padding"].is_null() && tokenizer["truncation"].is_null());
    prop_assert!(files.caveat(PROMPT).is_none_or(|caveat| caveat.contains("not followed: ")));
    Ok(())
}

fn run(input: &[u8]) -> CaseResult {
    let dir = folder();
    write(dir.path(), input);
    CheckedFiles::read(dir.path()).map_or(Ok(()), |files| holds(&files))
}
