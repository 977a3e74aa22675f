//! Weights in 8 and 4 bits through the program, with the real engines: needs `make setup` and the engines' workers built.

mod common;

use common::Place;
use common::checkpoints::fixture;
use predicates::str::contains;
use serde_json::Value;

/// Models whose projections have whole groups of 32 inputs.
const FIXTURES: [&str; 3] = ["tiny-gqa", "tiny-f16", "tiny-llama3"];

fn verify(place: &Place, models: &[&str], precisions: &str, more: &[&str]) -> Vec<Value> {
    let models = models.iter().map(|name| fixture(name).display().to_string()).collect::<Vec<_>>().join(",");
    let arguments = ["verify", "--json", "--model", &models, "--precision", precisions];
    let assert = place.bench(&arguments).args(more).assert().success();
    let verifications: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    verifications.as_array().unwrap().clone()
}

/// Checks every engine's logits against the reference on the dequantized weights, within `share` of the largest.
fn check(verifications: &[Value], precisions: usize, share: f64) {
    assert_eq!(verifications.len(), FIXTURES.len() * precisions);
    for one in verifications {
        assert_eq!(one["against"], "reference");
        let largest = one["largest_logit"].as_f64().unwrap().max(1.0);
        for agreement in one["agreements"].as_array().unwrap() {
            assert!(agreement["error"].is_null(), "{one:#}");
            assert!(agreement["largest_error"].as_f64().unwrap() <= share * largest, "{one:#}");
        }
    }
}

#[test]
fn products_in_fp32_are_those_of_the_dequantized_weights() {
    let place = Place::new();
    let exact = ["--engine", "onnxruntime", "--option", "onnxruntime.accuracy_level=fp32"];
    check(&verify(&place, &FIXTURES, "int8,int8-channel,int4", &exact), 3, 1e-4);
    let fused = ["--option", "onnxruntime.fused=true"];
    check(&verify(&place, &FIXTURES, "int8-channel,int4", &[&exact[..], &fused].concat()), 2, 1e-4);
    check(&verify(&place, &FIXTURES, "int8-channel,int4", &["--engine", "pytorch-eager"]), 2, 1e-4);
}

#[test]
fn rounded_activations_are_as_far_off_as_their_arithmetic_says() {
    let place = Place::new();
    let verifications = verify(&place, &FIXTURES, "int8,int8-channel,int4", &["--engine", "onnxruntime"]);
    check(&verifications, 3, 2e-1);
    for one in &verifications {
        let agreement = &one["agreements"][0];
        // A tolerance for FP32 would be too small: it is the engine's own that holds.
        assert!(agreement["largest_error"].as_f64() > one["tolerance"].as_f64(), "{one:#}");
        assert!(agreement["own_tolerance"].as_f64() > one["tolerance"].as_f64(), "{one:#}");
    }
    let bf16 = ["--engine", "pytorch-eager", "--option", "pytorch-eager.activations=bf16"];
    check(&verify(&place, &FIXTURES, "int8-channel,int4", &bf16), 2, 1e-1);
}

/// Fewer bits are further away; the note under the table says how far.
#[test]
fn the_distance_from_the_unquantized_model_is_measured() {
    let place = Place::new();
    let verifications = verify(&place, &["tiny-gqa"], "fp32,int8,int4", &["--engine", "onnxruntime"]);
    let fidelity: Vec<&Value> = verifications.iter().map(|one| &one["fidelity"]).collect();
    assert!(fidelity[0].is_null());
    let kl = |at: usize| fidelity[at]["mean_kl"].as_f64().unwrap();
    assert!(0.0 < kl(1) && kl(1) < 1e-2 && 10.0 * kl(1) < kl(2), "{fidelity:?}");
    assert_eq!((&fidelity[2]["compared_with"], &fidelity[2]["prompts"]), (&"fp32".into(), &16.into()));

    let model = fixture("tiny-gqa").display().to_string();
    let sweep =
        ["run", "--model", &model, "--engine", "onnxruntime", "--precision", "fp32,int4", "--no-peaks"];
    let sizes = ["--batch-size", "1", "--prompt-length", "16", "--generation-length", "4", "--out", "run"];
    let assert = place.bench(&sweep).args(sizes).assert().success();
    let table = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert!(table.contains("## tiny-gqa FP32 CPU (") && table.contains("## tiny-gqa INT4 CPU ("), "{table}");
    assert!(table.contains("- weights in int4: KL divergence of next tokens from fp32: mean "), "{table}");
    assert!(table.contains("accuracy level 4: activations are rounded to INT8"), "{table}");
    let sweep = std::fs::read_to_string(place.path("run/sweep.toml")).unwrap();
    assert!(sweep.contains("precision = [\"fp32\", \"int4\"]"), "{sweep}");
    place
        .bench(&["run", "--resume", "run"])
        .assert()
        .success()
        .stderr(contains("2 cells, 2 already measured"));
}

