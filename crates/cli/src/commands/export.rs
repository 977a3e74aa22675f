//! `export`: writes a checkpoint as an ONNX model. The onnxruntime engine's worker writes it, since it builds the graph.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use llama::NAMED_MODELS;

use crate::args::ExportArgs;
use crate::exit_status::ExitStatus;
use crate::printer;

const ENGINE: &str = "onnxruntime";

pub(crate) fn run(args: &ExportArgs) -> Result<ExitStatus> {
    let engines = args.engines.read()?;
    let worker =
        engines.get(ENGINE).context("--engines-file: no engine onnxruntime, which writes the model")?;
    if let (false, Some(name)) = (args.model.exists(), args.model.to_str())
        && NAMED_MODELS.iter().any(|(known, _)| *known == name)
    {
        bail!(
            "--model: {name} is a name: write its checkpoint first, with `llama2-bench synth --model {name} --out DIR`"
        );
    }
    let mut command = Command::new(&worker.program);
    command.args(&worker.arguments).arg("export").arg("--model").arg(&args.model).arg("--out").arg(&args.out);
    command.args(["--precision", &args.precision.to_string()]);
    if args.optimized {
        command.arg("--optimized");
    }
    let program = worker.program.display();
    let output = command
        .stdout(Stdio::inherit())
        .output()
        .with_context(|| format!("{program}: build the worker with `make build`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    match output.status.code() {
        Some(0) => said.lines().for_each(printer::line),
        Some(1 | 2) => bail!("{}", said.split_once(": ").map_or(said, |(_, error)| error)),
        _ => bail!("{program}: {}: {said}", output.status),
    }
    printer::line(&format!("ONNX model: {}", args.out.display()));
    Ok(ExitStatus::Done)
}
