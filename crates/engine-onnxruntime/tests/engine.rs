//! What holds for any model: cells one after the other, limits, and errors in words.

use engine_onnxruntime::OnnxRuntime;
use llama::{Weights, write_checkpoint};
use protocol::{Device, LoadRequest, ModelSource, Options, Precision};
use serde_json::{Value, json};
use worker::{Engine, Prompt, Reporter};

fn config() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    })
}

fn seeded() -> ModelSource {
    ModelSource::Seeded { config: config(), seed: 7 }
}

fn request(model: ModelSource) -> LoadRequest {
    LoadRequest {
        model,
        device: Device::Cpu,
        precision: Precision::Fp32,
        threads: Some(1),
        memory_limit_bytes: None,
        device_memory_limit_bytes: None,
        one_rank_of: None,
        options: Options::new(),
    }
}

fn loaded(model: ModelSource) -> OnnxRuntime {
    let mut engine = OnnxRuntime::new().unwrap();
    engine.load(&request(model), &Reporter::silent()).unwrap();
    engine
}

fn prompt(batch_size: u32, length: u32) -> Prompt {
    let rows = llama::prompt::seeded_prompt(batch_size, length, 300, 1);
    let ids = rows.concat().into_iter().map(i64::from).collect();
    Prompt { batch_size: batch_size as usize, length: length as usize, ids }
}

/// One generation of `decodes` forwards: its tokens, and the logits of the last forward.
fn generation(engine: &mut OnnxRuntime, decodes: usize) -> (Vec<Vec<u32>>, Vec<f32>) {
    engine.reset().unwrap();
    engine.prefill().unwrap();
    for _ in 0..decodes {
        engine.select().unwrap();
        engine.decode().unwrap();
    }
    (engine.tokens().unwrap(), engine.logits().unwrap())
}

fn cell(engine: &mut OnnxRuntime, prompt: &Prompt, decodes: usize) -> (Vec<Vec<u32>>, Vec<f32>) {
    engine.begin(prompt, decodes).unwrap();
    let generated = generation(engine, decodes);
    engine.end().unwrap();
    generated
}

#[test]
fn it_says_which_library_it_runs_on_and_where() {
    let hello = OnnxRuntime::new().unwrap().hello();
    assert!(hello.libraries[0].version.starts_with("1."), "{}", hello.libraries[0].version);
    assert!(hello.libraries[0].path.as_ref().unwrap().is_file());
    assert_eq!((hello.devices[0].device.as_str(), &hello.devices[0].unusable), ("cpu", &None));
    let cuda = &hello.devices[1];
    assert!(cuda.device.starts_with("cuda"));
    // Of two machines without a GPU, one may have the library's CUDA build.
    if let Some(why) = &cuda.unusable {
        assert!(why.contains("CUDAExecutionProvider") || why.contains("NVIDIA driver"), "{why}");
    }
}

#[test]
fn cells_of_any_size_follow_one_another_and_repeat_exactly() {
    let mut engine = loaded(seeded());
    let small = cell(&mut engine, &prompt(1, 5), 4);
    let large = cell(&mut engine, &prompt(3, 17), 9);
    assert_eq!((large.0.len(), large.0[0].len(), large.1.len()), (3, 9, 900));
    assert_eq!(cell(&mut engine, &prompt(1, 5), 4), small);
    assert_eq!(cell(&mut engine, &prompt(3, 17), 9), large);

    // Generations of one cell, too, and after a prefill on its own.
    engine.begin(&prompt(1, 5), 4).unwrap();
    assert_eq!(generation(&mut engine, 4), small);
    engine.reset().unwrap();
    engine.prefill().unwrap();
    assert_eq!(generation(&mut engine, 4), small);
    // The cache is held in full length: 2 · 2 layers · 2 heads · 16 · 9 positions · 4 bytes.
    assert_eq!(engine.kv_cache_bytes(), Some(4608));
    engine.end().unwrap();
    assert_eq!(engine.kv_cache_bytes(), None);
}

