//! `verify`: do the engines compute the same thing?

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use harness::{Event, Interrupt, QUICK_SWEEP, Setting, Sweep, Variant, Whole};

use crate::args::VerifyArgs;
use crate::exit_status::ExitStatus;
use crate::format::describe_verification;
use crate::printer;
use crate::slow_steps::SlowSteps;

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

    let _interrupt = Interrupt::install();
    let slow = SlowSteps::start();
    let mut verifications = Vec::new();
    for model in &variant.sweep.models {
        // A log shows by these lines which engine a verification that was cut waited for.
        let mut tell = |event: Event<'_>| {
            if let Event::Verifying { engine, model } = event {
                let step = format!("verifying {engine} on {model}");
                printer::line(&step);
                slow.begin(step);
            }
        };
        let verification = match harness::verify(&variant, model, &mut tell) {
            Ok(Some(verification)) => verification,
            Ok(None) => bail!("--engine: the mock engine computes nothing that could be verified"),
            Err(_) => return Ok(ExitStatus::Interrupted),
        };
        if !args.json {
            printer::text(&format!("{}\n", describe_verification(&verification)))?;
        }
        verifications.push(verification);
    }
    if args.json {
        let json = serde_json::to_string_pretty(&verifications).map_err(|error| anyhow!("{error}"))?;
        printer::result(&format!("{json}\n"))?;
    }
    let holds = verifications.iter().all(protocol::Verification::holds);
    Ok(if holds { ExitStatus::Done } else { ExitStatus::Finding })
}
