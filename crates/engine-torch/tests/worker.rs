//! The program `llama2-bench-torch`: its arguments, and what it says where memory runs out.

mod common;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::{ENGINES, options, request, seeded, small_config};
use engine_torch::TorchEngine;
use protocol::{LoadRequest, MeasureRequest, Measured, Options, Phase, Precision, Procedure, Reply, Request};
use serde_json::json;

const LIMIT: u64 = 600 << 20;

/// The worker's replies to `requests`, without its progress, when its data may not grow over [`LIMIT`].
fn replies(engine: TorchEngine, requests: &[Request]) -> Vec<Reply> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llama2-bench-torch"));
    command.args(["--engine", engine.name()]).env_remove("LD_LIBRARY_PATH");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    // What was freed is overwritten: freezing a script freed what its interpreter reads when an operator fails.
    command.env("MALLOC_PERTURB_", "165");
    // Tensors go back to the system when they are freed; by itself glibc keeps them from the first free on, and whether
    // 16 layers fit is chance.
    command.env("MALLOC_MMAP_THRESHOLD_", "131072");
    // SAFETY: `setrlimit` is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
            if libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
    let mut worker = command.spawn().unwrap();
    let mut stdin = worker.stdin.take().unwrap();
    for request in requests {
        writeln!(stdin, "{}", serde_json::to_string(request).unwrap()).unwrap();
    }
    drop(stdin);
    let output = worker.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let replies = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    replies.filter(|reply| !matches!(reply, Reply::Progress(_))).collect()
}

fn load(request: LoadRequest) -> Request {
    Request::Load(LoadRequest { memory_limit_bytes: Some(LIMIT), ..request })
}

fn measure(batch_size: u32, prompt_length: u32) -> Request {
    Request::Measure(MeasureRequest {
        prompt_ids: llama::prompt::seeded_prompt(batch_size, prompt_length, 96, 0),
        generation_length: 2,
        procedure: Procedure { warmup_runs: 0, prompt_runs: 1, generations: 1, ..Procedure::default() },
        collectives: false,
    })
}

fn failure(reply: &Reply) -> (Phase, &str) {
    match reply {
        Reply::Failed(failure) => (failure.phase, &failure.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cell_without_enough_memory_fails_and_the_next_one_runs() {
    let mut config = small_config();
    config["max_position_embeddings"] = json!(4096);
    for engine in ENGINES {
        let eager = options(&[("attention", "eager")]);
        let request = request(seeded(config.clone()), Precision::Fp32, eager);
        // Scores of 4 x 4 x 4000 x 4000 numbers: 1 GB.
        let replies = replies(engine, &[load(request), measure(4, 4000), measure(2, 8)]);
        let [Reply::Hello(_), Reply::Loaded(_), failed, Reply::Measured(Measured { prompt_seconds, .. })] =
            &replies[..]
        else {
            panic!("{replies:?}");
        };
        assert_eq!(
            failure(failed),
            (
                Phase::Prompt,
                "libtorch: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: \
                 you tried to allocate 1024000000 bytes. Error code 12 (Cannot allocate memory)"
            )
        );
        assert_eq!(prompt_seconds.len(), 1);
    }
}

#[test]
fn weights_without_enough_memory_fail() {
    // 256 MB each for embedding and head, beside some 100 MB of libtorch itself.
    let mut config = small_config();
    config["hidden_size"] = json!(2048);
    config["vocab_size"] = json!(32768);
    let made = request(seeded(config), Precision::Fp32, Options::new());
    let replies = replies(TorchEngine::Eager, &[load(made)]);
    assert_eq!(
        failure(&replies[1]),
        (Phase::Load, "memory allocation of 268435456 bytes failed: lm_head.weight")
    );
}

#[test]
fn an_unknown_engine_is_a_usage_error() {
    for arguments in [&["--engine", "pytorch"][..], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_llama2-bench-torch")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let usage = "usage: llama2-bench-torch --engine pytorch-eager|pytorch-compile|pytorch-cudagraph|pytorch-aoti\n";
        assert_eq!(String::from_utf8(output.stderr).unwrap(), usage);
    }
}

/// Layers deep: there the interpreter tells which methods it was in, which freezing inlined. Each layer's keys and values
/// take 33 MB: twelve of the sixteen have room.
#[test]
fn memory_that_runs_out_in_a_late_layer_is_an_error_too() {
    let config = json!({
        "vocab_size": 96, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 16,
        "num_attention_heads": 4, "max_position_embeddings": 4096,
    });
    let request = request(seeded(config), Precision::Fp32, Options::new());
    let replies = replies(TorchEngine::Compile, &[load(request), measure(64, 1000), measure(2, 8)]);
    let [Reply::Hello(_), Reply::Loaded(_), failed, Reply::Measured(_)] = &replies[..] else {
        panic!("{replies:?}");
    };
    let (phase, message) = failure(failed);
    assert!(phase == Phase::Prompt && message.contains("can't allocate memory"), "{message}");
}
