//! `doctor`: which engines can be used here, and why others can't.

use std::fmt::Write as _;

use anyhow::Result;
use harness::{Limits, WorkerError, classify};
use indexmap::IndexSet;
use machine::gpu::Gpus;
use protocol::{Gpu, Hello, Library};
use results::{one_line, plain};
use serde_json::{Value, json};

use crate::args::DoctorArgs;
use crate::exit_status::ExitStatus;
use crate::format::{emphasize, wrap};
use crate::printer;
use crate::rendered::{Rendered, TextTable};
use crate::slow_steps::SlowSteps;

type Greeting = (String, Result<Hello, String>);

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitStatus> {
    let engines = args.engines.read()?;
    let mut greetings = Vec::new();
    let slow = SlowSteps::start();
    for engine in engines.names() {
        slow.begin(format!("starting {engine}"));
        let greeting = match harness::greet(&engines, engine, Limits::default()) {
            Ok(hello) => Ok(hello),
            Err(WorkerError::Interrupted) => return Ok(ExitStatus::Interrupted),
            Err(WorkerError::Evidence(evidence)) => Err(classify(&evidence).error),
        };
        greetings.push((engine.to_owned(), greeting));
    }
    drop(slow);
    let is_usable = greetings.iter().all(|(_, greeting)| greeting.is_ok());
    let reports: Value = greetings.iter().map(report).collect();
    let (table, reasons) = states(&greetings);
    Rendered {
        terminal: terminal(&greetings, &table, &reasons),
        markdown: markdown(&table, &reasons),
        csv: csv(&greetings),
        json: format!("{reports:#}\n"),
    }
    .print(&args.result)?;
    Ok(if is_usable { ExitStatus::Done } else { ExitStatus::Finding })
}

/// A line per engine: whether it can use each device, and its libraries. A reason stands once, below; the table has its number.
fn states(greetings: &[Greeting]) -> (TextTable, IndexSet<String>) {
    let devices: IndexSet<&str> = devices(greetings);
    let mut reasons = IndexSet::new();
    let mut state = |why: Option<&str>| match why {
        None => "usable".to_owned(),
        Some(why) => format!("no [{}]", reasons.insert_full(one_line(why)).0 + 1),
    };
    let columns = ["engine"].into_iter().chain(devices.iter().copied()).chain(["libraries"]);
    let mut table = TextTable::new(&columns.collect::<Vec<_>>());
    for (engine, greeting) in greetings {
        let mut row = vec![engine.clone()];
        match greeting {
            Ok(hello) => {
                row.extend(devices.iter().map(|name| {
                    let device = hello.devices.iter().find(|device| device.device == **name);
                    device.map_or_else(|| "-".into(), |device| state(device.unusable.as_deref()))
                }));
                row.push(libraries(hello));
            }
            Err(why) => {
                let state = state(Some(why));
                row.extend(devices.iter().map(|_| state.clone()));
                row.push(if devices.is_empty() { state } else { "-".into() });
            }
        }
        table.rows.push(row);
    }
    (table, reasons)
}

/// The devices that any of the engines knows.
fn devices(greetings: &[Greeting]) -> IndexSet<&str> {
    let hellos = greetings.iter().filter_map(|(_, greeting)| greeting.as_ref().ok());
    hellos.flat_map(|hello| &hello.devices).map(|device| device.device.as_str()).collect()
}

fn library_name(library: &Library) -> String {
    format!("{} {}", library.name, library.version)
}

fn libraries(hello: &Hello) -> String {
    hello.libraries.iter().map(library_name).collect::<Vec<_>>().join(", ")
}

fn terminal(greetings: &[Greeting], table: &TextTable, reasons: &IndexSet<String>) -> String {
    let mut text = emphasize(&table.to_terminal(), &["usable"], &["no ["]);
    let width = printer::screen_width().map_or(100, usize::from).clamp(40, 110);
    for (index, why) in reasons.iter().enumerate() {
        let mark = format!("[{}] ", index + 1);
        let _ = write!(text, "{}{mark}{}", if index == 0 { "\n" } else { "" }, wrap(why, width, mark.len()));
    }
    let files: IndexSet<(String, String)> = greetings
        .iter()
        .filter_map(|(_, greeting)| greeting.as_ref().ok())
        .flat_map(|hello| &hello.libraries)
        .filter_map(|library| Some((library_name(library), library.path.as_ref()?.display().to_string())))
        .collect();
    let longest = files.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    if !files.is_empty() {
        text.push_str("\nLibrary files\n");
    }
    for (name, path) in &files {
        let _ = writeln!(text, "  {:<longest$}  {}", one_line(name), one_line(path));
    }
    let _ = write!(text, "\nGPUs\n{}", plain(&gpus(width)));
    text
}

