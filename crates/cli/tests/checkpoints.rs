//! Checkpoints of others, through the program: what transformers reads has transformers' tokens, and what can't be read is refused
//! with what to do.

mod common;

use std::path::Path;

use common::Place;
use common::checkpoints::{config, fixture, tensors, variants, write};
use serde_json::{Value, json};

/// The tokens that the reference chooses.
fn tokens(place: &Place, model: &str, prompt: &[&str], count: usize) -> Value {
    let arguments = ["generate", "--engine", "reference", "--json", "--model", model];
    let count = count.to_string();
    let assert = place.bench(&arguments).args(prompt).args(["--max-new-tokens", &count]).assert().success();
    let generated: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    generated["tokens"][0].clone()
}

/// The one line that `generate` says of the model.
fn refusal(place: &Place, model: &str) -> String {
    let arguments =
        ["generate", "--engine", "reference", "--model", model, "--prompt-ids", "1", "--max-new-tokens", "1"];
    let assert = place.bench(&arguments).assert().code(2);
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    let here = place.path("").canonicalize().unwrap().display().to_string();
    stderr.strip_prefix("error: --model: ").unwrap().trim_end().replace(&here, ".")
}

#[test]
fn every_way_to_store_a_model_has_the_tokens_of_transformers() {
    let place = Place::new();
    for variant in variants() {
        let dir = place.path(&variant.name);
        variant.write(&dir);
        let ids = variant.prompt_ids.to_string();
        let prompt = ["--prompt-ids", ids.trim_matches(['[', ']'])];
        let count = variant.tokens.as_array().unwrap().len();
        assert_eq!(tokens(&place, &variant.name, &prompt, count), variant.tokens, "{}", variant.name);
    }
}

/// transformers calls the tokenizer with neither padding nor truncation, whatever the file was saved with.
#[test]
fn padding_and_truncation_saved_in_a_tokenizer_do_not_apply() {
    let place = Place::new();
    let prompt = ["--prompt", "The capital of France is"];
    let expected = tokens(&place, fixture("tiny-mha").to_str().unwrap(), &prompt, 8);
    let dir = place.path("saved");
    std::fs::create_dir(&dir).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("tiny-mha").join(name), dir.join(name)).unwrap();
    }
    let text = std::fs::read_to_string(fixture("tiny-mha").join("tokenizer.json")).unwrap();
    let tokenizer: Value = serde_json::from_str(&text).unwrap();
    let padding = |strategy: Value, direction: &str, multiple: Value| {
        json!({
            "strategy": strategy, "direction": direction, "pad_to_multiple_of": multiple, "pad_id": 0, "pad_type_id": 0,
            "pad_token": "<unk>",
        })
    };
    let truncation = |direction: &str| json!({"direction": direction, "max_length": 3, "strategy": "LongestFirst", "stride": 0});
    for (padding, truncation) in [
        (padding(json!({"Fixed": 32}), "Left", Value::Null), Value::Null),
        (padding(json!("BatchLongest"), "Right", json!(64)), Value::Null),
        (Value::Null, truncation("Right")),
        (padding(json!({"Fixed": 32}), "Right", Value::Null), truncation("Left")),
    ] {
        let mut tokenizer = tokenizer.clone();
        tokenizer["padding"] = padding;
        tokenizer["truncation"] = truncation;
        std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        assert_eq!(
            tokens(&place, "saved", &prompt, 8),
            expected,
            "{} {}",
            tokenizer["padding"],
            tokenizer["truncation"]
        );
    }
}