#[test]
fn a_checkpoint_computes_what_its_seed_computes() {
    for precision in [Precision::Fp32, Precision::Fp16] {
        let dir = tempfile::tempdir().unwrap();
        write_checkpoint(&Weights::open(&seeded()).unwrap(), precision, dir.path()).unwrap();
        let generated = [seeded(), ModelSource::Checkpoint { dir: dir.path().into() }].map(|model| {
            let mut engine = OnnxRuntime::new().unwrap();
            engine.load(&LoadRequest { precision, ..request(model) }, &Reporter::silent()).unwrap();
            cell(&mut engine, &prompt(2, 6), 5)
        });
        assert_eq!(generated[0], generated[1]);
    }
}

#[test]
fn the_context_can_be_filled_to_its_end() {
    let mut engine = loaded(seeded());
    for (prompt_length, decodes) in [(64, 0), (1, 63), (50, 14)] {
        let prompt = prompt(2, prompt_length);
        let (tokens, logits) = cell(&mut engine, &prompt, decodes);
        // A prefill of the prompt and its tokens must end with the same logits as the last decode forward.
        let rows = prompt.ids.chunks(prompt.length).zip(&tokens);
        let ids = rows.flat_map(|(row, new)| row.iter().copied().chain(new.iter().map(|&id| i64::from(id))));
        let whole = Prompt { batch_size: 2, length: 64, ids: ids.collect() };
        let (_, expected) = cell(&mut engine, &whole, 0);
        for (a, b) in logits.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}

#[test]
fn steps_out_of_order_are_errors() {
    let mut engine = OnnxRuntime::new().unwrap();
    let message = |result: anyhow::Result<()>| result.unwrap_err().to_string();
    assert_eq!(message(engine.prefill()), "no model is loaded");
    engine.load(&request(seeded()), &Reporter::silent()).unwrap();
    assert_eq!(message(engine.prefill()), "no cell has begun");
    engine.begin(&prompt(1, 3), 1).unwrap();
    engine.reset().unwrap();
    assert_eq!(message(engine.select()), "select before prefill");
    assert_eq!(message(engine.decode()), "decode before select");
    engine.prefill().unwrap();
    engine.select().unwrap();
    engine.decode().unwrap();
    engine.select().unwrap();
    assert_eq!(message(engine.decode()), "more decode forwards than the cell has room for");
    assert_eq!(message(engine.select()), "more selections than the cell has room for");
    assert_eq!(engine.tokens().unwrap()[0].len(), 2);
}

#[test]
fn what_cannot_be_loaded_says_why() {
    let mut engine = OnnxRuntime::new().unwrap();
    let mut message =
        |request: LoadRequest| format!("{:#}", engine.load(&request, &Reporter::silent()).unwrap_err());
    let with = |name: &str, value: Value| LoadRequest {
        options: Options::from([(name.to_owned(), value)]),
        ..request(seeded())
    };
    assert_eq!(
        message(with("attention", "sdpa".into())),
        "unknown option attention: this engine has prepacking, logits, kv_cache, cuda_graph, fused, keep_outputs, accuracy_level"
    );
    assert_eq!(
        message(with("logits", "none".into())),
        r#"option logits: expected "last" or "all", found "none""#
    );
    assert_eq!(
        message(LoadRequest { precision: Precision::Bf16, ..request(seeded()) }),
        "bf16: ONNX Runtime's CPU provider supports only fp32 and fp16"
    );
    assert_eq!(
        message(LoadRequest { threads: Some(0), ..request(seeded()) }),
        "threads: expected 1 or more, found 0"
    );
    assert_eq!(
        message(LoadRequest { memory_limit_bytes: Some(100_000), ..request(seeded()) }),
        "out of memory: 400640 bytes of weights are made, then copied; the limit is 100000"
    );
    assert_eq!(
        message(LoadRequest { device_memory_limit_bytes: Some(1 << 30), ..request(seeded()) }),
        "device_memory_limit: cpu has no memory of its own: use memory_limit, or a device such as cuda:0"
    );
    assert_eq!(
        message(LoadRequest { one_rank_of: Some(3), ..request(seeded()) }),
        "world_size 3: num_key_value_heads (2) can't be split evenly: this model can have 1, 2"
    );
    let graph_with_kept =
        [("cuda_graph", true), ("keep_outputs", true)].map(|(name, flag)| (name.to_owned(), flag.into()));
    assert_eq!(
        message(LoadRequest { options: Options::from(graph_with_kept), ..request(seeded()) }),
        "option keep_outputs: a CUDA graph writes to the same memory each time: use cuda_graph = false"
    );
    let cuda = message(LoadRequest { device: Device::Cuda(99), ..request(seeded()) });
    assert!(cuda.starts_with("cuda:99: "), "{cuda}");
}

#[test]
fn a_cache_beyond_memory_is_an_error_that_says_so_and_the_next_cell_works() {
    let mut engine = loaded(seeded());
    let expected = cell(&mut engine, &prompt(1, 5), 4);
    // 2^36 bytes for each of the cache's four tensors. The worker's check of the context is not in the way here.
    let error = engine.begin(&prompt(1, 5), 1 << 29).unwrap_err();
    assert!(format!("{error:#}").contains("std::bad_alloc"), "{error:#}");
    assert_eq!(cell(&mut engine, &prompt(1, 5), 4), expected);
}

/// The model is as deep as the 70B one: what each layer adds must not grow beyond what FP16 holds.
#[test]
fn seeded_weights_stay_finite_through_eighty_layers_in_half_precision() {
    let mut config = config();
    config["num_hidden_layers"] = 80.into();
    config["hidden_size"] = 128.into();
    let mut engine = OnnxRuntime::new().unwrap();
    let request =
        LoadRequest { precision: Precision::Fp16, ..request(ModelSource::Seeded { config, seed: 7 }) };
    engine.load(&request, &Reporter::silent()).unwrap();
    let (_, logits) = cell(&mut engine, &prompt(2, 20), 3);
    let square: f32 = logits.iter().map(|logit| logit * logit).sum::<f32>() / logits.len() as f32;
    assert!((0.5..2.0).contains(&square), "a trained model's logits have a variance about this: {square}");
}

fn load_with(
    model: ModelSource,
    precision: Precision,
    options: &[(&str, Value)],
) -> (OnnxRuntime, Vec<String>) {
    let mut engine = OnnxRuntime::new().unwrap();
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let request = LoadRequest { precision, options, ..request(model) };
    let notes = engine.load(&request, &Reporter::silent()).unwrap().notes;
    (engine, notes)
}

#[test]
fn fused_products_choose_the_same_tokens_and_say_so() {
    let mut widened = config();
    // 8 numbers a head: attention needs 16.
    widened["num_attention_heads"] = 8.into();
    let dir = tempfile::tempdir().unwrap();
    write_checkpoint(&Weights::open(&seeded()).unwrap(), Precision::Fp32, dir.path()).unwrap();
    let all = "q, k, v as one product, gate and up as another";
    for (model, expected) in [
        (seeded(), all),
        (ModelSource::Checkpoint { dir: dir.path().into() }, all),
        (
            ModelSource::Seeded { config: widened, seed: 7 },
            "gate and up as one product; q, k, v one by one: their heads must be widened",
        ),
    ] {
        for (precision, tolerance) in [(Precision::Fp32, 1e-4), (Precision::Fp16, 2e-2)] {
            for prepacking in [true, false] {
                let option = ("prepacking", json!(prepacking));
                let (mut apart, _) = load_with(model.clone(), precision, std::slice::from_ref(&option));
                let fused = [option, ("fused", json!(true))];
                let (mut fused, notes) = load_with(model.clone(), precision, &fused);
                let note = notes.iter().find(|note| note.starts_with("fused: ")).unwrap();
                assert!(note.contains(expected), "{note}");
                for (batch_size, length, decodes) in [(1, 5, 9), (3, 17, 20)] {
                    let prompt = prompt(batch_size, length);
                    let (expected, found) =
                        (cell(&mut apart, &prompt, decodes), cell(&mut fused, &prompt, decodes));
                    assert_eq!(expected.0, found.0, "{precision}");
                    for (a, b) in expected.1.iter().zip(&found.1) {
                        assert!((a - b).abs() < tolerance, "{precision}: {a} {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn kept_outputs_change_nothing_that_is_computed() {
    for growth in ["static", "dynamic"] {
        for rows in ["last", "all"] {
            let options = [("kv_cache", json!(growth)), ("logits", json!(rows))];
            let (mut engine, _) = load_with(seeded(), Precision::Fp32, &options);
            let kept = [&options[..], &[("keep_outputs", json!(true))]].concat();
            let (mut keeping, notes) = load_with(seeded(), Precision::Fp32, &kept);
            assert!(
                notes.contains(&"a forward's outputs are kept until the next one's are there".to_owned())
            );
            for (batch_size, length, decodes) in [(1, 5, 9), (3, 17, 20), (2, 4, 0)] {
                let prompt = prompt(batch_size, length);
                let expected = cell(&mut engine, &prompt, decodes);
                keeping.begin(&prompt, decodes).unwrap();
                // Prefills one after the other, as they are timed, then generations.
                for _ in 0..3 {
                    keeping.reset().unwrap();
                    keeping.prefill().unwrap();
                }
                for _ in 0..2 {
                    assert_eq!(generation(&mut keeping, decodes), expected);
                }
                keeping.end().unwrap();
            }
        }
    }
}

#[test]
fn a_rank_by_itself_says_what_it_is() {
    let mut engine = OnnxRuntime::new().unwrap();
    let hello = engine.hello();
    assert!(hello.one_rank && hello.device_memory_limit);
    let request = LoadRequest { one_rank_of: Some(2), ..request(seeded()) };
    let loaded = engine.load(&request, &Reporter::silent()).unwrap();
    assert!(loaded.notes.contains(&"rank 0's part of 2, without the sums over ranks".to_owned()));
    let whole =
        OnnxRuntime::new().unwrap().load(&LoadRequest { one_rank_of: None, ..request }, &Reporter::silent());
    assert!(loaded.weights_bytes < whole.unwrap().weights_bytes);
    let (tokens, logits) = cell(&mut engine, &prompt(2, 5), 4);
    assert_eq!((tokens.len(), tokens[0].len(), logits.len()), (2, 4, 600));
}

/// A CPU has no graphs; the inputs that are made for them must compute the same.
#[test]
fn inputs_that_stay_in_one_place_compute_the_same() {
    let load = |options: &[(&str, Value)]| {
        let mut engine = OnnxRuntime::new().unwrap();
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        engine.load(&LoadRequest { options, ..request(seeded()) }, &Reporter::silent()).map(|_| engine)
    };
    let mut moving = load(&[]).unwrap();
    let mut fixed = load(&[("cuda_graph", json!(true))]).unwrap();
    for (batch_size, length, decodes) in [(1, 5, 9), (3, 17, 20), (1, 1, 1), (2, 4, 0)] {
        let prompt = prompt(batch_size, length);
        assert_eq!(cell(&mut fixed, &prompt, decodes), cell(&mut moving, &prompt, decodes));
    }
    let error = load(&[("cuda_graph", json!(true)), ("kv_cache", json!("dynamic"))]).err().unwrap();
    assert!(error.to_string().contains("kv_cache = \"static\""), "{error}");
}
