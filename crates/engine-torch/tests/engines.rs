//! What the fixtures don't show: sources, precisions, cells, errors.

mod common;

use collective::World;
use common::{
    ENGINES, all_options, generate, largest_difference, loaded, options, request, seeded, small_config,
    some_prompt,
};
use engine_torch::{Torch, TorchEngine};
use llama::{LlamaConfig, Weights, cost, write_checkpoint};
use protocol::{Device, Dtype, LoadRequest, ModelSource, Options, Precision, Procedure};
use worker::timing::{Job, MonotonicClock, measure};
use worker::{Engine, Reporter};

#[test]
fn eager_and_compiled_compute_the_same_bits() {
    for options in all_options(TorchEngine::Eager) {
        let request = request(seeded(small_config()), Precision::Fp32, options.clone());
        let [eager, compiled] = [TorchEngine::Eager, TorchEngine::Compile]
            .map(|engine| generate(&mut loaded(engine, &request), &some_prompt(3, 7), 9));
        assert_eq!(eager, compiled, "{options:?}");
    }
}

#[test]
fn a_decode_forward_of_which_nothing_moves_computes_the_same() {
    for options in all_options(TorchEngine::CudaGraph) {
        let request = request(seeded(small_config()), Precision::Fp32, options.clone());
        let [eager, fixed] = [TorchEngine::Eager, TorchEngine::CudaGraph]
            .map(|engine| generate(&mut loaded(engine, &request), &some_prompt(3, 7), 9));
        assert_eq!(eager.0, fixed.0, "{options:?}");
        let error = largest_difference(&eager.1.concat(), &fixed.1.concat());
        assert!(error < 1e-5, "{options:?}: {error}");
    }
}

#[test]
fn linear_layers_by_onednn_compute_the_same() {
    let compute = |precision, rows, options: &Options| {
        let request = request(seeded(small_config()), precision, options.clone());
        generate(&mut loaded(TorchEngine::Eager, &request), &some_prompt(rows, 7), 9)
    };
    let onednn = options(&[("linear", "onednn")]);
    // A single row and several have weights of their own.
    for rows in [1, 3] {
        let exact = compute(Precision::Fp32, rows, &Options::new());
        let fp32 = compute(Precision::Fp32, rows, &onednn);
        assert_eq!(exact.0, fp32.0);
        let error = largest_difference(&exact.1.concat(), &fp32.1.concat());
        assert!(error < 1e-5, "{rows}: {error}");

        let exact = exact.1.concat();
        let bf16 = compute(Precision::Bf16, rows, &onednn).1.concat();
        let vocabulary = 96 * rows as usize;
        let size = exact.iter().fold(0f32, |size, logit| size.max(logit.abs()));
        let error = largest_difference(&exact[..vocabulary], &bf16[..vocabulary]);
        assert!(error > 0.0 && error < 0.05 * size, "{rows}: {error}");
    }
}

#[test]
fn attention_by_cudnn_is_for_a_gpu() {
    let request = request(seeded(small_config()), Precision::Fp32, options(&[("attention", "cudnn")]));
    let error =
        Torch::new(TorchEngine::Eager, World::alone()).load(&request, &Reporter::silent()).unwrap_err();
    assert_eq!(error.to_string(), "option attention: \"cudnn\" runs only on a GPU, not on cpu");
}

#[test]
fn a_written_checkpoint_is_mapped_and_computes_what_its_seed_does() {
    let dir = tempfile::tempdir().unwrap();
    for precision in [Precision::Fp32, Precision::Fp16, Precision::Bf16] {
        let made = seeded(small_config());
        write_checkpoint(&Weights::open(&made).unwrap(), precision, dir.path()).unwrap();
        let stored = ModelSource::Checkpoint { dir: dir.path().into() };
        for engine in ENGINES {
            let [made, stored] = [&made, &stored].map(|model| {
                let request = request(model.clone(), precision, Options::new());
                let mut torch = Torch::new(engine, World::alone());
                let loaded = torch.load(&request, &Reporter::silent()).unwrap();
                let is_mapped = loaded.notes.iter().any(|note| note == "21 of 21 weights are memory-mapped");
                assert_eq!(is_mapped, matches!(model, ModelSource::Checkpoint { .. }), "{:?}", loaded.notes);
                let config = LlamaConfig::from_json(&small_config(), "").unwrap();
                assert_eq!(loaded.weights_bytes, cost::weights_bytes(&config, precision));
                generate(&mut torch, &some_prompt(2, 5), 6)
            });
            assert_eq!(made, stored, "{engine:?} {precision}");
        }
    }
}

