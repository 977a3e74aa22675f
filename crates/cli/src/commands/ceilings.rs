//! `ceilings`: what a device can do at most.

use std::path::Path;

use anyhow::{Result, anyhow};
use harness::{Engines, Interrupt, QUICK_SWEEP, Setup, Sweep, interrupted, measure_ceilings};
use protocol::{MeasuredCeilings, Precision, Reached};
use serde_json::json;
use toml::Value;

use crate::args::CeilingsArgs;
use crate::{Ending, printer};

/// `pytorch-compile` multiplies with the same library as `pytorch-eager`.
const DEFAULT: [&str; 2] = ["onnxruntime", "pytorch-eager"];

const PRECISIONS: [Precision; 3] = [Precision::Fp32, Precision::Fp16, Precision::Bf16];

type Answer<'a> = (&'a str, Result<Reached, String>);

pub(crate) fn run(args: &CeilingsArgs) -> Result<Ending> {
    let engines = args.setup.engines.read()?;
    let mut settings = Sweep::settings(QUICK_SWEEP, "configs/quick.toml", Path::new(""))?;
    let names: Vec<&str> = match &args.names[..] {
        [] => DEFAULT.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    settings.set("engines", "--engine", Value::Array(names.into_iter().map(Value::from).collect()));
    args.setup.overlay(&mut settings)?;
    let sweep = Sweep::resolve(settings, &engines)?;
    harness::greet_all(&sweep, &engines)?;
    let precisions = args.setup.precision.map_or_else(|| PRECISIONS.to_vec(), |precision| vec![precision]);

    let _interrupt = Interrupt::install();
    let answers =
        measure_ceilings(&engines, sweep.engines.iter().map(String::as_str), &sweep.setup, &precisions);
    if interrupted() {
        return Ok(Ending::Interrupted);
    }
    let best = best(&sweep.setup, &answers);
    if args.json {
        let engines = answers.iter().map(|(engine, answer)| match answer {
            Ok(reached) => json!({"engine": engine, "reached": reached}),
            Err(why) => json!({"engine": engine, "error": why}),
        });
        let value = json!({"best": best, "engines": engines.collect::<Vec<_>>()});
        printer::result(&report::escaped_json(&format!("{value:#}\n")))?;
    } else {
        printer::text(&table(&best, &answers, &precisions))?;
    }
    if best.is_empty() { Err(anyhow!("{}: nothing was measured", best.device)) } else { Ok(Ending::Done) }
}

/// What is kept with a run: the best that its engines reached, in its precision. What each reached is told, and why one did not.
pub(crate) fn of_run(sweep: &Sweep, engines: &Engines) -> Option<MeasuredCeilings> {
    let precisions = [sweep.setup.precision];
    let names = sweep.engines.iter().map(String::as_str);
    let answers = measure_ceilings(engines, names, &sweep.setup, &precisions);
    for (engine, answer) in &answers {
        if let Err(why) = answer {
            printer::line(&format!("ceilings of {}: {engine}: {why}", sweep.setup.device));
        }
    }
    let best = best(&sweep.setup, &answers);
    if best.is_empty() {
        return None;
    }
    let read =
        best.read_bytes.as_ref().map(|read| format!("reads {} ({})", rate(read.per_second, "B/s"), read.by));
    let flops = best
        .flops
        .iter()
        .map(|(precision, flops)| format!("{precision} {} ({})", rate(flops.per_second, "FLOP/s"), flops.by));
    let parts: Vec<String> = read.into_iter().chain(flops).collect();
    printer::line(&format!("ceilings of {}: {}", best.device, parts.join(", ")));
    Some(best)
}

fn best(setup: &Setup, answers: &[Answer<'_>]) -> MeasuredCeilings {
    let reached = answers.iter().filter_map(|(engine, answer)| Some((*engine, answer.as_ref().ok()?)));
    MeasuredCeilings::best(setup.device, reached)
}

fn table(best: &MeasuredCeilings, answers: &[Answer<'_>], precisions: &[Precision]) -> String {
    let mut text = format!("{:<24}{:>16}", best.device.to_string(), "best");
    let reached: Vec<(&str, &Reached)> =
        answers.iter().filter_map(|(engine, answer)| Some((*engine, answer.as_ref().ok()?))).collect();
    for (engine, _) in &reached {
        text += &format!("{engine:>18}");
    }
    text.push('\n');
    let mut line = |what: &str, best: Option<f64>, each: &dyn Fn(&Reached) -> Option<f64>, unit: &str| {
        let cell = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| rate(value, unit));
        text += &format!("{what:<24}{:>16}", cell(best));
        for (_, reached) in &reached {
            text += &format!("{:>18}", cell(each(reached)));
        }
        text.push('\n');
    };
    let read = best.read_bytes.as_ref().map(|read| read.per_second);
    line("reading memory", read, &|reached| reached.read_bytes_per_second, "B/s");
    for precision in precisions {
        let flops = best.flops.get(precision).map(|flops| flops.per_second);
        let each = |reached: &Reached| reached.flops_per_second.get(precision).copied();
        line(&format!("matrix product, {precision}"), flops, &each, "FLOP/s");
    }
    for (engine, answer) in answers {
        let notes = match answer {
            Ok(reached) => reached.notes.clone(),
            Err(why) => vec![why.clone()],
        };
        for note in notes {
            text += &format!("! {engine}: {note}\n");
        }
    }
    text
}

/// `45.3 GB/s`, `312 TFLOP/s`.
fn rate(per_second: f64, unit: &str) -> String {
    let (value, prefix) = if per_second >= 1e12 { (per_second / 1e12, "T") } else { (per_second / 1e9, "G") };
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {prefix}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(rate(45.27e9, "B/s"), "45.3 GB/s");
        assert_eq!(rate(3.35e12, "B/s"), "3.35 TB/s");
        assert_eq!(rate(788e12, "FLOP/s"), "788 TFLOP/s");
    }
}
