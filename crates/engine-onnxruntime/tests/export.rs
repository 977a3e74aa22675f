//! What `export` writes is a model that any ONNX Runtime can run, and a checkpoint.

use std::fs;
use std::path::Path;
use std::process::Command;

use engine_onnxruntime::{Export, OnnxRuntime};
use protocol::{Device, LoadRequest, Loaded, ModelSource, Options, Precision};
use worker::{Engine, Reporter};

fn export(fixture: &str, precision: Precision, out: &Path) -> anyhow::Result<()> {
    let model = testing::parity::fixture_dir(fixture);
    Export { model, out: out.into(), precision, optimized: false }.run()
}

fn load(dir: &Path, precision: Precision, options: Options) -> anyhow::Result<(OnnxRuntime, Loaded)> {
    let mut engine = OnnxRuntime::new()?;
    let request = LoadRequest {
        model: ModelSource::Checkpoint { dir: dir.into() },
        device: Device::Cpu,
        precision,
        threads: Some(2),
        memory_limit_bytes: None,
        device_memory_limit_bytes: None,
        one_rank_of: None,
        options,
    };
    let loaded = engine.load(&request, &Reporter::silent())?;
    Ok((engine, loaded))
}

fn option(name: &str, value: &str) -> Options {
    Options::from([(name.to_owned(), value.into())])
}

#[test]
fn an_exported_model_runs_as_it_is_and_its_folder_is_a_checkpoint() {
    for fixture in testing::parity::FIXTURES {
        for (precision, tolerance) in
            [(Precision::Fp32, testing::parity::FP32_TOLERANCE), (Precision::Fp16, 3e-2)]
        {
            let parent = tempfile::tempdir().unwrap();
            let dir = parent.path().join("out");
            export(fixture, precision, &dir).unwrap();
            for way in [Options::new(), option("kv_cache", "dynamic")] {
                let (mut engine, loaded) = load(&dir, precision, way).unwrap();
                assert_eq!(loaded.notes[0], "model.onnx as it is, made by llama2-bench");
                let error = testing::parity::check_loaded(&mut engine, fixture, tolerance).unwrap();
                println!("{fixture} {precision} {:?}: largest error of a logit {error:e}", loaded.notes);
            }
            fs::remove_file(dir.join("model.onnx")).unwrap();
            let (mut engine, loaded) = load(&dir, precision, Options::new()).unwrap();
            assert!(!loaded.notes[0].contains("as it is"));
            testing::parity::check_loaded(&mut engine, fixture, tolerance).unwrap();
            // Nothing is left beside the folder.
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
        }
    }
}

#[test]
fn stored_files_are_copied_and_others_converted_and_the_config_says_so() {
    let parent = tempfile::tempdir().unwrap();
    let (same, other) = (parent.path().join("same"), parent.path().join("other"));
    let config = |dir: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(dir.join("config.json")).unwrap()).unwrap()
    };

    export("tiny-mha", Precision::Fp32, &same).unwrap();
    let original = testing::parity::fixture_dir("tiny-mha");
    for name in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(fs::read(same.join(name)).unwrap(), fs::read(original.join(name)).unwrap(), "{name}");
    }
    assert_eq!(config(&same), config(&original));

    export("tiny-gqa", Precision::Fp16, &other).unwrap();
    assert!(!other.join("model.safetensors.index.json").exists());
    let mut expected = config(&testing::parity::fixture_dir("tiny-gqa"));
    expected["dtype"] = "float16".into();
    assert_eq!(config(&other), expected);
}

#[test]
fn options_that_a_model_file_cannot_have_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("out");
    export("tiny-f16", Precision::Fp16, &dir).unwrap();
    let message = |precision, options| match load(&dir, precision, options) {
        Ok(_) => panic!("loaded"),
        Err(error) => format!("{error:#}"),
    };
    let file = dir.join("model.onnx").display().to_string();
    assert_eq!(
        message(Precision::Fp16, option("logits", "last")),
        format!("{file}: option logits: a model file fixes its rows of logits")
    );
    assert_eq!(
        message(Precision::Fp32, Options::new()),
        format!("{file}: the model computes in fp16, not in fp32: set that precision")
    );
    fs::write(dir.join("model.onnx"), "not a protocol buffer").unwrap();
    assert!(message(Precision::Fp16, Options::new()).starts_with(&format!("{file}: not an ONNX model")));
}

#[test]
fn external_data_outside_the_folder_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("in/out");
    fs::create_dir(parent.path().join("in")).unwrap();
    export("tiny-f16", Precision::Fp16, &dir).unwrap();
    let (inside, outside) = ("model.safetensors", "../../abc.weights");
    fs::copy(dir.join(inside), dir.join(outside)).unwrap();

    let mut bytes = fs::read(dir.join("model.onnx")).unwrap();
    for at in 0..bytes.len() - inside.len() {
        if bytes[at..].starts_with(inside.as_bytes()) {
            bytes[at..at + inside.len()].copy_from_slice(outside.as_bytes());
        }
    }
    fs::write(dir.join("model.onnx"), bytes).unwrap();
    let Err(error) = load(&dir, Precision::Fp16, Options::new()) else { panic!("loaded") };
    assert!(format!("{error:#}").contains("escapes model directory"), "{error:#}");
}

#[test]
fn the_command_writes_an_optimised_model_and_refuses_bad_input_in_one_line() {
    let parent = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_llama2-bench-onnxruntime"))
            .arg("export")
            .args(arguments)
            .current_dir(testing::parity::fixture_dir("tiny-mha"))
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let out = parent.path().join("out");
    let out = out.to_str().unwrap();

    let (code, stderr) = run(&["--model", ".", "--out", out, "--precision", "fp32", "--optimized"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for name in ["model.onnx", "model.optimized.onnx", "model.optimized.onnx.data", "config.json"] {
        assert!(Path::new(out).join(name).is_file(), "{name}");
    }

    let refused = [
        (vec!["--model", ".", "--out", out, "--precision", "fp32"], format!("{out}: not empty")),
        (vec!["--model", ".", "--out", ".", "--precision", "fp32"], ".: not empty".into()),
        (
            vec!["--model", ".", "--out", "new", "--precision", "bf16"],
            "bf16: ONNX Runtime's CPU provider supports only fp32 and fp16".into(),
        ),
        (
            vec!["--model", "nothing", "--out", "new", "--precision", "fp32"],
            "nothing/config.json: No such file or directory (os error 2)".into(),
        ),
    ];
    for (arguments, why) in refused {
        assert_eq!(run(&arguments), (2, format!("llama2-bench-onnxruntime: {why}\n")));
    }
    assert!(!testing::parity::fixture_dir("tiny-mha").join("new").exists());
}
