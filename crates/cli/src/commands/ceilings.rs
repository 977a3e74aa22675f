//! `ceilings`: what a device can do at most.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use harness::{
    CeilingsPlan, Engines, Interrupt, MeasuredReach, QUICK_SWEEP, Setup, Sweep, interrupted,
    measure_ceilings, sustained_seconds,
};
use machine::gpu::{GpuWatch, Gpus};
use protocol::{Device, Hello, MeasuredCeilings, Precision, Reached, SustainedCeiling};
use serde_json::json;
use toml::Value;

use crate::args::CeilingsArgs;
use crate::{Ending, printer};

/// `pytorch-compile` multiplies with the same library as `pytorch-eager`.
const DEFAULT: [&str; 2] = ["onnxruntime", "pytorch-eager"];

const PRECISIONS: [Precision; 3] = [Precision::Fp32, Precision::Fp16, Precision::Bf16];

type Answer<'a> = (&'a str, Result<MeasuredReach, String>);

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
    let hellos = harness::greet_all(&sweep, &engines)?;
    let precisions = args.setup.precision.map_or_else(|| PRECISIONS.to_vec(), |precision| vec![precision]);

    let _interrupt = Interrupt::install();
    let device = sweep.setup.device;
    let gpu = watch(device);
    let sustained = args.sustained.map_or_else(|| sustained_seconds(device), Some);
    let plan = CeilingsPlan {
        setup: &sweep.setup,
        precisions: &precisions,
        sustained_seconds: sustained.filter(|seconds| *seconds > 0.0),
        gpu: gpu.as_ref(),
    };
    let answers = measure_ceilings(&engines, sweep.engines.iter().map(String::as_str), &hellos, &plan);
    if interrupted() {
        return Ok(Ending::Interrupted);
    }
    let best = best(&sweep.setup, &answers);
    if args.json {
        let engines = answers.iter().map(|(engine, answer)| match answer {
            Ok(MeasuredReach { reached, .. }) => json!({"engine": engine, "reached": reached}),
            Err(why) => json!({"engine": engine, "error": why}),
        });
        let value = json!({"best": best, "engines": engines.collect::<Vec<_>>()});
        printer::result(&results::escaped_json(&format!("{value:#}\n")))?;
    } else {
        printer::text(&table(&best, &answers, &precisions))?;
    }
    if best.is_empty() { Err(anyhow!("{}: nothing was measured", best.device)) } else { Ok(Ending::Done) }
}

/// What is kept with a run: the best that its engines reached, in its precision. What each reached is told, and why one did not.
pub(crate) fn of_run(
    sweep: &Sweep,
    engines: &Engines,
    hellos: &BTreeMap<String, Hello>,
) -> Option<MeasuredCeilings> {
    let gpu = watch(sweep.setup.device);
    let plan = CeilingsPlan {
        setup: &sweep.setup,
        precisions: &[sweep.setup.precision],
        sustained_seconds: sustained_seconds(sweep.setup.device),
        gpu: gpu.as_ref(),
    };
    let names = sweep.engines.iter().map(String::as_str);
    let answers = measure_ceilings(engines, names, hellos, &plan);
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
    let sustained = best.sustained_flops.iter().map(|(precision, sustained)| {
        let (flops, clock) = (rate(sustained.per_second, "FLOP/s"), at_clock(sustained));
        format!("{precision} sustained {flops}{clock} ({})", sustained.by)
    });
    let parts: Vec<String> = read.into_iter().chain(flops).chain(sustained).collect();
    printer::line(&format!("ceilings of {}: {}", best.device, parts.join(", ")));
    Some(best)
}

fn watch(device: Device) -> Option<GpuWatch> {
    Gpus::find().ok().and_then(|gpus| gpus.watch(device))
}

/// ` at 1410 MHz`, where that is known.
fn at_clock(sustained: &SustainedCeiling) -> String {
    sustained.sm_clock_mhz.map(|clock| format!(" at {clock:.0} MHz")).unwrap_or_default()
}

fn best(setup: &Setup, answers: &[Answer<'_>]) -> MeasuredCeilings {
    let answered = || answers.iter().filter_map(|(engine, answer)| Some((*engine, answer.as_ref().ok()?)));
    let reached = answered().map(|(engine, answer)| (engine, &answer.reached));
    let mut best = MeasuredCeilings::best(setup.device, reached);
    for (precision, sustained) in &mut best.sustained_flops {
        let answer = answered().find(|(engine, _)| *engine == sustained.by);
        sustained.sm_clock_mhz =
            answer.and_then(|(_, answer)| answer.sustained_sm_clock_mhz.get(precision).copied());
    }
    best
}

fn table(best: &MeasuredCeilings, answers: &[Answer<'_>], precisions: &[Precision]) -> String {
    let mut text = format!("{:<24}{:>16}", best.device.to_string(), "best");
    let reached: Vec<(&str, &Reached)> = answers
        .iter()
        .filter_map(|(engine, answer)| Some((*engine, &answer.as_ref().ok()?.reached)))
        .collect();
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
        if let Some(sustained) = best.sustained_flops.get(precision) {
            let each = |reached: &Reached| reached.sustained_flops_per_second.get(precision).copied();
            let what = format!("  sustained{}", at_clock(sustained));
            line(&what, Some(sustained.per_second), &each, "FLOP/s");
        }
    }
    for (engine, answer) in answers {
        let notes = match answer {
            Ok(answer) => answer.reached.notes.clone(),
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
