//! `doctor`: which engines can be used here, and why others can't.

use anyhow::Result;
use harness::{Limits, WorkerError, classify};
use protocol::Hello;
use serde_json::{Value, json};

use crate::args::DoctorArgs;
use crate::{Ending, printer};

pub(crate) fn run(args: &DoctorArgs) -> Result<Ending> {
    let engines = args.engines.read()?;
    let mut unusable = 0;
    let mut reports = Vec::new();
    for engine in engines.names() {
        let greeting = match harness::greet(&engines, engine, Limits::default()) {
            Ok(hello) => Ok(hello),
            Err(WorkerError::Interrupted) => return Ok(Ending::Interrupted),
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
    }
    Ok(if unusable == 0 { Ending::Done } else { Ending::Finding })
}

fn describe(engine: &str, greeting: &Result<Hello, String>) -> String {
    let hello = match greeting {
        Ok(hello) => hello,
        Err(why) => return format!("{engine:<16} can't be used: {why}\n"),
    };
    let mut text = String::new();
    for (index, library) in hello.libraries.iter().enumerate() {
        let engine = if index == 0 { engine } else { "" };
        let path = library.path.as_ref().map(|path| format!("  {}", path.display())).unwrap_or_default();
        text += &format!("{engine:<16} {} {}{path}\n", library.name, library.version);
    }
    for device in &hello.devices {
        let state =
            device.unusable.as_ref().map_or_else(|| "usable".into(), |why| format!("can't be used: {why}"));
        text += &format!("{:<16}   {}: {state}\n", "", device.device);
    }
    text
}

fn report(engine: &str, greeting: Result<Hello, String>) -> Value {
    match greeting {
        Ok(hello) => json!({"engine": engine, "hello": hello}),
        Err(why) => json!({"engine": engine, "unusable": why}),
    }
}
