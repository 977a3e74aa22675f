//! `generate`: greedy text or token ids.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use harness::{Interrupt, Model, Setup};
use serde_json::json;

use crate::args::GenerateArgs;
use crate::commands::worker_error;
use crate::exit_status::ExitStatus;
use crate::printer;
use crate::sources::note;
use crate::tokenizer::PromptTokenizer;

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
            let dir = model
                .checkpoint_dir()
                .context("--prompt: seeded weights have no tokenizer: use --prompt-ids")?;
            let tokenizer = PromptTokenizer::read(dir)?;
            if let Some(caveat) = tokenizer.caveat(text) {
                note(caveat);
            }
            let ids = tokenizer.encode(text)?;
            (Some(tokenizer), ids)
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
                Some(tokenizer) => tokenizer.decode(row)?,
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