fn markdown(table: &TextTable, reasons: &IndexSet<String>) -> String {
    let mut text = table.to_markdown();
    for (index, why) in reasons.iter().enumerate() {
        let _ = writeln!(
            text,
            "{}- [{}] {}",
            if index == 0 { "\n" } else { "" },
            index + 1,
            results::escape_markdown(why)
        );
    }
    text
}

fn csv(greetings: &[Greeting]) -> String {
    let mut table = TextTable::new(&["engine", "device", "usable", "reason", "libraries"]);
    for (engine, greeting) in greetings {
        let mut push = |device: &str, why: Option<&str>, libraries: String| {
            let usable = why.is_none().to_string();
            table.rows.push(vec![
                engine.clone(),
                device.into(),
                usable,
                why.unwrap_or_default().into(),
                libraries,
            ]);
        };
        match greeting {
            Err(why) => push("", Some(why), String::new()),
            Ok(hello) => {
                for device in &hello.devices {
                    push(&device.device, device.unusable.as_deref(), libraries(hello));
                }
            }
        }
    }
    table.to_csv()
}

/// The GPUs that a sweep can name. Without NVIDIA's management library there are none, and nothing watches power and clocks.
fn gpus(width: usize) -> String {
    let none = |why: &str| format!("  none: {}", wrap(why, width, 8));
    match Gpus::find() {
        Ok(gpus) if gpus.facts().is_empty() => none("the driver shows none"),
        Ok(gpus) => gpus.facts().iter().enumerate().map(|(index, gpu)| describe_gpu(index, gpu)).collect(),
        Err(why) => none(&why.to_string()),
    }
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
        .chain(said(gpu.mig.filter(|on| *on).map(|_| "split into instances (MIG)".into())));
    format!("  cuda:{index}  {}\n", facts.collect::<Vec<_>>().join(", "))
}

fn report((engine, greeting): &Greeting) -> Value {
    match greeting {
        Ok(hello) => json!({"engine": engine, "hello": hello}),
        Err(why) => json!({"engine": engine, "unusable": why}),
    }
}

#[cfg(test)]
mod tests {
    use protocol::UsableDevice;

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
            "  cuda:0  NVIDIA H100 80GB HBM3, 80.0 GiB, sm_90, driver 580.65.06, CUDA 13.0, 700 W, 1980 MHz, PCIe 5 x16, ECC on\n"
        );
        let unknown = Gpu { name: "GPU".into(), driver_version: "1".into(), ..Gpu::default() };
        assert_eq!(describe_gpu(1, &unknown), "  cuda:1  GPU, 0.0 GiB, driver 1\n");
    }

    #[test]
    fn a_reason_of_several_engines_is_said_once() {
        let hello = |engine: &str, cuda: &str| {
            let device = |device: &str, unusable: Option<&str>| UsableDevice {
                device: device.into(),
                unusable: unusable.map(str::to_owned),
            };
            let libraries = vec![Library { name: "torch".into(), version: "2".into(), path: None }];
            let json = json!({"protocol": 1, "engine": engine, "libraries": libraries, "devices": [
                device("cpu", None), device("cuda", Some(cuda))]});
            (engine.to_owned(), Ok(serde_json::from_value(json).unwrap()))
        };
        let greetings = [
            hello("a", "no driver"),
            hello("b", "no driver"),
            ("long-name".to_owned(), Err("no\nprogram".to_owned())),
        ];
        let (table, reasons) = states(&greetings);
        assert_eq!(
            table.to_terminal(),
            "engine     cpu     cuda    libraries\n\
             a          usable  no [1]  torch 2\n\
             b          usable  no [1]  torch 2\n\
             long-name  no [2]  no [2]  -\n"
        );
        assert_eq!(reasons.into_iter().collect::<Vec<_>>(), ["no driver", "no program"]);
    }
}
