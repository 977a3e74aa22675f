//! `export`: a checkpoint as an ONNX model. The graph is the onnxruntime engine's own, so its worker writes it.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::args::ExportArgs;
use crate::exit_status::ExitStatus;

const ENGINE: &str = "onnxruntime";

pub(crate) fn run(args: &ExportArgs) -> Result<ExitStatus> {
    let engines = args.engines.read()?;
    let worker = engines.get(ENGINE).context("no engine onnxruntime in the list of engines")?;
    let mut command = Command::new(&worker.program);
    command.args(&worker.arguments).arg("export").arg("--model").arg(&args.model).arg("--out").arg(&args.out);
    command.args(["--precision", &args.precision.to_string()]);
    if args.optimized {
        command.arg("--optimized");
    }
    let program = worker.program.display();
    let status = command.status().with_context(|| format!("{program}: run `make build`"))?;
    match status.code() {
        Some(0) => Ok(ExitStatus::Done),
        Some(1 | 2) => Ok(ExitStatus::Refused),
        _ => bail!("{program} ended with {status}"),
    }
}
