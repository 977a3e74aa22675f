//! The worker `llama2-bench-torch`.

use std::process::ExitCode;

use engine_torch::{Torch, TorchEngine, check_version};

#[expect(clippy::print_stderr, reason = "this program has no other output")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let engine = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--engine", name] => TorchEngine::ALL.into_iter().find(|engine| engine.name() == name),
        _ => None,
    };
    let Some(engine) = engine else {
        eprintln!("usage: llama2-bench-torch --engine {}", TorchEngine::ALL.map(TorchEngine::name).join("|"));
        return ExitCode::from(2);
    };
    if let Err(why) = check_version() {
        eprintln!("llama2-bench-torch: {why:#}");
        return ExitCode::from(2);
    }
    match worker::join() {
        Ok(world) => worker::serve_ranks(&mut Torch::new(engine, world.clone()), &world),
        Err(code) => code,
    }
}