#[test]
fn half_precisions_stay_close_to_fp32() {
    for engine in ENGINES {
        for options in all_options(engine) {
            let logits = |precision| {
                let request = request(seeded(small_config()), precision, options.clone());
                generate(&mut loaded(engine, &request), &some_prompt(2, 12), 1).1.concat()
            };
            let exact = logits(Precision::Fp32);
            let size = exact.iter().fold(0f32, |size, logit| size.max(logit.abs()));
            for (precision, tolerance) in [(Precision::Fp16, 0.01), (Precision::Bf16, 0.05)] {
                let error = largest_difference(&logits(precision), &exact);
                assert!(
                    error > 0.0 && error < tolerance * size,
                    "{engine:?} {options:?} {precision}: {error}"
                );
            }
        }
    }
}

#[test]
fn cells_follow_one_another_and_fill_the_context() {
    for engine in ENGINES {
        for options in all_options(engine) {
            let request = request(seeded(small_config()), Precision::Fp32, options);
            let mut torch = loaded(engine, &request);
            let first = generate(&mut torch, &some_prompt(1, 4), 5);
            let (tokens, logits) = generate(&mut torch, &some_prompt(3, 40), 25);
            assert_eq!(tokens.iter().map(Vec::len).collect::<Vec<_>>(), [25; 3]);
            assert!(logits.concat().iter().all(|logit| logit.is_finite()));
            // A cell that broke off leaves nothing behind.
            torch.begin(&some_prompt(2, 8), 8).unwrap();
            torch.reset().unwrap();
            torch.prefill().unwrap();
            assert_eq!(generate(&mut torch, &some_prompt(1, 4), 5), first);
        }
    }
}

