//! `export`: writes a checkpoint as an ONNX model. The onnxruntime engine's worker writes it, since it builds the graph.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::args::ExportArgs;
use crate::exit_status::ExitStatus;

const ENGINE: &str = "onnxruntime";

pub(crate) fn run(args: &ExportArgs) -> Result<ExitStatus> {
    let engines = args.engines.read()?;
    let worker =
        engines.get(ENGINE).context("--engines-file: no engine onnxruntime, which writes the model")?;
    let mut command = Command::new(&worker.program);
    command.args(&worker.arguments).arg("export").arg("--model").arg(&args.model).arg("--out").arg(&args.out);
    command.args(["--precision", &args.precision.to_string()]);
    if args.optimized {
        command.arg("--optimized");
    }
    let program = worker.program.display();
    let status =
        command.status().with_context(|| format!("{program}: build the worker with `make build`"))?;
    match status.code() {
        Some(0) => Ok(ExitStatus::Done),
        Some(1 | 2) => Ok(ExitStatus::Refused),
        _ => bail!("{program} failed: {status}"),
    }
}
