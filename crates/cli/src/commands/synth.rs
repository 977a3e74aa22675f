//! `synth`: writes a checkpoint with generated weights.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::format_bytes;
use llama::NAMED_MODELS;
use llama::{LlamaConfig, Weights, cost};

use crate::args::SynthArgs;
use crate::exit_status::ExitStatus;
use crate::printer;

pub(crate) fn run(args: &SynthArgs) -> Result<ExitStatus> {
    let named = NAMED_MODELS.iter().find(|(name, _)| *name == args.model);
    let config = match named {
        Some((name, text)) => LlamaConfig::parse(text, name)?,
        None => {
            let names = NAMED_MODELS.map(|(name, _)| name);
            let path = Path::new(&args.model);
            ensure!(
                path.is_file(),
                "--model: no such model \"{}\": {}, or give a config.json",
                args.model,
                harness::suggestion(&args.model, &names)
            );
            LlamaConfig::read(path)?
        }
    };
    ensure_no_checkpoint(&args.out)?;
    let size = cost::weights_bytes(&config, args.precision);
    printer::line(&format!("writing {} of weights to {}", format_bytes(size), args.out.display()));
    let weights = Weights::seeded(config, args.seed).in_precision(args.precision)?;
    llama::write_checkpoint(&weights, args.precision, &args.out).context("--out")?;
    Ok(ExitStatus::Done)
}

/// Refuses a folder that has a checkpoint.
pub(crate) fn ensure_no_checkpoint(out: &Path) -> Result<()> {
    for name in ["config.json", "model.safetensors", "model.safetensors.index.json"] {
        let path = out.join(name);
        ensure!(!path.exists(), "--out: {} already exists: choose another folder", path.display());
    }
    Ok(())
}
