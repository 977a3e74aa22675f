//! `generate`: text or token ids, chosen greedily.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use harness::{Interrupt, Model, Setup, find_program, interrupted};
use results::plain;
use serde_json::json;
use tokenizer::GiveUp;

use crate::args::GenerateArgs;
use crate::commands::worker_error;
use crate::exit_status::ExitStatus;
use crate::printer;
use crate::rendered::{Rendered, TextTable, markdown_block};
use crate::sources::note;

pub(crate) fn run(args: &GenerateArgs) -> Result<ExitStatus> {
    let engines = args.setup.engines.read()?;
    let engine = args.engine.as_str();
    engines.find(engine).map_err(|what| anyhow!("--engine: {what}"))?;
    let setup = Setup::resolve(&args.setup.flags.0, &engines, &[engine.to_owned()])?;
    let model = Model::find(&args.model, args.seed.into(), Path::new(""), setup.single_precision()?)
        .map_err(|what| anyhow!("--model: {what}"))?;

    let _interrupt = Interrupt::install();
    let give_up = GiveUp { after: Duration::from_secs_f64(setup.timeout_seconds), when: interrupted };
    let program = find_program("llama2-bench-tokenizer", Path::new(""));
    let (tokenizer, ids) = match &args.prompt {
        None => (None, args.prompt_ids.clone()),
        Some(text) => {
            let dir = model
                .checkpoint_dir()
                .context("--prompt: a model with generated weights has no tokenizer: use --prompt-ids")?;
            let prompt = tokenizer::encode(&program, dir, text, give_up)?;
            ensure!(!prompt.ids.is_empty(), "--prompt: the tokenizer makes no tokens from this text");
            if let Some(caveat) = prompt.caveat {
                note(caveat);
            }
            (Some(dir), prompt.ids)
        }
    };
    let positions = ids.len() + args.max_new_tokens as usize - 1;
    let context = model.config.max_position_embeddings;
    ensure!(
        positions <= context,
        "a prompt of {} tokens and {} new tokens need {positions} positions: {} has {}",
        ids.len(),
        args.max_new_tokens,
        model.name,
        model.config.context()
    );
    let vocab_size = model.config.vocab_size;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
        let origin = if tokenizer.is_some() { "--prompt: its tokenizer" } else { "--prompt-ids" };
        return Err(anyhow!("{origin}: expected ids below {vocab_size} (vocab_size), found {id}"));
    }

    let prompt = vec![ids; args.batch_size as usize];
    let generated = harness::generate(&setup, &engines, &model, engine, &prompt, args.max_new_tokens, false)
        .map_err(|error| worker_error(engine, &error))?;

    let tokens = &generated.tokens;
    let ids: Vec<String> =
        tokens.iter().map(|row| row.iter().map(u32::to_string).collect::<Vec<_>>().join(",")).collect();
    let texts = tokenizer.map(|dir| tokenizer::decode(&program, dir, tokens, give_up)).transpose()?;
    let text = texts.as_ref().unwrap_or(&ids).join("\n") + "\n";
    let mut table = TextTable::new(&["row", "tokens", "text"]);
    for (row, ids) in ids.iter().enumerate() {
        let text = texts.as_ref().and_then(|texts| texts.get(row)).cloned().unwrap_or_default();
        table.rows.push(vec![row.to_string(), ids.replace(',', " "), text]);
    }
    Rendered {
        // A file gets the text as it is; a screen must not be steered by a vocabulary.
        terminal: if args.result.out.is_none() && printer::is_screen() { plain(&text) } else { text.clone() },
        markdown: markdown_block(&text),
        csv: table.to_csv(),
        json: json!({"tokens": tokens, "logits_sha256": generated.logits_sha256}).to_string() + "\n",
    }
    .print(&args.result)?;
    Ok(ExitStatus::Done)
}
