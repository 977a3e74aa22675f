//! `until`: runs that stop once a mean is known well enough, from the sweep to the table.

mod common;

use common::{MOCK, Place};
use predicates::str::contains;

/// [`MOCK`], whose latencies spread by a share, with at most 40 runs.
fn sweep(noise: f64) -> String {
    let runs = MOCK.replace("prompt_runs = 5", "prompt_runs = 40\nuntil = \"0.5%\"");
    format!(
        "{}\n[options.mock]\nnoise = {noise}\n",
        runs.replace("generation_length = 256", "generation_length = 8")
    )
}

#[test]
fn quiet_cells_stop_early_and_the_table_says_so() {
    let place = Place::new();
    let (code, stdout) = place.run(&sweep(0.005), &[]);
    assert_eq!(code, 0, "{stdout}");
    let records = place.records();
    for record in &records {
        let procedure = record.procedure.expect("the procedure");
        assert_eq!((procedure.until, procedure.min_runs, procedure.generations), (Some(0.005), 5, 40));
        assert!((5..40).contains(&record.series().unwrap().prompt_seconds.len()), "{record:?}");
        assert!((5..40).contains(&record.series().unwrap().generations.len()), "{record:?}");
    }
    let range = |counts: Vec<usize>| match (counts.iter().min().unwrap(), counts.iter().max().unwrap()) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    let note = format!(
        "each replicate stops once the 95 % confidence interval of its mean is within ±0.5 %: {} of at most 40 prefills, \
         {} of at most 40 generations (published procedure: 100 prefills, 1 generation)",
        range(records.iter().map(|record| record.series().unwrap().prompt_seconds.len()).collect()),
        range(records.iter().map(|record| record.series().unwrap().generations.len()).collect()),
    );
    assert!(stdout.contains(&note), "{note}\n{stdout}");
    for file in ["table.md", "report.html"] {
        assert!(std::fs::read_to_string(place.path("run").join(file)).unwrap().contains(&note), "{file}");
    }
}

#[test]
fn cells_that_stay_unknown_have_the_most_runs_and_are_named() {
    let place = Place::new();
    let (code, stdout) = place.run(&sweep(0.2), &["--batch-size", "1", "--prompt-length", "64"]);
    assert_eq!(code, 0, "{stdout}");
    assert_eq!(place.records()[0].series().unwrap().prompt_seconds.len(), 40);
    assert!(stdout.contains("mock: prefill latency did not reach ±0.5 %: 1×64 (±"), "{stdout}");
}

#[test]
fn until_is_a_flag_and_part_of_the_procedure() {
    let place = Place::new();
    place.write("sweep.toml", &sweep(0.005).replace("until = \"0.5%\"", ""));
    let flags = |out: &'static str, more: &[&'static str]| {
        [&["run", "sweep.toml", "--out", out, "--batch-size", "1"], more].concat()
    };
    place.bench(&flags("a", &["--until", "1%", "--min-runs", "7"])).assert().success();
    place.bench(&flags("same", &["--until", "1 %", "--min-runs", "7"])).assert().success();
    place.bench(&flags("other", &["--until", "2%", "--min-runs", "7"])).assert().success();
    place.bench(&flags("fixed", &[])).assert().success();
    let records = common::read_records(&place.path("a"));
    assert!(records.iter().all(|record| record.series().unwrap().prompt_seconds.len() >= 7), "{records:?}");

    place.bench(&["compare", "a", "same"]).assert().stdout(contains("inconclusive"));
    let refused = |other: &str, why: &str| {
        place.bench(&["compare", "a", other]).assert().code(2).stderr(contains(why.to_owned()));
    };
    refused("other", "measured with different settings: procedure.until: 0.01 and 0.02");
    refused("fixed", "procedure.until: 0.01 and none");

    place.bench(&["run", "--resume", "a"]).assert().success();
    place
        .bench(&["run", "--resume", "a", "--until", "2%"])
        .assert()
        .code(2)
        .stderr(contains("procedure.until: 0.01, here 0.02"));
    place.bench(&flags("b", &["--until", "0.5"])).assert().code(2).stderr(contains(
        "--until: expected a percentage above 0 and of at most 10%, such as \"0.5%\", found 0.5",
    ));
    place
        .bench(&flags("b", &["--min-runs", "7"]))
        .assert()
        .code(2)
        .stderr(contains("--min-runs: needs --until"));
}