/// What of a tokenizer is not followed is a note; the prompt is taken all the same.
#[test]
fn a_note_says_what_of_a_tokenizer_is_not_followed() {
    let place = Place::new();
    let dir = place.path("model");
    std::fs::create_dir(&dir).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(fixture("tiny-mha").join(name), dir.join(name)).unwrap();
    }
    let stderr = |config: Value| {
        std::fs::write(dir.join("tokenizer_config.json"), config.to_string()).unwrap();
        let arguments = ["generate", "--engine", "reference", "--model", "model", "--prompt", "The <x>"];
        let assert = place.bench(&arguments).args(["--max-new-tokens", "2", "--batch-size", "2"]).assert();
        String::from_utf8(assert.success().get_output().stderr.clone()).unwrap()
    };
    assert_eq!(stderr(json!({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<y>"})), "");
    // A file of byte-level BPE stays as it is.
    assert_eq!(stderr(json!({"tokenizer_class": "LlamaTokenizer", "legacy": false})), "");
    let here = place.path("").canonicalize().unwrap().display().to_string();
    assert_eq!(
        stderr(json!({"tokenizer_class": "GPT2Tokenizer", "pad_token": "<x>"})).replace(&here, "."),
        "note: ./model/tokenizer_config.json: not followed: tokenizer_class \"GPT2Tokenizer\", token \"<x>\"; the prompt's ids are those of \
         tokenizer.json alone, transformers may have others (--prompt-ids takes these)\n"
    );
}

#[test]
fn what_would_be_computed_wrongly_is_refused_by_name() {
    let place = Place::new();
    let with = |change: &dyn Fn(&mut Value, &mut common::checkpoints::Tensors)| {
        let (mut config, mut tensors) = (config(), tensors());
        change(&mut config, &mut tensors);
        write(&place.path("model"), &config, &tensors);
        refusal(&place, "model")
    };
    let ones = |size: usize| (vec![size], half::f16::ONE.to_le_bytes().repeat(size));
    for name in [
        "model.layers.1.self_attn.o_proj.bias",
        "layers.0.mlp.up_proj.bias",
        "lm_head.bias",
        "model.norm.bias",
    ] {
        assert_eq!(
            with(&|_, tensors| drop(tensors.insert(name.into(), ones(64)))),
            format!(
                "model/model.safetensors: {name}: expected no bias, or one of zeros (none is added), found other values"
            )
        );
    }
    assert_eq!(
        with(&|config, _| config["rope_scaling"] = json!({"rope_type": "yarn", "factor": 4.0})),
        "model/config.json: rope_scaling.rope_type: expected \"default\", \"linear\", \"dynamic\" or \"llama3\" (no other rope scaling \
         is supported), found \"yarn\""
    );
    assert_eq!(
        with(&|config, _| config["quantization_config"] = json!({"quant_method": "awq", "bits": 4})),
        "model/config.json: quantization_config: expected null, or compressed-tensors' pack-quantized, with weights alone in 4 or 8 bits, symmetric, a scale for \
         every 32 or 128 inputs or every channel, and lm_head ignored, found \
         {\"quant_method\":\"awq\",\"bits\":4}"
    );
    assert_eq!(
        with(&|config, _| config["model_type"] = json!("qwen2")),
        "model/config.json: model_type: expected \"llama\" (no other family of models is supported), found \"qwen2\""
    );
    assert_eq!(
        with(&|config, _| config["sliding_window"] = json!(16)),
        "model/config.json: sliding_window: expected null, or a whole number from 256 (max_position_embeddings: shorter attention is \
         not supported), found 16"
    );
    assert_eq!(
        with(&|config, _| config["layer_types"] = json!(["sliding_attention", "full_attention"])),
        "model/config.json: layer_types: expected \"full_attention\" for each of 2 layers (no other type is supported), found \
         [\"sliding_attention\",\"full_attention\"]"
    );
    assert_eq!(
        with(&|_, tensors| drop(tensors.insert("model.model.norm.weight".into(), ones(64)))),
        "model/model.safetensors: model.norm.weight: expected the values of another name of this weight, model.model.norm.weight in \
         model.safetensors, found others"
    );
    // transformers would go on with random numbers.
    assert_eq!(
        with(&|_, tensors| drop(tensors.remove("lm_head.weight"))),
        "model/model.safetensors: lm_head.weight: expected a float tensor of shape [256, 64], found no such tensor (config.json does \
         not say tie_word_embeddings, that the embedding is the head)"
    );
    assert_eq!(
        with(&|_, tensors| {
            *tensors = std::mem::take(tensors)
                .into_iter()
                .map(|(name, tensor)| (format!("module.{name}"), tensor))
                .collect();
        }),
        "model/model.safetensors: model.embed_tokens.weight: expected a float tensor of shape [256, 64], found no such tensor, but \
         module.model.embed_tokens.weight: rename the tensors"
    );
    assert_eq!(
        with(&|_, tensors| {
            let weight = tensors.remove("model.layers.0.self_attn.q_proj.weight").unwrap();
            tensors.insert("model.layers.0.self_attn.q_proj.qweight".into(), weight);
        }),
        "model/model.safetensors: model.layers.0.self_attn.q_proj.weight: expected a float tensor of shape [64, 64], found no such \
         tensor, but model.layers.0.self_attn.q_proj.qweight"
    );
}

#[test]
fn a_folder_without_a_checkpoint_says_what_it_is_and_what_to_do() {
    let place = Place::new();
    let with = |files: &[(&str, &str)]| {
        let dir = place.path("model");
        let _ = std::fs::remove_dir_all(&dir);
        write(&dir, &config(), &tensors());
        for (name, text) in files {
            let _ = std::fs::remove_file(dir.join("model.safetensors"));
            std::fs::write(dir.join(name), text).unwrap();
        }
        refusal(&place, "model")
    };
    let nothing = "model: no model.safetensors and no model.safetensors.index.json, but";
    assert_eq!(
        with(&[("pytorch_model.bin", "PK")]),
        format!(
            "{nothing} pytorch_model.bin, pickled weights, which are not read: transformers converts them, with \
             AutoModelForCausalLM.from_pretrained(\"this folder\").save_pretrained(\"a new folder\")"
        )
    );
    assert_eq!(
        with(&[("model-00001-of-00002.safetensors", "")]),
        format!(
            "{nothing} model-00001-of-00002.safetensors, a part of several: download model.safetensors.index.json, too"
        )
    );
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 13476835328\n";
    for name in ["model.safetensors", "config.json"] {
        assert_eq!(
            with(&[(name, pointer)]),
            format!(
                "model/{name}: a pointer of git-lfs, not the file itself: run `git lfs pull` in its repository"
            )
        );
    }
    std::fs::create_dir_all(place.path("models--a--b/snapshots/0f1e")).unwrap();
    write(&place.path("models--a--b/snapshots/0f1e"), &config(), &tensors());
    assert_eq!(
        refusal(&place, "models--a--b"),
        "models--a--b: a repository's folder in the hub's cache: its checkpoint is models--a--b/snapshots/0f1e"
    );
}

#[test]
fn a_model_in_the_hub_cache_is_named_after_its_repository() {
    let place = Place::new();
    write(&place.path("hub/models--meta-llama--Llama-2-7b-hf/snapshots/01c7f73d"), &config(), &tensors());
    let sweep = "models = [\"hub/models--meta-llama--Llama-2-7b-hf/snapshots/01c7f73d\"]\nengines = [\"mock\"]\nbatch_sizes = [1]\n\
                 prompt_lengths = [4]\ngeneration_length = 4\n[procedure]\nwarmup_runs = 1\nprompt_runs = 2\n";
    let (code, stdout) = place.run(sweep, &["--no-verify"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("Llama-2-7b-hf") && !stdout.contains("01c7f73d"), "{stdout}");
}

#[test]
fn a_sequence_does_not_go_beyond_the_context_that_dynamic_scaling_starts_from() {
    let place = Place::new();
    let mut config = config();
    config["rope_scaling"] = json!({"type": "dynamic", "factor": 4.0});
    write(&place.path("model"), &config, &tensors());
    let arguments = [
        "generate",
        "--engine",
        "reference",
        "--model",
        "model",
        "--prompt-ids",
        "1,2",
        "--max-new-tokens",
        "256",
    ];
    let assert = place.bench(&arguments).assert().code(2);
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert_eq!(
        stderr,
        "error: a prompt of 2 tokens and 256 new tokens need 257 positions: model has 256 (max_position_embeddings: beyond it dynamic \
         rope scaling is not supported)\n"
    );
}

/// A folder with nothing but a graph is taken by the commands that choose no engine, too.
#[test]
fn all_commands_take_the_same_folders() {
    let place = Place::new();
    let commands = |model: &str| -> Vec<i32> {
        let list = [
            "run",
            "--list",
            "--engine",
            "mock",
            "--model",
            model,
            "--generation-length",
            "4",
            "--prompt-length",
            "4",
        ];
        let run =
            [&list[..1], &list[2..], &["--no-verify", "--out", model.trim_start_matches("models/")]].concat();
        let generate =
            ["generate", "--engine", "mock", "--model", model, "--prompt-ids", "1", "--max-new-tokens", "1"];
        let code = |arguments: &[&str]| place.bench(arguments).output().unwrap().status.code().unwrap();
        [&list[..], &run, &generate].map(code).into()
    };
    write(&place.path("models/whole"), &config(), &tensors());
    write(&place.path("models/no-weights"), &config(), &tensors());
    std::fs::remove_file(place.path("models/no-weights/model.safetensors")).unwrap();
    assert_eq!(commands("models/whole"), [0, 0, 0]);
    assert_eq!(commands("models/no-weights"), [2, 2, 2]);
    assert!(!Path::new(&place.path("no-weights")).exists());
}
