//! A checkpoint's tokenizer: what is checked of its files here, and the process that tokenizes.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use testing::fuzz::{BoundedAllocator, CaseResult, Corpus, Input, check, check_share, one_line, sample};
use tokenizer::GiveUp;
use tokenizer_worker::CheckedFiles;

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

/// Runs before `main`: where a test has started this program to tokenize, it does that instead of testing.
#[used]
#[unsafe(link_section = ".init_array")]
static TOKENIZE_IF_ASKED: extern "C" fn() = {
    #[expect(clippy::exit, reason = "`main` would run the tests")]
    extern "C" fn tokenize_if_asked() {
        if tokenizer_worker::answer_if_asked().is_some() {
            std::process::exit(0);
        }
    }
    tokenize_if_asked
};

const THIS_PROGRAM: &str = "/proc/self/exe";
const FILES: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"];
const PROMPT: &str = "The <x> é 中 <s>  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
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
fn samples() -> [Vec<String>; 4] {
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

/// One of [`FILES`], by its number, and what it has; the others are as they were.
fn damages() -> impl Strategy<Value = (usize, Input)> {
    let [tokenizer, config, special, model] = samples().map(|samples| Corpus::new(samples, WORDS).inputs());
    prop_oneof![
        6 => tokenizer.prop_map(|input| (0, input)),
        2 => config.prop_map(|input| (1, input)),
        1 => special.prop_map(|input| (2, input)),
        1 => model.prop_map(|input| (3, input)),
    ]
}

/// A folder in memory, where the machine has a place for that.
fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn write(dir: &Path, (damaged, input): &(usize, Input)) {
    for (number, (name, samples)) in FILES.iter().zip(samples()).enumerate() {
        let bytes = if number == *damaged { &input.0 } else { samples[0].as_bytes() };
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

/// What is tokenized has neither padding nor truncation, and no prompt's caveat fails.
fn holds(files: &CheckedFiles) -> CaseResult {
    let tokenizer: Value = serde_json::from_str(&files.tokenizer).unwrap();
    prop_assert!(tokenizer["padding"].is_null() && tokenizer["truncation"].is_null());
    prop_assert!(files.caveat(PROMPT).is_none_or(|caveat| caveat.contains("not followed: ")));
    Ok(())
}

#[test]
fn the_samples_are_tokenizers() {
    let dir = folder();
    let never = GiveUp { after: Duration::MAX, when: || false };
    for tokenizer in &samples()[0] {
        write(dir.path(), &(0, Input(tokenizer.clone().into_bytes())));
        holds(&CheckedFiles::read(dir.path()).unwrap()).unwrap();
        let prompt = tokenizer::encode(Path::new(THIS_PROGRAM), dir.path(), PROMPT, never).unwrap();
        assert!(prompt.ids.len() > 1, "{tokenizer}");
        tokenizer::decode(Path::new(THIS_PROGRAM), dir.path(), &[prompt.ids], never).unwrap();
    }
}

#[test]
fn any_file_is_checked() {
    let dir = folder();
    check(1000, damages(), |damage| {
        write(dir.path(), &damage);
        CheckedFiles::read(dir.path()).map_or(Ok(()), |files| holds(&files))
    });
}

/// However the process ends, the answer is one, or an error that names a file, the prompt or what was decoded. A tenth of the
/// cases: each starts a process, some two.
#[test]
fn any_file_is_tokenized_or_refused() {
    let dir = folder();
    let soon = GiveUp { after: Duration::from_secs(1), when: || false };
    let place = dir.path().display().to_string();
    check_share(40, 10, damages(), |damage| {
        write(dir.path(), &damage);
        let rows = [vec![1, 3, u32::MAX], vec![]];
        let texts = tokenizer::encode(Path::new(THIS_PROGRAM), dir.path(), PROMPT, soon)
            .and_then(|_| tokenizer::decode(Path::new(THIS_PROGRAM), dir.path(), &rows, soon));
        match texts.map_err(|error| format!("{error:#}")) {
            Ok(texts) => prop_assert_eq!(texts.len(), rows.len()),
            Err(error) => {
                let has_place = ["--prompt: ", "decoding: ", &place].iter().any(|at| error.starts_with(at));
                prop_assert!(has_place && !error.contains("panicked"), "{}", error);
            }
        }
        Ok(())
    });
}