#[test]
fn the_timing_loop_measures_both_engines_alike() {
    let procedure = Procedure { warmup_runs: 2, prompt_runs: 2, generations: 2, ..Procedure::default() };
    let config = LlamaConfig::from_json(&small_config(), "").unwrap();
    let mut hashes = Vec::new();
    for engine in ENGINES {
        for options in all_options(engine) {
            let mut torch = loaded(engine, &request(seeded(small_config()), Precision::Fp32, options));
            let prompt = some_prompt(2, 16);
            let job = Job { prompt: &prompt, generation_length: 8, procedure, collectives: false };
            let (clock, alone) = (MonotonicClock::start(), World::alone());
            let measured = measure(&mut torch, &clock, &job, &alone, &Reporter::silent()).unwrap();
            let expected = cost::kv_cache_bytes(&config, Dtype::Fp32, 2, 24);
            assert_eq!(measured.memory.kv_cache_bytes, Some(expected));
            assert_eq!(torch.kv_cache_bytes(), None);
            hashes.push(measured.tokens_sha256);
        }
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn among_equals_the_lowest_id_is_selected() {
    let dir = tempfile::tempdir().unwrap();
    write_checkpoint(&Weights::open(&seeded(small_config())).unwrap(), Precision::Fp32, dir.path()).unwrap();
    let path = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].fill(0);
    std::fs::write(&path, bytes).unwrap();

    let model = ModelSource::Checkpoint { dir: dir.path().into() };
    for engine in ENGINES {
        let request = request(model.clone(), Precision::Fp32, Options::new());
        let (tokens, logits) = generate(&mut loaded(engine, &request), &some_prompt(2, 3), 2);
        assert!(logits.concat().iter().all(|&logit| logit == 0.0));
        assert_eq!(tokens, [[0, 0], [0, 0]]);
    }
}

#[test]
fn what_cannot_be_done_is_one_line() {
    let failure = |options: Options, device, memory_limit_bytes| {
        let request = testing::parity::load_request("tiny-mha", Precision::Fp32, options);
        let request = LoadRequest { device, memory_limit_bytes, ..request };
        format!(
            "{:#}",
            Torch::new(TorchEngine::Eager, World::alone()).load(&request, &Reporter::silent()).unwrap_err()
        )
    };
    assert_eq!(
        failure(options(&[("fused", "yes")]), Device::Cpu, None),
        "unknown option fused: this engine has attention, kv_cache, linear, logits, keep_outputs, activations"
    );
    assert_eq!(
        failure(options(&[("attention", "flash")]), Device::Cpu, None),
        r#"option attention: expected "sdpa" or "eager" or "cudnn", found "flash""#
    );
    let message = failure(Options::new(), Device::Cuda(99), None);
    assert!(message.starts_with("cuda:99 can't be used: ") && !message.contains('\n'), "{message}");
    let request = testing::parity::load_request("tiny-mha", Precision::Fp32, Options::new());
    let request = LoadRequest { device_memory_limit_bytes: Some(1), ..request };
    let error = Torch::new(TorchEngine::Eager, World::alone()).load(&request, &Reporter::silent());
    assert_eq!(
        error.unwrap_err().to_string(),
        "device_memory_limit: cpu has no memory of its own: use memory_limit, or a device such as cuda:0"
    );
    assert_eq!(
        failure(Options::new(), Device::Cpu, Some(1000)),
        "out of memory: the memory-mapped weights need 484608 bytes, the limit is 1000"
    );
}

#[test]
fn kept_outputs_and_a_static_cache_change_no_token_and_are_said() {
    for engine in [TorchEngine::Eager, TorchEngine::Compile] {
        let load = |words: &[(&str, serde_json::Value)]| {
            let options = words.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let mut torch = Torch::new(engine, World::alone());
            let request = request(seeded(small_config()), Precision::Fp32, options);
            let notes = torch.load(&request, &Reporter::silent()).unwrap().notes;
            (generate(&mut torch, &some_prompt(3, 7), 9), notes)
        };
        let (plain, notes) = load(&[]);
        assert!(!notes.iter().any(|note| note.contains("kept") || note.contains("KV cache")), "{notes:?}");
        let (kept, notes) = load(&[("keep_outputs", true.into()), ("logits", "all".into())]);
        assert_eq!(kept.0, plain.0);
        assert!(largest_difference(&kept.1.concat(), &plain.1.concat()) < 1e-5);
        assert!(notes.contains(
            &"a forward's outputs (logits in FP32, KV cache) are kept until the next forward is done".into()
        ));
        let (fixed, notes) = load(&[("kv_cache", "static".into())]);
        assert_eq!(fixed.0, plain.0);
        assert!(
            notes.contains(&"the KV cache is allocated for the whole generation and written in place".into())
        );
    }
}

#[test]
fn one_rank_of_several_has_its_part_of_the_weights() {
    for engine in ENGINES {
        let request = LoadRequest {
            one_rank_of: Some(2),
            ..request(seeded(small_config()), Precision::Fp32, Options::new())
        };
        let mut torch = Torch::new(engine, World::alone());
        assert!(torch.hello().one_rank);
        let loaded = torch.load(&request, &Reporter::silent()).unwrap();
        let whole = LlamaConfig::from_json(&small_config(), "").unwrap();
        let part = llama::TensorParallel::new(&whole, 0, 2).unwrap().config(&whole);
        assert_eq!(loaded.weights_bytes, cost::weights_bytes(&part, Precision::Fp32));
        let note = "rank 0's part of 2, without the sums over ranks";
        assert!(loaded.notes.iter().any(|found| found == note), "{:?}", loaded.notes);
        let (tokens, _) = generate(&mut torch, &some_prompt(2, 5), 4);
        assert_eq!(tokens.len(), 2);

        let request = LoadRequest { one_rank_of: Some(3), ..request };
        let error = torch.load(&request, &Reporter::silent()).unwrap_err();
        assert!(error.to_string().starts_with("world_size 3: num_key_value_heads (2) can't"), "{error}");
    }
}

#[test]
fn calls_out_of_order_are_errors() {
    let mut torch = Torch::new(TorchEngine::Eager, World::alone());
    assert_eq!(torch.begin(&some_prompt(1, 2), 1).unwrap_err().to_string(), "no model is loaded");
    let mut torch =
        loaded(TorchEngine::Eager, &request(seeded(small_config()), Precision::Fp32, Options::new()));
    assert_eq!(torch.reset().unwrap_err().to_string(), "no cell has begun");
    torch.begin(&some_prompt(1, 2), 1).unwrap();
    assert_eq!(torch.select().unwrap_err().to_string(), "no forward has run");
    assert_eq!(torch.decode().unwrap_err().to_string(), "decode before select");
    torch.prefill().unwrap();
    assert_eq!(torch.prefill().unwrap_err().to_string(), "prefill after another forward: reset first");
    assert_eq!(torch.tokens().unwrap(), [Vec::<u32>::new()]);
}
