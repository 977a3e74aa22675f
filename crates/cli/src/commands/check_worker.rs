//! `check-worker`: whether a worker keeps to the protocol.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use harness::{
    Check, CheckError, CheckOutcome, CheckSetup, EngineCommand, Interrupt, Limits, Model, check_worker,
};
use results::{csv_of_json, plain};
use serde_json::{Value, json};

use crate::args::{CheckWorkerArgs, ResultFormat};
use crate::exit_status::ExitStatus;
use crate::format::emphasize;
use crate::printer;
use crate::rendered::{Rendered, markdown_list};

/// The page that says what a worker must do.
const PROTOCOL_PAGE: &str = "docs/reference/protocol.md";

/// The columns of its csv.
const COLUMNS: &str = "program arguments protocol name outcome section expected found reason";

pub(crate) fn run(args: &CheckWorkerArgs) -> Result<ExitStatus> {
    let engines;
    let command = match &args.engine {
        Some(engine) => {
            engines = args.engines.read()?;
            engines.find(engine).map_err(|error| anyhow!(error))?.clone()
        }
        None => EngineCommand::new("worker", &args.command, Path::new("")),
    };
    let model = args.model.as_deref().map(|model| Model::find(model, 0, Path::new(""), args.precision));
    let model = model.transpose().map_err(|error| anyhow!("--model: {error}"))?;
    let request = Duration::from_secs(args.timeout_seconds);
    let setup = CheckSetup {
        device: args.device,
        precision: args.precision,
        model,
        limits: Limits { request, ..Limits::default() },
    };
    let _interrupt = Interrupt::install();
    let format = args.result.format.given().unwrap_or(ResultFormat::Terminal);
    // Each line as its check ends: a check may take as long as its time limit.
    let is_live = format == ResultFormat::Terminal && args.result.out.is_none();
    let mut printed = Ok(());
    let checks = check_worker(&command, &setup, &mut |check| {
        if is_live && printed.is_ok() {
            printed = printer::result(&line(check));
        }
    });
    printed?;
    let checks = match checks {
        Ok(checks) => checks,
        Err(CheckError::Interrupted) => return Ok(ExitStatus::Interrupted),
        Err(CheckError::Model(error)) => return Err(anyhow!(error)),
        Err(error) => {
            let (program, error) = (command.program.display().to_string(), error.to_string());
            let error = error.strip_prefix(&format!("{program}: ")).unwrap_or(&error);
            return Err(anyhow!("{program}: {error}"));
        }
    };
    let lines: String = checks.iter().map(line).chain([summary(&checks)]).collect();
    let json = results::escaped_json(&format!("{:#}\n", report(&command, &checks)));
    Rendered {
        markdown: markdown_list(&anstream::adapter::strip_str(&lines).to_string()),
        terminal: if is_live { summary(&checks) } else { lines },
        csv: csv_of_json(&json, &[&["checks"]], COLUMNS)?,
        json,
    }
    .print_as(format, args.result.out.as_deref())?;
    let is_false = checks.iter().any(|check| matches!(check.outcome, CheckOutcome::Failed { .. }));
    Ok(if is_false { ExitStatus::Finding } else { ExitStatus::Done })
}

fn line(check: &Check) -> String {
    let Check { name, section, outcome } = check;
    let line = match outcome {
        CheckOutcome::Ok => format!("ok       {name}\n"),
        CheckOutcome::Failed { expected, found } => {
            let place = format!("({PROTOCOL_PAGE}, \"{section}\")");
            // Some of the harness's own messages end with it.
            let found = found.trim_end_matches(&place).trim_end();
            format!("FAILED   {name}: expected {expected}; found {found} {place}\n")
        }
        CheckOutcome::Skipped(why) => format!("skipped  {name}: {why}\n"),
    };
    emphasize(&plain(&line), &["ok  "], &["FAILED"])
}

fn word(check: &Check) -> &'static str {
    match check.outcome {
        CheckOutcome::Ok => "ok",
        CheckOutcome::Failed { .. } => "failed",
        CheckOutcome::Skipped(_) => "skipped",
    }
}

fn summary(checks: &[Check]) -> String {
    let count = |wanted: &str| checks.iter().filter(|check| word(check) == wanted).count();
    format!("{} ok, {} failed, {} skipped\n", count("ok"), count("failed"), count("skipped"))
}

fn report(command: &EngineCommand, checks: &[Check]) -> Value {
    let checks = checks.iter().map(|check| {
        let mut value = json!({"name": check.name, "outcome": word(check), "section": check.section});
        match &check.outcome {
            CheckOutcome::Ok => {}
            CheckOutcome::Failed { expected, found } => {
                value["expected"] = json!(expected);
                value["found"] = json!(found);
            }
            CheckOutcome::Skipped(why) => value["reason"] = json!(why),
        }
        value
    });
    json!({
        "program": command.program,
        "arguments": command.arguments,
        "protocol": protocol::PROTOCOL,
        "checks": checks.collect::<Vec<_>>(),
    })
}
