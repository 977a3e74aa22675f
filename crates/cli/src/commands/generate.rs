//! `generate`: greedy text or token ids.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use harness::{Interrupt, Model, Setup};
use serde_json::json;
use tokenizers::Tokenizer;

use crate::args::GenerateArgs;
use crate::commands::worker_error;
use crate::exit_status::ExitStatus;
use crate::printer;

pub(crate) fn run(args: &GenerateArgs) -> Result<ExitStatus> {
    let engines = args.setup.engines.read()?;
    let engine = args.engine.as_str();
    engines.find(engine).map_err(|what| anyhow!("--engine: {what}"))?;
    let setup = Setup::resolve(&args.setup.flags.0, &engines, &[engine.to_owned()])?;
    let model = Model::find(&args.model, args.seed.into(), Path::new(""))
        .map_err(|what| anyhow!("--model: {what}"))?;

    let (tokenizer, ids) = match &args.prompt {
        None => (None, args.prompt_ids.clone()),
        Some(text) => {
            let tokenizer = read_tokenizer(&model)?;
            let encoding =
                tokenizer.encode(text.as_str(), true).map_err(|error| anyhow!("--prompt: {error}"))?;
            (Some(tokenizer), encoding.get_ids().to_vec())
        }
    };
    let positions = ids.len() + args.max_new_tokens as usize - 1;
    let context = model.config.max_position_embeddings;
    ensure!(
        positions <= context,
        "a prompt of {} tokens and {} new ones need {positions} positions: {} has {}",
        ids.len(),
        args.max_new_tokens,
        model.name,
        model.config.context()
    );
    let vocab_size = model.config.vocab_size;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
        return Err(anyhow!("--prompt-ids: expected ids below {vocab_size} (vocab_size), found {id}"));
    }

    let _interrupt = Interrupt::install();
    let prompt = vec![ids; args.batch_size as usize];
    let generated = harness::generate(&setup, &engines, &model, engine, &prompt, args.max_new_tokens, false)
        .map_err(|error| worker_error(engine, &error))?;

    let text = if args.json {
        format!("{}\n", json!({"tokens": generated.tokens, "logits_sha256": generated.logits_sha256}))
    } else {
        let mut text = String::new();
        for row in &generated.tokens {
            text += &match &tokenizer {
                Some(tokenizer) => {
                    tokenizer.decode(row, true).map_err(|error| anyhow!("decoding: {error}"))?
                }
                None => row.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            };
            text.push('\n');
        }
        text
    };
    // A file gets the text as it is; a screen must not be steered by a vocabulary.
    if printer::is_screen() {
        printer::text(&text)?;
    } else {
        printer::result(&text)?;
    }
    Ok(ExitStatus::Done)
}

fn read_tokenizer(model: &Model) -> Result<Tokenizer> {
    let dir =
        model.checkpoint_dir().context("--prompt: seeded weights have no tokenizer: use --prompt-ids")?;
    let path: PathBuf = dir.join("tokenizer.json");
    ensure!(path.exists(), "{}: no such file: a text needs it, --prompt-ids does not", path.display());
    let text = llama::read_text(&path).with_context(|| path.display().to_string())?;
    let mut tokenizer =
        Tokenizer::from_bytes(text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    // Saved by whoever last padded or cut a batch; transformers does neither unless it is asked to.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok(tokenizer)
}
