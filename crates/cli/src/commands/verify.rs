//! `verify`: checks that all engines produce the same logits and tokens.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use harness::{Event, Interrupt, MOCK, QUICK_SWEEP, Setting, Sweep, Variant, Whole};
use results::{csv_of_json, plain};

use crate::args::VerifyArgs;
use crate::event_lines;
use crate::exit_status::ExitStatus;
use crate::format::{describe_verification, emphasize};
use crate::printer;
use crate::rendered::{Rendered, markdown_list};
use crate::slow_steps::SlowSteps;

/// The columns of its csv.
const COLUMNS: &str = "\
    model precision against reference_error largest_logit tolerance part engine error same_tokens \
    first_difference logit_gap largest_error largest_error_at \
    own_tolerance";

pub(crate) fn run(args: &VerifyArgs) -> Result<ExitStatus> {
    let engines = args.setup.engines.read()?;
    let mut settings = Sweep::settings(QUICK_SWEEP, "configs/quick.toml", Path::new(""))?;
    for (key, flag, words) in [("engines", "--engine", &args.engines), ("models", "--model", &args.models)] {
        if !words.is_empty() {
            settings.set_flag(key, flag, words)?;
        }
    }
    // The lengths of the sweep are not used: the shortest suit every model.
    settings.prompt_lengths = Some(Setting::new(vec![1], "verify"));
    settings.generation_length = Some(Setting::new(Whole(1), "verify"));
    if let Some(seed) = args.seed {
        settings.seed = Some(Setting::new(Whole(seed), "--seed"));
    }
    let variant = Variant::resolve(&args.setup.flags.0.clone().over(settings), engines)?;

    ensure!(
        variant.sweep.engines.iter().all(|engine| engine != MOCK),
        "--engine: {MOCK} computes no logits: choose other engines"
    );

    let _interrupt = Interrupt::install();
    let slow = SlowSteps::start();
    // An engine that cannot run here is a broken setup, not a wrong answer.
    harness::greet_all(&variant, &mut |notice| slow.hear(&notice))?;
    let mut verifications = Vec::new();
    for model in &variant.sweep.models {
        // A log of a verification that was killed shows which engine it waited for.
        let mut tell = |event: Event<'_>| {
            if let Event::Verifying { engine, model } = event {
                let step = event_lines::verifying(engine, model);
                printer::line(&step);
                slow.begin(step);
            }
        };
        let verification = match harness::verify(&variant, model, &mut tell) {
            Ok(Some(verification)) => verification,
            Ok(None) => bail!("--engine: nothing to verify: choose an engine that computes logits"),
            Err(_) => return Ok(ExitStatus::Interrupted),
        };
        verifications.push(verification);
    }
    drop(slow);
    let text: String =
        verifications.iter().map(|one| format!("{}\n", plain(&describe_verification(one)))).collect();
    let json = serde_json::to_string_pretty(&verifications)? + "\n";
    Rendered {
        terminal: emphasize(&text, &["same tokens"], &["DIFFERS", "did not answer"]),
        markdown: markdown_list(&text),
        csv: csv_of_json(&json, &[&["agreements"]], COLUMNS)?,
        json,
    }
    .print(&args.result)?;
    let holds = verifications.iter().all(protocol::Verification::holds);
    Ok(if holds { ExitStatus::Done } else { ExitStatus::Finding })
}
