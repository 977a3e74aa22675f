//! The real engines through the program: needs `make setup` and the engines' workers built.

mod common;

use common::checkpoints::{Variant, fixture, variants};
use common::{MOCK, Place};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;
use protocol::FailureKind;
use serde_json::Value;

const FIXTURES: [&str; 4] = ["tiny-mha", "tiny-gqa", "tiny-f16", "tiny-llama3"];
const ENGINES: [&str; 3] = ["onnxruntime", "pytorch-eager", "pytorch-compile"];

fn expected(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name).join("expected.json")).unwrap()).unwrap()
}

fn generate(place: &Place, engine: &str, model: &str, more: &[&str]) -> Value {
    let arguments = ["generate", "--engine", engine, "--model", model, "--json"];
    let assert = place.bench(&arguments).args(more).assert().success();
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

#[test]
fn greedy_tokens_are_transformers() {
    let place = Place::new();
    for name in FIXTURES {
        let case = &expected(name)["cases"][1];
        let ids: Vec<String> =
            case["prompt_ids"][0].as_array().unwrap().iter().map(Value::to_string).collect();
        let count = case["max_new_tokens"].to_string();
        for engine in ENGINES {
            let dir = fixture(name);
            let more = ["--prompt-ids", &ids.join(","), "--max-new-tokens", &count, "--batch-size", "2"];
            let generated = generate(&place, engine, dir.to_str().unwrap(), &more);
            let row = &case["tokens"][0];
            assert_eq!(generated["tokens"], serde_json::json!([row, row]), "{engine} on {name}");
            assert_eq!(generated["logits_sha256"].as_str().unwrap().len(), 64);
        }
    }
}

#[test]
fn a_text_goes_through_the_tokenizer_of_the_checkpoint() {
    let place = Place::new();
    let dir = fixture("tiny-mha");
    let texts: Vec<String> = ENGINES
        .iter()
        .map(|engine| {
            let arguments = ["generate", "--engine", engine, "--model", dir.to_str().unwrap()];
            let assert =
                place.bench(&arguments).args(["--prompt", "Hello world", "--max-new-tokens", "12"]).assert();
            String::from_utf8(assert.success().get_output().stdout.clone()).unwrap()
        })
        .collect();
    assert!(texts[0].len() > 1 && texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn the_engines_agree_with_the_reference() {
    let place = Place::new();
    let models = FIXTURES.map(|name| fixture(name).display().to_string()).join(",");
    let assert = place.bench(&["verify", "--json", "--model", &models]).assert().success();
    let verifications: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    for verification in verifications.as_array().unwrap() {
        assert_eq!(verification["against"], "reference");
        assert_eq!(verification["agreements"].as_array().unwrap().len(), 3);
        for agreement in verification["agreements"].as_array().unwrap() {
            assert_eq!(agreement["same_tokens"], true, "{verification:#}");
        }
    }
}

/// The reference has transformers' tokens on every variant (`checkpoints.rs`). Here is one of each model, and all tied ones.
#[test]
fn the_engines_agree_on_other_ways_to_store_a_model() {
    let place = Place::new();
    let mut models: Vec<Variant> = Vec::new();
    for variant in variants() {
        if variant.name.starts_with("tied") || models.iter().all(|earlier| earlier.tokens != variant.tokens) {
            variant.write(&place.path(&format!("variant-{}", models.len())));
            models.push(variant);
        }
    }
    let names: Vec<String> = (0..models.len()).map(|index| format!("variant-{index}")).collect();
    let engines = "onnxruntime,pytorch-eager,pytorch-compile,pytorch-cudagraph";
    let arguments = ["verify", "--json", "--engine", engines, "--model", &names.join(",")];
    let assert = place.bench(&arguments).assert().success();
    let verifications: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(verifications.as_array().unwrap().len(), models.len());
    for (verification, variant) in verifications.as_array().unwrap().iter().zip(models) {
        let agreements = verification["agreements"].as_array().unwrap();
        assert_eq!((&verification["against"], agreements.len()), (&"reference".into(), 4));
        assert!(
            agreements.iter().all(|agreement| agreement["same_tokens"] == true),
            "{}: {verification:#}",
            variant.name
        );
    }
}

/// What other exporters write has no safetensors beside the graph.
#[test]
fn a_graph_without_a_checkpoint_is_taken_by_every_command_and_run_by_onnxruntime() {
    let place = Place::new();
    let model = fixture("tiny-f16").display().to_string();
    place.bench(&["export", "--model", &model, "--out", "whole"]).assert().success();
    std::fs::create_dir(place.path("graph")).unwrap();
    let graph = std::fs::read(place.path("whole/model.onnx")).unwrap();
    // Its data get a name of as many letters, so that no length in the file changes.
    let [from, to] = [&b"model.safetensors"[..], b"model.onnx_data00"];
    let mut renamed = Vec::new();
    let mut rest = &graph[..];
    while let Some(first) = rest.first() {
        if let Some(behind) = rest.strip_prefix(from) {
            renamed.extend(to);
            rest = behind;
        } else {
            renamed.push(*first);
            rest = &rest[1..];
        }
    }
    std::fs::write(place.path("graph/model.onnx"), renamed).unwrap();
    std::fs::copy(place.path("whole/config.json"), place.path("graph/config.json")).unwrap();
    std::fs::copy(place.path("whole/model.safetensors"), place.path("graph/model.onnx_data00")).unwrap();

    let case = &expected("tiny-f16")["cases"][1];
    let ids = case["prompt_ids"][0].to_string();
    let more = [
        "--prompt-ids",
        ids.trim_matches(['[', ']']),
        "--max-new-tokens",
        &case["max_new_tokens"].to_string(),
    ];
    assert_eq!(generate(&place, "onnxruntime", "graph", &more)["tokens"], case["tokens"]);
    let sweep = "models = [\"graph\"]\nengines = [\"onnxruntime\"]\nbatch_sizes = [1]\nprompt_lengths = [4]\n\
                 generation_length = 4\n[procedure]\nwarmup_runs = 1\nprompt_runs = 2\n";
    place.write("list.toml", sweep);
    place.bench(&["run", "list.toml", "--list"]).assert().success();
    let (code, stdout) = place.run(sweep, &[]);
    assert_eq!((code, place.records().len()), (0, 1), "{stdout}");
    assert_eq!(place.records()[0].failure_kind(), None, "{stdout}");
    place.bench(&["verify", "--engine", "onnxruntime", "--model", "graph"]).assert().success();
    place
        .bench(&["generate", "--engine", "pytorch-eager", "--model", "graph", "--prompt-ids", "1", "--max-new-tokens", "1"])
        .assert()
        .code(2)
        .stderr(contains("no model.safetensors.index.json, but model.onnx, an exported graph, which engine onnxruntime alone can run"));
    place
        .bench(&["export", "--model", "graph", "--out", "again"])
        .assert()
        .code(2)
        .stderr(contains("but model.onnx, an exported graph"));
}

#[test]
fn heads_of_any_width_are_run_and_exported() {
    let place = Place::new();
    for (head_dim, heads, kv_heads) in [(10, 6, 2), (100, 2, 2), (48, 3, 1)] {
        let name = format!("head-{head_dim}");
        let config = serde_json::json!({
            "model_type": "llama", "vocab_size": 300, "hidden_size": 60, "intermediate_size": 96, "head_dim": head_dim,
            "num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
            "max_position_embeddings": 128,
        });
        let path = place.write("config.json", &config.to_string());
        place.bench(&["synth", "--model", path.to_str().unwrap(), "--out", &name]).assert().success();
        place.bench(&["verify", "--model", &name]).assert().success();
        let onnx = format!("{name}-onnx");
        place.bench(&["export", "--model", &name, "--out", &onnx]).assert().success();
        let more = ["--prompt-ids", "1,2,3,4,5", "--max-new-tokens", "20", "--batch-size", "2"];
        let exported = generate(&place, "onnxruntime", &onnx, &more);
        assert_eq!(
            exported["tokens"],
            generate(&place, "pytorch-eager", &name, &more)["tokens"],
            "{head_dim}"
        );
    }
}

#[test]
fn a_sweep_of_the_three_engines_has_the_same_tokens_everywhere() {
    let place = Place::new();
    let sweep = format!(
        "models = [{:?}]\nengines = {ENGINES:?}\nbatch_sizes = [1, 4]\nprompt_lengths = [5, 16]\ngeneration_length = 128\n\
         [procedure]\nwarmup_runs = 1\nprompt_runs = 2\n",
        fixture("tiny-gqa")
    );
    let (code, stdout) = place.run(&sweep, &[]);
    assert_eq!(code, 0);
    let records = place.records();
    assert_eq!(records.len(), 12);
    for record in &records {
        assert_eq!(record.failure_kind(), None, "{record:?}");
        let first = records.iter().find(|other| {
            other.key.batch_size == record.key.batch_size
                && other.key.prompt_length == record.key.prompt_length
        });
        assert_eq!(first.unwrap().series().unwrap().tokens_sha256, record.series().unwrap().tokens_sha256);
        assert!(
            record.series().unwrap().memory.kv_cache_bytes.is_some()
                && record.series().unwrap().memory.peak_bytes.is_some()
        );
    }
    let disagreement = ["tokens differ", "does not match", "chooses different tokens"];
    assert!(!disagreement.iter().any(|words| stdout.contains(words)), "{stdout}");
}

#[test]
fn an_engine_is_measured_until_its_means_are_known() {
    let place = Place::new();
    let sweep = format!(
        "models = [{:?}]\nengines = {ENGINES:?}\nbatch_sizes = [1]\nprompt_lengths = [16]\ngeneration_length = 4\n\
         [procedure]\nwarmup_runs = 2\nprompt_runs = 30\nuntil = \"10%\"\nmin_runs = 4\n",
        fixture("tiny-gqa")
    );
    let (code, stdout) = place.run(&sweep, &["--no-verify", "--no-peaks"]);
    assert_eq!(code, 0);
    let counts = 4..=30;
    for record in place.records() {
        assert_eq!(record.failure_kind(), None, "{record:?}");
        assert!(counts.contains(&record.series().unwrap().prompt_seconds.len()), "{record:?}");
        assert!(counts.contains(&record.series().unwrap().generations.len()), "{record:?}");
    }
    assert!(
        stdout
            .contains("each replicate stops once the 95 % confidence interval of its mean is within ±10 %: "),
        "{stdout}"
    );
}

#[test]
fn the_sweep_for_ci_measures_every_engine_and_memory_beside_it() {
    let place = Place::new();
    let sweep = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/ci.toml");
    let arguments = ["run", sweep, "--out", "run", "--no-peaks", "--batch-size", "1"];
    place.bench(&arguments).assert().success();
    let records = place.records();
    assert_eq!(records.len(), 6);
    for record in records {
        assert_eq!(record.failure_kind(), None, "{:?}", record.failure());
        assert!(record.read_bytes_per_second > Some(0.0));
    }
}

#[test]
fn seeded_weights_in_memory_are_the_synthesised_checkpoint_s() {
    let place = Place::new();
    place.bench(&["synth", "--model", "llama2-15m", "--seed", "7", "--out", "checkpoint"]).assert().success();
    let more = ["--prompt-ids", "1,2,3,4,5", "--max-new-tokens", "8"];
    let stored: Vec<Value> =
        ENGINES.iter().map(|engine| generate(&place, engine, "checkpoint", &more)).collect();
    for (engine, stored_now) in ENGINES.iter().zip(&stored) {
        let seeded = generate(&place, engine, "llama2-15m", &[&more[..], &["--seed", "7"]].concat());
        // Tokens, not the logits' hash: sums differ in their last bits with the alignment of what is mapped.
        assert_eq!(seeded["tokens"], stored_now["tokens"], "{engine}");
        assert_eq!(seeded["tokens"], stored[0]["tokens"], "{engine}");
    }
    place
        .bench(&["synth", "--model", "llama2-15m", "--out", "checkpoint"])
        .assert()
        .code(2)
        .stderr("error: --out: checkpoint/config.json already exists: choose another folder\n");
}

#[test]
fn an_exported_model_is_one_to_generate_and_run_with() {
    let place = Place::new();
    for (name, precision) in [("tiny-mha", "fp32"), ("tiny-gqa", "fp32"), ("tiny-f16", "fp16")] {
        let (dir, out) = (fixture(name), format!("{name}-onnx"));
        place
            .bench(&["export", "--model", dir.to_str().unwrap(), "--out", &out, "--precision", precision])
            .assert()
            .success();
        assert!(place.path(&out).join("model.onnx").exists());
        let case = &expected(name)["cases"][0];
        let ids: Vec<String> =
            case["prompt_ids"][0].as_array().unwrap().iter().map(Value::to_string).collect();
        let more = ["--prompt-ids", &ids.join(","), "--max-new-tokens", "24", "--precision", precision];
        let generated = generate(&place, "onnxruntime", &out, &more);
        assert_eq!(generated["tokens"][0], case["tokens"][0], "{name}");
    }
    place
        .bench(&["export", "--model", "tiny-mha-onnx", "--out", "tiny-mha-onnx"])
        .assert()
        .code(2)
        .stderr(contains("tiny-mha-onnx").and(contains("\n").count(1)));
}

#[test]
fn a_memory_limit_makes_real_engines_run_out_of_memory() {
    let place = Place::new();
    for engine in ENGINES {
        let sweep = format!(
            "models = [\"llama2-15m\"]\nengines = [{engine:?}]\nbatch_sizes = [64, 1]\nprompt_lengths = [1024]\norder = \"table\"\n\
             generation_length = 2\nmemory_limit = \"1GiB\"\nthreads = 2\n[procedure]\nwarmup_runs = 0\nprompt_runs = 1\n"
        );
        let (code, stdout) = place.run(&sweep, &["--no-verify"]);
        assert_eq!(code, 0, "{stdout}");
        let outcomes: Vec<Option<FailureKind>> =
            place.records().iter().map(protocol::Measurement::failure_kind).collect();
        assert_eq!(outcomes, [Some(FailureKind::OutOfMemory), None], "{engine}: {stdout}");
        std::fs::remove_dir_all(place.path("run")).unwrap();
    }
}

#[test]
fn the_doctor_finds_every_engine_with_its_library() {
    let place = Place::new();
    place
        .bench(&["doctor"])
        .assert()
        .success()
        .stdout(contains("onnxruntime 1.31.1").and(contains("libtorch 2.11.0")).and(contains("usable")));
}

#[test]
fn the_reference_lists_every_option_with_its_values() {
    let page = include_str!("../../../docs/reference/engine-options.md");
    let doctor = Place::new().bench(&["doctor", "--json"]).output().unwrap();
    let engines: Vec<Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(engines.len(), harness::Engines::built_in().names().count());
    for engine in engines {
        let name = engine["engine"].as_str().unwrap();
        let section = page.split("\n## ").find(|section| section.lines().next() == Some(name)).expect(name);
        for (option, values) in engine["hello"]["options"].as_object().unwrap() {
            let values = values.as_array().unwrap().iter().map(|value| format!("`{value}`"));
            let row = format!("| `{option}` | {}", values.collect::<Vec<_>>().join(", "));
            assert!(section.contains(&row), "docs/reference/engine-options.md, {name}: expected {row}");
        }
    }
}

#[test]
fn what_a_checkpoint_lacks_is_named() {
    let place = Place::new();
    let dir = place.path("broken");
    std::fs::create_dir(&dir).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("tiny-mha").join(name), dir.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(dir.join("config.json")).unwrap();
    std::fs::write(
        dir.join("config.json"),
        config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
    )
    .unwrap();
    for engine in ENGINES {
        place
            .bench(&["generate", "--engine", engine, "--model", "broken", "--prompt-ids", "1", "--max-new-tokens", "1"])
            .assert()
            .code(2)
            .stderr(contains("model.layers.2.input_layernorm.weight: expected a float tensor of shape [64], found no such tensor"));
    }
}

#[test]
fn threads_that_do_not_fit_into_memory_are_out_of_memory() {
    let place = Place::new();
    // The stacks of libtorch's pool take 8 MiB each: it would wait forever for the first that there is no room for.
    let sweep = MOCK.replace("\"mock\"", "\"pytorch-eager\"");
    let limits = ["--threads", "64", "--memory-limit", "200MiB", "--no-verify", "--no-peaks"];
    let cell =
        ["--batch-size", "1", "--prompt-length", "16", "--generation-length", "4", "--timeout-seconds", "60"];
    let (code, stdout) = place.run(&sweep, &[&limits[..], &cell].concat());
    assert_eq!(code, 0, "{stdout}");
    assert!(place.records().iter().all(|record| record.failure_kind() == Some(FailureKind::OutOfMemory)));
}
