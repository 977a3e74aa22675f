//! `peaks`: a device's peak memory bandwidth and matrix throughput.

use std::path::Path;

use anyhow::{Result, anyhow};
use harness::{
    Interrupt, MeasuredReach, Notice, PeaksReport, QUICK_SWEEP, Setting, Sweep, Variant, interrupted,
    measure_peaks, sustained_seconds,
};
use protocol::{Dtype, MeasuredPeaks, Reached};
use results::{busy_machine_words, plain};
use serde_json::json;

use crate::args::PeaksArgs;
use crate::exit_status::ExitStatus;
use crate::format::{at_clock, rate};
use crate::printer;
use crate::rendered::{Rendered, TextTable, markdown_list};
use crate::session::waiting_for_idle;
use crate::slow_steps::SlowSteps;

/// `pytorch-compile` multiplies with the same library as `pytorch-eager`.
const DEFAULT: [&str; 2] = ["onnxruntime", "pytorch-eager"];

const DTYPES: [Dtype; 3] = [Dtype::Fp32, Dtype::Fp16, Dtype::Bf16];

type EngineReach<'a> = (&'a str, Result<MeasuredReach, String>);

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
    let dtypes = if flags.precision.is_some() { variant.sweep.dtypes() } else { DTYPES.to_vec() };

    let _interrupt = Interrupt::install();
    let sustained = args.sustained.map_or_else(|| sustained_seconds(variant.sweep.setup.device), Some);
    let sustained = sustained.filter(|seconds| *seconds > 0.0);
    let PeaksReport { best, engines } =
        measure_peaks(&variant, &hellos, &dtypes, sustained, &mut |notice| slow.hear(&notice));
    drop(slow);
    if interrupted() {
        return Ok(ExitStatus::Interrupted);
    }
    let json = {
        let engines = engines.iter().map(|(engine, answer)| match answer {
            Ok(MeasuredReach { reached, .. }) => json!({"engine": engine, "reached": reached}),
            Err(why) => json!({"engine": engine, "error": why}),
        });
        json!({"best": best, "engines": engines.collect::<Vec<_>>()})
    };
    let (quantities, notes) = (quantities(&best, &engines, &dtypes), notes(&best, &engines));
    let device = best.device.to_string();
    let shown = table(&device, &engines, &quantities, &|value, unit| {
        value.map_or_else(|| "-".into(), |value| rate(value, unit))
    });
    let raw = table("quantity", &engines, &quantities, &|value, _| {
        value.map_or_else(String::new, |value| value.to_string())
    });
    let text = notes.iter().map(|note| format!("! {note}\n")).collect::<String>();
    Rendered {
        terminal: shown.to_terminal() + &plain(&text),
        markdown: format!("{}\n{}", shown.to_markdown(), markdown_list(&notes.join("\n"))),
        csv: raw.to_csv(),
        json: results::escaped_json(&format!("{json:#}\n")),
    }
    .print(&args.result)?;
    if best.is_empty() {
        Err(anyhow!("{}: no peak could be measured", best.device))
    } else {
        Ok(ExitStatus::Done)
    }
}

/// A line of the table: what was measured, its unit, the device's best and each engine's.
struct Quantity {
    name: String,
    unit: &'static str,
    best: Option<f64>,
    each: Vec<Option<f64>>,
}

fn reached<'a>(answers: &'a [EngineReach<'_>]) -> impl Iterator<Item = (&'a str, &'a Reached)> {
    answers.iter().filter_map(|(engine, answer)| Some((*engine, &answer.as_ref().ok()?.reached)))
}

fn quantities(best: &MeasuredPeaks, answers: &[EngineReach<'_>], dtypes: &[Dtype]) -> Vec<Quantity> {
    let quantity = |name: String, unit, best, each: &dyn Fn(&Reached) -> Option<f64>| Quantity {
        name,
        unit,
        best,
        each: reached(answers).map(|(_, reached)| each(reached)).collect(),
    };
    let read = best.read_bytes.as_ref().map(|read| read.per_second);
    let mut all =
        vec![quantity("memory bandwidth".into(), "B/s", read, &|reached| reached.read_bytes_per_second)];
    for dtype in dtypes {
        let flops = best.flops.get(dtype).map(|flops| flops.per_second);
        let each = |reached: &Reached| reached.flops_per_second.get(dtype).copied();
        all.push(quantity(format!("matrix product, {dtype}"), "FLOP/s", flops, &each));
        if let Some(sustained) = best.sustained_flops.get(dtype) {
            let each = |reached: &Reached| reached.sustained_flops_per_second.get(dtype).copied();
            let name = format!("matrix product, {dtype}, sustained{}", at_clock(sustained));
            all.push(quantity(name, "FLOP/s", Some(sustained.per_second), &each));
        }
    }
    all
}

fn table(
    title: &str,
    answers: &[EngineReach<'_>],
    quantities: &[Quantity],
    format: &dyn Fn(Option<f64>, &str) -> String,
) -> TextTable {
    let engines = reached(answers).map(|(engine, _)| engine);
    let mut table = TextTable::new(&[title, "best"].into_iter().chain(engines).collect::<Vec<_>>());
    for Quantity { name, unit, best, each } in quantities {
        let figures = std::iter::once(best).chain(each);
        let cells = figures.map(|value| format(*value, unit));
        table.rows.push(std::iter::once(name.clone()).chain(cells).collect());
    }
    table
}

fn notes(best: &MeasuredPeaks, answers: &[EngineReach<'_>]) -> Vec<String> {
    let mut all = Vec::new();
    for (engine, answer) in answers {
        match answer {
            Ok(answer) => all.extend(answer.reached.notes.iter().map(|note| format!("{engine}: {note}"))),
            Err(why) => all.push(format!("{engine}: {why}")),
        }
    }
    let busy = best.machine_load.iter().flat_map(busy_machine_words);
    all.extend(busy.map(|busy| format!("busy machine: {busy}; the peaks may be too low")));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::{Device, MachineLoad};

    use super::*;

    #[test]
    fn a_busy_machine_has_a_note() {
        let with = |other_share| {
            let load = MachineLoad { seconds: 4.0, processors: 2, other_share, ..MachineLoad::default() };
            let best = MeasuredPeaks {
                device: Device::Cpu,
                read_bytes: None,
                flops: BTreeMap::new(),
                sustained_flops: BTreeMap::new(),
                machine_load: Some(load),
                measured_at: None,
            };
            notes(&best, &[])
        };
        let warning =
            "busy machine: other processes used more than 10 % of CPU time: 48 %; the peaks may be too low";
        assert_eq!(with(Some(0.48)), [warning]);
        assert!(with(Some(0.09)).is_empty());
    }
}
