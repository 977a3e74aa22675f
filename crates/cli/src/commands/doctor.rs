//! `doctor`: which engines can be used here, and why others can't.

use anyhow::Result;
use harness::{Limits, WorkerError, classify};
use machine::gpu::Gpus;
use protocol::{Gpu, Hello};
use serde_json::{Value, json};

use crate::args::DoctorArgs;
use crate::exit_status::ExitStatus;
use crate::printer;

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitStatus> {
    let engines = args.engines.read()?;
    let mut unusable = 0;
    let mut reports = Vec::new();
    for engine in engines.names() {
        let greeting = match harness::greet(&engines, engine, Limits::default()) {
            Ok(hello) => Ok(hello),
            Err(WorkerError::Interrupted) => return Ok(ExitStatus::Interrupted),
            Err(WorkerError::Evidence(evidence)) => Err(classify(&evidence).error),
        };
        unusable += usize::from(greeting.is_err());
        if !args.json {
            printer::text(&describe(engine, &greeting))?;
        }
        reports.push(report(engine, greeting));
    }
    if args.json {
        printer::result(&format!("{:#}\n", Value::Array(reports)))?;
    } else {
        printer::text(&gpus())?;
    }
    Ok(if unusable == 0 { ExitStatus::Done } else { ExitStatus::Finding })
}

/// The GPUs that a sweep can name, or why NVIDIA's management library knows of none: then their power and clocks are not watched.
fn gpus() -> String {
    let lines = match Gpus::find() {
        Ok(gpus) => gpus.facts().iter().enumerate().map(|(index, gpu)| describe_gpu(index, gpu)).collect(),
        Err(why) => vec![format!("{:<18} {why}\n", "no GPU")],
    };
    if lines.is_empty() { format!("{:<18} the driver shows none\n", "no GPU") } else { lines.concat() }
}

fn describe_gpu(index: usize, gpu: &Gpu) -> String {
    let said = |what: Option<String>| what.into_iter();
    let facts = [gpu.name.clone(), format!("{:.1} GiB", gpu.memory_bytes as f64 / f64::from(1 << 30))]
        .into_iter()
        .chain(said(
            gpu.compute_capability.as_ref().map(|version| format!("sm_{}", version.replace('.', ""))),
        ))
        .chain([format!("driver {}", gpu.driver_version)])
        .chain(said(gpu.cuda_version.as_ref().map(|version| format!("CUDA {version}"))))
        .chain(said(gpu.power_limit_watts.map(|watts| format!("{watts:.0} W"))))
        .chain(said(gpu.max_sm_clock_mhz.map(|clock| format!("{clock} MHz"))))
        .chain(said(gpu.pcie_generation.zip(gpu.pcie_width).map(|(of, lanes)| format!("PCIe {of} x{lanes}"))))
        .chain(said(gpu.ecc.map(|on| format!("ECC {}", if on { "on" } else { "off" }))))
        .chain(said(gpu.mig.filter(|on| *on).map(|_| "cut into instances (MIG)".into())));
    format!("{:<18} {}\n", format!("cuda:{index}"), facts.collect::<Vec<_>>().join(", "))
}

fn describe(engine: &str, greeting: &Result<Hello, String>) -> String {
    let hello = match greeting {
        Ok(hello) => hello,
        Err(why) => return format!("{engine:<18} can't be used: {why}\n"),
    };
    let mut text = String::new();
    for (index, library) in hello.libraries.iter().enumerate() {
        let engine = if index == 0 { engine } else { "" };
        let path = library.path.as_ref().map(|path| format!("  {}", path.display())).unwrap_or_default();
        text += &format!("{engine:<18} {} {}{path}\n", library.name, library.version);
    }
    for device in &hello.devices {
        let state =
            device.unusable.as_ref().map_or_else(|| "usable".into(), |why| format!("can't be used: {why}"));
        text += &format!("{:<18}   {}: {state}\n", "", device.device);
    }
    text
}

fn report(engine: &str, greeting: Result<Hello, String>) -> Value {
    match greeting {
        Ok(hello) => json!({"engine": engine, "hello": hello}),
        Err(why) => json!({"engine": engine, "unusable": why}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_a_line_without_what_the_driver_does_not_say() {
        let known = Gpu {
            name: "NVIDIA H100 80GB HBM3".into(),
            memory_bytes: 80 << 30,
            driver_version: "580.65.06".into(),
            cuda_version: Some("13.0".into()),
            compute_capability: Some("9.0".into()),
            power_limit_watts: Some(700.0),
            max_sm_clock_mhz: Some(1980),
            pcie_generation: Some(5),
            pcie_width: Some(16),
            ecc: Some(true),
            mig: Some(false),
            ..Gpu::default()
        };
        assert_eq!(
            describe_gpu(0, &known),
            "cuda:0             NVIDIA H100 80GB HBM3, 80.0 GiB, sm_90, driver 580.65.06, CUDA 13.0, 700 W, 1980 MHz, \
             PCIe 5 x16, ECC on\n"
        );
        let unknown = Gpu { name: "GPU".into(), driver_version: "1".into(), ..Gpu::default() };
        assert_eq!(describe_gpu(1, &unknown), "cuda:1             GPU, 0.0 GiB, driver 1\n");
    }
}
