//! A burst and a sustained peak: `peaks` shows both, a run keeps both, and a table has a share of each.

mod common;

use common::{MOCK, Place, worker};
use predicates::prelude::*;
use predicates::str::contains;

/// Two engines of one program, with a GPU.
fn engines(place: &Place) {
    let mock = worker("llama2-bench-mock");
    let engine = |name: &str| {
        format!("[{name}]\ncommand = [{mock:?}, \"--gpu\"]\noptions = {{ peaks = true, noise = 0 }}\n")
    };
    place.write("engines.toml", &(engine("mock") + &engine("other")));
}

const WITH: [&str; 2] = ["--engines-file", "engines.toml"];

#[test]
fn the_command_measures_a_sustained_peak_on_a_gpu_or_where_it_is_asked_for() {
    let place = Place::new();
    engines(&place);
    let peaks = |more: &[&str]| {
        let arguments = [&["peaks", "--engine", "mock,other"], &WITH[..], more].concat();
        let assert = place.bench(&arguments).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let sustained = contains(", sustained").count(3).and(contains("4.00 TFLOP/s"));
    let text = peaks(&["--device", "cuda"]);
    assert!(sustained.eval(&text), "{text}");
    assert!(!text.contains("other"), "one program with the same libraries is asked once: {text}");
    assert!(sustained.eval(&peaks(&["--sustained", "0.5"])));
    assert!(!peaks(&[]).contains("sustained"), "a CPU's clocks settle at once");
    assert!(!peaks(&["--device", "cuda", "--sustained", "0"]).contains("sustained"));
    let json: serde_json::Value =
        serde_json::from_str(&peaks(&["--device", "cuda", "--precision", "fp16", "--json"])).unwrap();
    assert_eq!(json["best"]["sustained_flops"]["fp16"]["per_second"], 4e12);
    assert_eq!(json["best"]["flops"]["fp16"]["per_second"], 5e12);
    for seconds in ["-1", "61", "nan", "long"] {
        let arguments = ["peaks".to_owned(), format!("--sustained={seconds}")];
        let arguments = arguments.each_ref().map(String::as_str);
        place.bench(&arguments).assert().code(2).stderr(contains("expected seconds from 0 to 60"));
    }
}

#[test]
fn a_run_on_a_gpu_keeps_both_and_its_table_has_a_share_of_each() {
    let place = Place::new();
    engines(&place);
    let (code, table) =
        place.run(&format!("device = \"cuda:0\"\n{MOCK}"), &[&WITH[..], &["--batch-size", "4"]].concat());
    assert_eq!(code, 0, "{table}");
    assert!(table.contains("peak 5.000 TFLOP/s (mock), sustained 4.000 TFLOP/s (mock)"), "{table}");
    assert!(
        table.contains("| Prefill FLOP/s of Measured Peak (%) | Prefill FLOP/s of Sustained Peak (%) |"),
        "{table}"
    );
    let environment = std::fs::read_to_string(place.path("run/environment.json")).unwrap();
    let environment: protocol::Environment = serde_json::from_str(&environment).unwrap();
    let peaks = environment.peaks.unwrap();
    assert_eq!(peaks.sustained_flops[&protocol::Dtype::Fp32].per_second, 4e12);
    let page = std::fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(page.contains("of sustained FLOP/s"));
}
