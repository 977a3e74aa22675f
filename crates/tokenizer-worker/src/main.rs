//! The program `llama2-bench-tokenizer`.

use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "this program has no other output")]
fn main() -> ExitCode {
    tokenizer_worker::answer_if_asked().unwrap_or_else(|| {
        eprintln!("llama2-bench-tokenizer is started by `llama2-bench generate --prompt`");
        ExitCode::from(2)
    })
}
