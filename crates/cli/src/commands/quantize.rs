//! `quantize`: writes a checkpoint with weights in 8 or 4 bits.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::format_bytes;
use llama::{LARGEST_CONFIG, TOKENIZER_FILES, Weights, cost};

use crate::args::QuantizeArgs;
use crate::commands::synth::ensure_no_checkpoint;
use crate::exit_status::ExitStatus;
use crate::printer;

pub(crate) fn run(args: &QuantizeArgs) -> Result<ExitStatus> {
    let (model, precision) = (&args.model, args.precision);
    ensure!(
        precision.quantization().is_some(),
        "--precision: expected a precision below 16 bits, found {precision}"
    );
    ensure_no_checkpoint(&args.out)?;
    let weights = Weights::checkpoint(model).context("--model")?;
    ensure!(
        weights.quantization().is_none(),
        "--model: the weights are quantized already: give the checkpoint that they were made from"
    );
    let weights = weights.in_precision(precision).context("--precision")?;
    let size = cost::weights_bytes(weights.config(), precision);
    printer::line(&format!("writing {} of weights to {}", format_bytes(size), args.out.display()));
    llama::write_checkpoint(&weights, precision, &args.out).context("--out")?;
    keep_config(model, &args.out)?;
    for name in TOKENIZER_FILES.iter().filter(|name| model.join(name).is_file()) {
        let (from, to) = (model.join(name), args.out.join(name));
        std::fs::copy(&from, &to)
            .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    }
    Ok(ExitStatus::Done)
}

/// Adds to the written config what the model's own says beside it, such as the tokens that end a text.
fn keep_config(model: &Path, out: &Path) -> Result<()> {
    let read = |dir: &Path| -> Result<serde_json::Value> {
        let path = dir.join("config.json");
        let text =
            llama::read_text_up_to(&path, LARGEST_CONFIG).with_context(|| path.display().to_string())?;
        llama::from_python_json(&text).with_context(|| path.display().to_string())
    };
    let (own, mut written) = (read(model)?, read(out)?);
    // Two names of one key in transformers; the written one counts.
    for (key, value) in own.as_object().into_iter().flatten().filter(|(key, _)| *key != "dtype") {
        if written.get(key).is_none() {
            written[key] = value.clone();
        }
    }
    let path = out.join("config.json");
    let text = llama::to_python_json(&written) + "\n";
    llama::write_whole(&path, text.as_bytes()).with_context(|| path.display().to_string())
}
