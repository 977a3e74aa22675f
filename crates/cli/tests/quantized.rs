//! Weights in 8 and 4 bits through the program, with the real engines: needs `make setup` and the engines' workers built.

mod common;

use common::checkpoints::fixture;
use common::{MOCK, Place};
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

/// A run of the mock engine in two precisions, the quantized one made twice as fast.
fn run_in_two_precisions(place: &Place) {
    place.write("sweep.toml", MOCK);
    let run = ["run", "sweep.toml", "--precision", "fp32,int4", "--replicates", "5", "--out", "both"];
    place.bench(&run).assert().success();
    let records = std::fs::read_to_string(place.path("both/measurements.jsonl")).unwrap();
    let faster = records.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        if record["key"]["precision"] == "int4" {
            let halve = |seconds: &mut Value| *seconds = (seconds.as_f64().unwrap() / 2.0).into();
            let series = &mut record["outcome"]["ok"]["series"];
            series["prompt_seconds"].as_array_mut().unwrap().iter_mut().for_each(halve);
            for generation in series["generations"].as_array_mut().unwrap() {
                generation["token_seconds"].as_array_mut().unwrap().iter_mut().for_each(halve);
                halve(&mut generation["wall_seconds"]);
                halve(&mut generation["prompt_seconds"]);
            }
        }
        format!("{record}\n")
    });
    place.write("both/measurements.jsonl", &faster.collect::<String>());
}

#[test]
fn precisions_of_a_run_stand_side_by_side() {
    let place = Place::new();
    run_in_two_precisions(&place);
    let printed = place.bench(&["ratios", "both", "mock"]).assert().success();
    let printed = String::from_utf8(printed.get_output().stdout.clone()).unwrap();
    let line = "| INT4 | 1 | 16 | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) |";
    assert!(printed.contains(": mock by precision, compared with FP32\n"), "{printed}");
    assert!(printed.contains(line) && printed.contains("| memory | replicates |"), "{printed}");

    let compare = |precision: &str| place.bench(&["compare", "both", "both", "--precision", precision]);
    compare("fp32,int4")
        .assert()
        .success()
        .stdout(contains("the precisions differ (FP32 and INT4): changes are between precisions, not builds"))
        .stdout(contains("interleaved: replicates are compared in pairs"))
        .stdout(contains("both in FP32 → both in INT4"))
        .stdout(contains("-50.0%"));
    compare("int4,fp32").assert().code(1);
    compare("fp32,int8").assert().code(2).stderr("error: both has no table in INT8; it has FP32, INT4\n");
    compare("fp32").assert().code(2).stderr(contains("expected two precisions, such as fp32,int4"));
    compare("fp32,nf4").assert().code(2).stderr(contains("unknown precision \"nf4\": expected one of fp32,"));

    place.bench(&["report", "both", "--out", "report.html"]).assert().success();
    let page = std::fs::read_to_string(place.path("report.html")).unwrap();
    assert!(page.contains("mock in INT4: 2.00 times as fast as in FP32 by time per output token (TPOT)"));
    assert!(page.contains("id=\"precisions\""));
}

#[test]
fn runs_in_one_precision_each_are_compared_by_flag() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    for precision in ["fp32", "int4"] {
        let run = ["run", "sweep.toml", "--precision", precision, "--out", precision];
        place.bench(&run).assert().success();
    }
    let hint = "; compare these precisions with --precision fp32,int4\n";
    place.bench(&["compare", "fp32", "int4"]).assert().code(2).stderr(contains(hint));
    let across = ["compare", "fp32", "int4", "--precision", "fp32,int4", "--inconclusive", "pass"];
    place.bench(&across).assert().success().stdout(contains("two separate runs"));
}

#[test]
fn tables_in_two_precisions_are_paired_by_their_devices() {
    let place = Place::new();
    place.write("gptfast.md", include_str!("../../audit/tests/tables/gptfast.md"));
    let compare = ["compare", "gptfast.md", "gptfast.md", "--precision", "bf16,int4", "--format", "json"];
    let output = place.bench(&compare).assert().get_output().stdout.clone();
    let json: Value = serde_json::from_slice(&output).unwrap();
    let tables = json["tables"].as_array().unwrap();
    let headings = |name: &str| -> Vec<String> {
        tables.iter().map(|table| table[name].as_str().unwrap().to_owned()).collect()
    };
    let expected: Vec<String> =
        headings("baseline").iter().map(|text| text.replace("BF16", "INT4")).collect();
    assert!(expected.contains(&"LLaMA-2 70B INT4 CUDA (8 A100 80GB)".to_owned()), "{json:#}");
    assert_eq!(headings("candidate"), expected);
}

#[test]
fn precisions_of_engines_that_take_turns_are_no_pairs() {
    let place = Place::new();
    place.write("sweep.toml", MOCK);
    let run = ["run", "sweep.toml", "--precision", "fp32,int4", "--isolation", "turn", "--replicates", "5"];
    place.bench(&run).args(["--out", "turns"]).assert().success();
    let compare = ["compare", "turns", "turns", "--precision", "fp32,int4", "--inconclusive", "pass"];
    place.bench(&compare).assert().stdout(contains("precisions measured one after the other"));
    let ratios = place.bench(&["ratios", "turns", "mock"]).assert().success();
    let ratios = String::from_utf8(ratios.get_output().stdout.clone()).unwrap();
    assert!(ratios.contains("| INT4 | 1 | 16 | 1.00 | 1.00 | 1.00 |"), "{ratios}");
    assert!(ratios.contains("so these ratios have no intervals"), "{ratios}");
}