/// A checkpoint that was quantized has the numbers that are made of the other one at load.
#[test]
fn a_quantized_checkpoint_generates_what_its_source_does() {
    let place = Place::new();
    let source = fixture("tiny-f16").display().to_string();
    for precision in ["int4", "int8", "int8-channel"] {
        let quantize = ["quantize", "--model", &source, "--precision", precision, "--out", precision];
        place.bench(&quantize).assert().success();
        for engine in ["reference", "onnxruntime", "pytorch-eager"] {
            if (engine, precision) == ("pytorch-eager", "int8") {
                continue;
            }
            let generate = |model: &str| {
                let arguments = ["generate", "--json", "--engine", engine, "--model", model];
                let prompt = ["--precision", precision, "--prompt-ids", "1,2,3", "--max-new-tokens", "8"];
                let assert = place.bench(&arguments).args(prompt).assert().success();
                assert.get_output().stdout.clone()
            };
            assert_eq!(generate(precision), generate(&source), "{engine} in {precision}");
        }
    }
    let source = fixture("tiny-mha").display().to_string();
    let quantize = ["quantize", "--model", &source, "--precision", "int8-channel", "--out", "with-tokenizer"];
    place.bench(&quantize).assert().success();
    assert!(place.path("with-tokenizer/tokenizer.json").is_file());
    let again = ["quantize", "--model", "int4", "--precision", "int8", "--out", "twice"];
    place.bench(&again).assert().code(2).stderr(contains("the weights are quantized already"));
    place
        .bench(&[
            "generate",
            "--engine",
            "onnxruntime",
            "--model",
            "int4",
            "--prompt-ids",
            "1",
            "--max-new-tokens",
            "1",
        ])
        .assert()
        .code(2)
        .stderr(contains("int4: the weights are stored in int4: use precision int4"));
}

#[test]
fn what_has_no_kernel_is_refused_in_a_line() {
    let place = Place::new();
    let model = fixture("tiny-gqa").display().to_string();
    for (engine, precision, more, words) in [
        (
            "pytorch-eager",
            "int8",
            &[][..],
            "libtorch's 8-bit product has a scale for a channel, not for 32 inputs",
        ),
        ("pytorch-compile", "int4", &[], "pytorch-compile has no quantized products: use pytorch-eager"),
        ("pytorch-eager", "int4", &["--option", "pytorch-eager.linear=onednn"], "use linear = \"aten\""),
    ] {
        let generate = [
            "generate",
            "--engine",
            engine,
            "--model",
            &model,
            "--prompt-ids",
            "1",
            "--max-new-tokens",
            "1",
            "--precision",
            precision,
        ];
        place.bench(&generate).args(more).assert().failure().stderr(contains(words));
    }
    let model = fixture("tiny-mha").display().to_string();
    let verify = ["verify", "--model", &model, "--precision", "int4"];
    let words = "tiny-mha: int4 has a scale for every 32 inputs: model.layers.0.mlp.down_proj.weight has 144";
    place.bench(&verify).assert().code(2).stderr(contains(words));
    let several = [
        "generate",
        "--engine",
        "mock",
        "--model",
        "llama2-15m",
        "--prompt-ids",
        "1",
        "--max-new-tokens",
        "1",
        "--precision",
        "fp16,int4",
    ];
    place.bench(&several).assert().code(2).stderr(contains("--precision: expected a single precision"));
}
