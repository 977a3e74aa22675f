//! The page, and a comparison, of runs whose numbers are anything that a record or an answer may say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use compare::{Criteria, Subject, Thresholds};
use page::{AuditedRun, Comparison, Html, Page};
use proptest::prelude::*;
use protocol::{Environment, Measurement};
use results::{Exporter as _, RecordReader, Run, tables};
use serde_json::json;

use crate::{CaseResult, FuzzTarget, Sections, sample};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "page", samples, words: NUMBERS, run: makes_a_page };

const RUN: &str = "results/llama2-15m-fp32-cpu";
const NUMBERS: &str = "1e-9 1e9 1e-30 5e-324 2.3e-308 1e308 0 1 4294967295 18446744073709551615 1e21 null";

/// Two cells of two sizes, with short series.
fn records() -> String {
    let text = sample(&format!("{RUN}/measurements.jsonl"));
    let short = |line: &str| {
        let mut record: serde_json::Value =
            serde_json::to_value(Measurement::from_json(line.as_bytes()).unwrap()).unwrap();
        record["key"]["generation_length"] = 3.into();
        let series = &mut record["outcome"]["ok"]["series"];
        series["prompt_seconds"].as_array_mut().unwrap().truncate(3);
        series["generations"][0]["token_seconds"].as_array_mut().unwrap().truncate(3);
        record.to_string() + "\n"
    };
    text.lines().take(2).map(short).collect()
}

fn environment() -> String {
    let mut environment: serde_json::Value =
        serde_json::from_str(&sample(&format!("{RUN}/environment.json"))).unwrap();
    let peak = json!({"per_second": 4e10, "by": "onnxruntime"});
    // What runs of earlier versions call them.
    environment.as_object_mut().unwrap().remove("ceilings");
    environment["peaks"] = json!({"device": "cpu", "read_bytes": peak, "flops": {"fp32": peak}});
    environment["engines"].as_object_mut().unwrap().retain(|name, _| name == "onnxruntime");
    environment.to_string()
}

/// The run that these files are; `None` where they are none.
fn run(records: &[u8], environment: &[u8]) -> Option<Run> {
    let records = RecordReader::new(records, Path::new("m.jsonl")).collect::<Result<Vec<_>, _>>().ok()?;
    let environment: Environment = serde_json::from_slice(environment).ok()?;
    let environments = vec![environment.clone(), environment];
    Some(Run {
        dir: "run".into(),
        name: "run".into(),
        tables: tables(records, &[], &environments),
        environments,
        settings: vec![BTreeMap::new(); 2],
        verifications: Vec::new(),
        expected: 2,
    })
}

fn shown(run: Run, other: &Run) -> CaseResult {
    let compared = Subject::from_run(other).and_then(|other| {
        compare::compare(&other, &Subject::from_run(&run)?, &Criteria::new(Thresholds::default()))
    });
    let comparison = Comparison {
        result: compared.map_err(|refused| refused.to_string()),
        baseline: "other".into(),
        candidate: "run".into(),
    };
    let audited = AuditedRun::new(run);
    let page = Page::new(std::slice::from_ref(&audited), std::slice::from_ref(&comparison));
    let html = Html.write(&page).text;
    prop_assert!(html.len() < 4 << 20, "{} bytes", html.len());
    Ok(())
}

const FILES: [&str; 2] = ["measurements.jsonl", "environment.json"];

fn samples() -> Vec<Vec<u8>> {
    let (records, environment) = (records(), environment());
    vec![Sections::write(&[(FILES[0], records.as_bytes()), (FILES[1], environment.as_bytes())])]
}

/// The run that the others are compared with.
static OTHER: LazyLock<Run> = LazyLock::new(|| run(records().as_bytes(), environment().as_bytes()).unwrap());

fn makes_a_page(input: &[u8]) -> CaseResult {
    let sections = Sections::parse(input);
    let [records, environment] = FILES.map(|name| sections.get(name).unwrap_or_default());
    run(records, environment).map_or(Ok(()), |run| shown(run, &OTHER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_runs() {
        let read = || run(records().as_bytes(), environment().as_bytes()).unwrap();
        assert_eq!(read().records().count(), 2);
        shown(read(), &read()).unwrap();
    }
}
