//! `pytorch-aoti`, where `make peers` has run: models are compiled in Python there. Elsewhere these tests pass, and say that they
//! saw nothing.

mod common;

use collective::World;
use common::{generate, largest_difference, loaded, options, request, seeded, small_config, some_prompt};
use engine_torch::{Torch, TorchEngine};
use llama::{Weights, write_checkpoint};
use protocol::{LoadRequest, ModelSource, Options, Precision};
use serde_json::json;
use testing::parity::{FIXTURES, FP32_TOLERANCE, check_loaded, load_request};
use worker::{Engine, Reporter};

/// Whether there is a Python to compile with.
#[expect(clippy::print_stderr, reason = "says what is not tested")]
fn can_compile() -> bool {
    let python = machine::checkout_runtime().map(|runtime| runtime.join("peers/bin/python"));
    let found = python.is_some_and(|python| python.exists());
    if !found {
        eprintln!("skipped: no .runtime/peers/bin/python, which `make peers` installs");
    }
    found
}

#[test]
fn tokens_and_logits_are_those_of_transformers() {
    for name in FIXTURES.iter().filter(|_| can_compile()) {
        let request = LoadRequest { threads: Some(1), ..load_request(name, Precision::Fp32, Options::new()) };
        let error = check_loaded(&mut loaded(TorchEngine::Aoti, &request), name, FP32_TOLERANCE)
            .unwrap_or_else(|error| panic!("{error:#}"));
        println!("{name}: {error:e}");
    }
}

/// Batches and prompts of one and of more, and every option: what each graph is fixed to, and what it is not.
#[test]
fn every_shape_computes_what_eager_operators_do() {
    let all = [("last", "aten"), ("last", "onednn"), ("all", "onednn")];
    for (logits, linear) in all.into_iter().filter(|_| can_compile()) {
        let request = |linear| {
            let options = options(&[("logits", logits), ("linear", linear)]);
            request(seeded(small_config()), Precision::Fp32, options)
        };
        let mut eager = loaded(TorchEngine::Eager, &request("aten"));
        let mut compiled = loaded(TorchEngine::Aoti, &request(linear));
        for (batch_size, length, new_tokens) in
            [(1, 1, 5), (1, 7, 9), (3, 1, 5), (3, 7, 9), (4, 2, 9), (8, 1, 5), (2, 40, 25)]
        {
            let prompt = some_prompt(batch_size, length);
            let [expected, found] =
                [&mut eager, &mut compiled].map(|torch| generate(torch, &prompt, new_tokens));
            assert_eq!(found.0, expected.0, "{logits} {linear} {batch_size} {length}");
            let error = largest_difference(&found.1.concat(), &expected.1.concat());
            assert!(error < 1e-5, "{logits} {linear} {batch_size} {length}: {error}");
        }
    }
}

#[test]
fn one_package_serves_other_weights_in_every_precision() {
    // Few processors have what oneDNN needs for FP16.
    let precisions = [
        (Precision::Fp32, 1e-5, "onednn"),
        (Precision::Fp16, 0.01, "aten"),
        (Precision::Bf16, 0.05, "onednn"),
    ];
    for (precision, tolerance, linear) in precisions.into_iter().filter(|_| can_compile()) {
        for seed in [5, 6] {
            let dir = tempfile::tempdir().unwrap();
            let made = ModelSource::Seeded { config: small_config(), seed };
            write_checkpoint(&Weights::open(&made).unwrap(), precision, dir.path()).unwrap();
            let request = request(
                ModelSource::Checkpoint { dir: dir.path().into() },
                precision,
                options(&[("linear", linear)]),
            );

            let mut compiled = Torch::new(TorchEngine::Aoti, World::alone());
            let notes = compiled.load(&request, &Reporter::silent()).unwrap().notes;
            assert!(notes.iter().any(|note| note == "21 of 21 weights are memory-mapped"), "{notes:?}");
            let earlier = notes.iter().any(|note| note.starts_with("compiled by AOTInductor earlier"));
            assert!(earlier || seed == 5, "{notes:?}");

            let logits = |torch: &mut Torch| generate(torch, &some_prompt(2, 12), 1).1.concat();
            let expected = logits(&mut loaded(TorchEngine::Eager, &request));
            let size = expected.iter().fold(0f32, |size, logit| size.max(logit.abs()));
            let error = largest_difference(&logits(&mut compiled), &expected);
            assert!(error < tolerance * size, "{precision} {seed}: {error}");
        }
    }
}

#[test]
fn one_rank_of_several_is_compiled_in_its_own_shape() {
    if !can_compile() {
        return;
    }
    let request = LoadRequest {
        one_rank_of: Some(2),
        ..request(seeded(small_config()), Precision::Fp32, Options::new())
    };
    let [expected, found] = [TorchEngine::Eager, TorchEngine::Aoti]
        .map(|engine| generate(&mut loaded(engine, &request), &some_prompt(2, 7), 5));
    assert_eq!(found.0, expected.0);
    assert!(largest_difference(&found.1.concat(), &expected.1.concat()) < 1e-5);
}

/// Compiled code says what went wrong to stderr alone; the engine's error has it all the same.
#[test]
fn memory_that_runs_out_is_an_error_and_the_next_cell_runs() {
    if !can_compile() {
        return;
    }
    let mut config = small_config();
    config["max_position_embeddings"] = json!(1 << 17);
    let mut torch = loaded(TorchEngine::Aoti, &request(seeded(config), Precision::Fp32, Options::new()));
    // SAFETY: a plain call; the limit is this test's process's, which nextest gives it alone.
    let limit = |bytes| unsafe {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
        assert_eq!(libc::setrlimit(libc::RLIMIT_DATA, &raw const limit), 0);
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held =
        status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB")).unwrap();
    // Room for the cache of 100 MB, and not for what a layer computes beside it.
    limit((held.parse::<u64>().unwrap() << 10) + (160 << 20));
    torch.begin(&some_prompt(4, 100_000), 1).unwrap();
    torch.reset().unwrap();
    let error = torch.prefill().unwrap_err().to_string();
    assert!(error.contains("can't allocate memory") && !error.contains('\n'), "{error}");
    torch.end().unwrap();
    generate(&mut torch, &some_prompt(1, 4), 5);
    limit(libc::RLIM_INFINITY);
}
