//! `llama2-bench-onnxruntime`: a worker that computes LLaMA with ONNX Runtime; with `export`, the program that writes
//! the graph it computes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use engine_onnxruntime::{Export, OnnxRuntime};
use protocol::Precision;

/// Serve requests on stdin; or, with a command, do that.
#[derive(Parser)]
#[command(name = "llama2-bench-onnxruntime", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<OnnxCommand>,
}

#[derive(Subcommand)]
enum OnnxCommand {
    /// Write a checkpoint's graph as model.onnx, beside its weights
    Export {
        /// The checkpoint's folder, in Hugging Face's format
        #[arg(long, value_name = "DIR")]
        model: PathBuf,
        /// The folder to write: new, or empty
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Precision of weights, activations and KV cache: fp32 or fp16
        #[arg(long)]
        precision: Precision,
        /// Write model.optimized.onnx too: the graph as ONNX Runtime optimises it for its CPU provider
        #[arg(long)]
        optimized: bool,
    },
}

#[expect(clippy::print_stderr, reason = "this program has no other output")]
fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        None => serve(),
        Some(OnnxCommand::Export { model, out, precision, optimized }) => {
            Export { model, out, precision, optimized }.run().map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("llama2-bench-onnxruntime: {error:#}");
        ExitCode::from(2)
    })
}

fn serve() -> Result<ExitCode> {
    worker::ask_for_huge_pages();
    match worker::join() {
        Ok(world) => Ok(worker::serve_ranks(&mut OnnxRuntime::of_world(world.clone())?, &world)),
        Err(code) => Ok(code),
    }
}
