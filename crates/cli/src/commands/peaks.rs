//! `peaks`: what a device can do at most.

use std::path::Path;

use anyhow::{Result, anyhow};
use harness::{
    Interrupt, MeasuredReach, Notice, PeaksReport, QUICK_SWEEP, Setting, Sweep, Variant, interrupted,
    measure_peaks, sustained_seconds,
};
use protocol::{MeasuredPeaks, Precision, Reached};
use results::busy_machine_words;
use serde_json::json;

use crate::args::PeaksArgs;
use crate::exit_status::ExitStatus;
use crate::format::{at_clock, rate};
use crate::printer;
use crate::session::waiting_for_idle;
use crate::slow_steps::SlowSteps;

/// `pytorch-compile` multiplies with the same library as `pytorch-eager`.
const DEFAULT: [&str; 2] = ["onnxruntime", "pytorch-eager"];

const PRECISIONS: [Precision; 3] = [Precision::Fp32, Precision::Fp16, Precision::Bf16];

type Answer<'a> = (&'a str, Result<MeasuredReach, String>);

pub(crate) fn run(args: &PeaksArgs) -> Result<ExitStatus> {
    let engines = args.setup.engines.read()?;
    let mut settings = Sweep::settings(QUICK_SWEEP, "configs/quick.toml", Path::new(""))?;
    settings.engines = Some(Setting::new(DEFAULT.map(str::to_owned).to_vec(), "--engine"));
    if !args.names.is_empty() {
        settings.set_flag("engines", "--engine", &args.names)?;
    }
    let flags = &args.setup.flags.0;
    let variant = Variant::resolve(&flags.clone().over(settings), engines)?;
    if args.require_idle {
        harness::require_idle(&mut |notice| {
            if let Notice::WaitingForIdle { limit, busy } = notice {
                printer::line(&waiting_for_idle(limit, busy));
            }
        })?;
    }
    let slow = SlowSteps::start();
    let hellos = harness::greet_all(&variant, &mut |notice| slow.hear(&notice))?;
    let precisions =
        flags.precision.as_ref().map_or_else(|| PRECISIONS.to_vec(), |precision| vec![precision.value]);

    let _interrupt = Interrupt::install();
    let sustained = args.sustained.map_or_else(|| sustained_seconds(variant.sweep.setup.device), Some);
    let sustained = sustained.filter(|seconds| *seconds > 0.0);
    let PeaksReport { best, engines } =
        measure_peaks(&variant, &hellos, &precisions, sustained, &mut |notice| slow.hear(&notice));
    drop(slow);
    if interrupted() {
        return Ok(ExitStatus::Interrupted);
    }
    if args.json {
        let engines = engines.iter().map(|(engine, answer)| match answer {
            Ok(MeasuredReach { reached, .. }) => json!({"engine": engine, "reached": reached}),
            Err(why) => json!({"engine": engine, "error": why}),
        });
        let value = json!({"best": best, "engines": engines.collect::<Vec<_>>()});
        printer::result(&results::escaped_json(&format!("{value:#}\n")))?;
    } else {
        printer::text(&table(&best, &engines, &precisions))?;
    }
    if best.is_empty() { Err(anyhow!("{}: nothing was measured", best.device)) } else { Ok(ExitStatus::Done) }
}

fn table(best: &MeasuredPeaks, answers: &[Answer<'_>], precisions: &[Precision]) -> String {
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
    for busy in best.machine_load.iter().flat_map(busy_machine_words) {
        text += &format!("! busy machine: {busy}; the peaks may be too low\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::{Device, MachineLoad};

    use super::*;

    #[test]
    fn peaks_of_a_busy_machine_are_warned_of() {
        let with = |other_share| {
            let load = MachineLoad { seconds: 4.0, processors: 2, other_share, ..MachineLoad::default() };
            let best = MeasuredPeaks {
                device: Device::Cpu,
                read_bytes: None,
                flops: BTreeMap::new(),
                sustained_flops: BTreeMap::new(),
                machine_load: Some(load),
            };
            table(&best, &[], &[])
        };
        let warning = "! busy machine: other processes used more than 10 % of the processors' time: 48 %; the peaks may be too low\n";
        assert!(with(Some(0.48)).ends_with(warning), "{}", with(Some(0.48)));
        assert!(!with(Some(0.09)).contains("busy machine"));
    }
}
