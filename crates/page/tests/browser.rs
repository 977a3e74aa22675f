//! Pages in a real browser: nothing goes wrong, nothing overlaps, every figure has its mark.

#[path = "browser/cdp.rs"]
mod cdp;
mod common;
#[path = "browser/expected.rs"]
mod expected;
#[path = "browser/interaction.rs"]
mod interaction;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use cdp::Browser;
use common::{comparison, hostile, kept, large, measured, run, small, two_thousand};
use page::{AuditedRun, Comparison, Html, Page};
use protocol::Measurement;
use results::{Exporter as _, Row};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHECK: &str = include_str!("browser/check.js");

/// The browser; `None` where there is none, and nobody said that there has to be one.
#[expect(clippy::print_stderr, reason = "says what is not tested")]
fn browser() -> Option<Browser> {
    match cdp::find() {
        Some(path) => Some(Browser::start(&path)),
        None => {
            assert!(
                std::env::var_os("LLAMA2_BENCH_NEEDS_CHROMIUM").is_none(),
                "no chromium in PATH: install it, or say where it is in LLAMA2_BENCH_CHROMIUM"
            );
            eprintln!("skipped: no chromium in PATH (Debian: apt-get install chromium fonts-dejavu)");
            None
        }
    }
}

struct Opened {
    _dir: TempDir,
    file: PathBuf,
}

fn write(runs: &[AuditedRun], comparisons: &[Comparison]) -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.html");
    std::fs::write(&file, Html.write(&Page::new(runs, comparisons)).text).unwrap();
    Opened { _dir: dir, file }
}

/// Opens the page in every width and scheme, and looks for faults; the marks of each plot.
fn look(browser: &mut Browser, name: &str, file: &Path) -> BTreeMap<String, u64> {
    let mut marks = BTreeMap::new();
    for width in [400, 1000, 1600] {
        for is_dark in [false, true] {
            browser.open(file, width, is_dark);
            let found = browser.value(CHECK);
            let place = format!("{name}, {width} wide, dark {is_dark}");
            if let Some(dir) = std::env::var_os("LLAMA2_BENCH_SCREENSHOTS") {
                let image = base64::engine::general_purpose::STANDARD.decode(browser.screenshot()).unwrap();
                let scheme = if is_dark { "dark" } else { "light" };
                std::fs::write(Path::new(&dir).join(format!("{name}-{width}-{scheme}.png")), image).unwrap();
            }
            assert_eq!(found["faults"], json!([]), "{place}: {} faults", found["count"]);
            let ground = if is_dark { "rgb(20, 24, 29)" } else { "rgb(255, 255, 255)" };
            assert_eq!(found["ground"], ground, "{place}");
            marks = serde_json::from_value(found["marks"].clone()).unwrap();
            assert_quiet(browser, &place);
        }
    }
    browser.media("print", true);
    assert_eq!(browser.value("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
    marks
}

/// Nothing was complained of, and nothing asked for but the file.
fn assert_quiet(browser: &mut Browser, place: &str) {
    for event in browser.events.drain(..) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => panic!("{place}: {params:#}"),
            "Log.entryAdded" => panic!("{place}: {params:#}"),
            "Runtime.consoleAPICalled" => panic!("{place}: {params:#}"),
            "Page.javascriptDialogOpening" => panic!("{place}: {params:#}"),
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                let is_own = ["file:", "about:", "blob:"].iter().any(|scheme| url.starts_with(scheme));
                assert!(is_own, "{place}: asked for {url}");
            }
            _ => {}
        }
    }
}

fn all_of(_: &Row) -> bool {
    true
}

#[test]
fn a_run_with_a_cell_that_ran_out_of_memory() {
    let Some(mut browser) = browser() else { return };
    let runs = [small()];
    let page = write(&runs, &[]);
    let marks = look(&mut browser, "small", &page.file);
    assert_eq!(marks, expected::marks(&runs, &[], all_of));
    // Eleven cells are measured, and one is a cross.
    assert_eq!((marks["token-distribution"], marks["token-latency-by-batch-size"]), (11, 12));
}

#[test]
fn the_run_that_is_kept() {
    let Some(mut browser) = browser() else { return };
    let runs = [kept()];
    let page = write(&runs, &[]);
    let marks = look(&mut browser, "kept", &page.file);
    assert_eq!(marks, expected::marks(&runs, &[], all_of));
}

#[test]
fn a_run_of_one_cell() {
    let Some(mut browser) = browser() else { return };
    let records = ["onnxruntime", "pytorch-eager"].map(|engine| measured(engine, 1, 16, 0, 0.002));
    let page = write(&[run("single", records.to_vec())], &[]);
    let marks = look(&mut browser, "single", &page.file);
    // A bar for each engine: three latencies; two throughputs and the memory.
    assert_eq!((marks["overview"], marks["engines"]), (3 * 2, 3 * 2), "{marks:?}");
}

#[test]
fn two_runs_with_names_that_are_none_on_a_gpu() {
    let Some(mut browser) = browser() else { return };
    let runs = [hostile(common::HOSTILE, 1.0), hostile(common::LONG, 1.2)];
    let comparisons = [comparison(&runs[0], &runs[1])];
    let page = write(&runs, &comparisons);
    let marks = look(&mut browser, "hostile", &page.file);
    assert_eq!(marks, expected::marks(&runs, &comparisons, all_of));
    // Of each run 12 cells are measured in 5 replicates, and one failed; a comparison has 12 cells and 3 means.
    let count = |id: &str| marks[id];
    assert_eq!((count("energy-by-batch-size"), count("token-latency-map"), count("gpu")), (24, 26, 240));
    assert_eq!(count("ratio-1-prompt"), 15);
}

#[test]
fn a_large_run() {
    let Some(mut browser) = browser() else { return };
    let runs = [large()];
    let page = write(&runs, &[]);
    let marks = look(&mut browser, "large", &page.file);
    assert_eq!(marks, expected::marks(&runs, &[], all_of));
    // Six of twelve prompt lengths, and of fifteen batch sizes.
    assert_eq!(marks["token-latency-by-batch-size"], 3 * 15 * 6);
    assert_eq!(marks["token-latency-by-prompt-length"], 3 * 12 * 6);
}

#[test]
fn large_tables_are_text_until_they_are_to_be_sorted() {
    let Some(mut browser) = browser() else { return };
    let runs = [two_thousand()];
    let page = write(&runs, &[]);
    browser.open(&page.file, 1600, false);
    let marks = "Object.fromEntries([...document.querySelectorAll('figure.plot')]
      .map(figure => [figure.id, figure.querySelectorAll('.m').length]))";
    let marks: BTreeMap<String, u64> = serde_json::from_value(browser.value(marks)).unwrap();
    assert_eq!(marks, expected::marks(&runs, &[], all_of));
    let table = &runs[0].run.tables[0];
    assert_eq!(browser.value("document.querySelectorAll('#tables table').length"), 0);
    let text = browser.value("document.querySelector('#tables pre').textContent");
    assert_eq!(text.as_str().unwrap().lines().count(), 1 + table.rows.len());

    browser.value("document.querySelector('#tables .sorter').click()");
    let sort = "document.querySelector('#tables th:nth-child(4) button').click()";
    browser.value(sort);
    let columns = table.columns();
    let mut texts: Vec<String> = table.rows.iter().map(|row| row.text(columns[0])).collect();
    let number = |text: &String| text.parse().unwrap_or(f64::INFINITY);
    texts.sort_by(|one, other| number(one).total_cmp(&number(other)));
    let cells =
        "[...document.querySelector('#tables table').tBodies[0].rows].map(row => row.cells[3].textContent)";
    assert_eq!(browser.value(cells), json!(texts));
    let engine = "document.querySelector('#tables tbody td').className";
    assert_eq!(browser.value(engine), "x", "names stand to the left");
    assert_eq!(browser.value("document.querySelector('#tables td:nth-child(2)').className"), "");

    // Every record is in the download.
    let lines = download(&mut browser, "jsonl", "two-thousand.jsonl");
    assert_eq!(lines.lines().count(), 2000);
    assert_quiet(&mut browser, "large tables");
}

#[test]
fn tables_are_sorted_and_copied_and_series_downloaded() {
    let Some(mut browser) = browser() else { return };
    let run = small();
    let markdown = report::markdown::rows(&run.run.tables[0].rows, &run.run.tables[0].columns());
    let tokens = run
        .run
        .records()
        .filter_map(|record| record.series())
        .flat_map(|series| &series.generations)
        .flat_map(|one| &one.token_seconds);
    let (count, sum) =
        tokens.fold((0, 0), |(count, sum), seconds| (count + 1, sum + (seconds * 1e9).round() as i64));
    let page = write(&[run], &[]);
    browser.open(&page.file, 1000, false);

    let column = "[...document.querySelectorAll('#tables table')[0].tBodies[0].rows].map(row => row.cells[3].textContent)";
    let sort = format!(
        "document.querySelectorAll('#tables table')[0].tHead.rows[0].cells[3].firstChild.click(); {column}"
    );
    let numbers = |texts: Value| -> Vec<Option<f64>> {
        texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().parse().ok()).collect()
    };
    let rising = numbers(browser.value(&sort));
    assert!(rising[..11].windows(2).all(|pair| pair[0] <= pair[1]) && rising[11].is_none(), "{rising:?}");
    let falling = numbers(browser.value(&sort));
    assert!(falling[..11].windows(2).all(|pair| pair[0] >= pair[1]) && falling[11].is_none(), "{falling:?}");

    assert_eq!(browser.value("document.querySelector('textarea').value"), markdown.trim());

    for (kind, name) in [("jsonl", "small.jsonl"), ("csv", "small.csv")] {
        let text = download(&mut browser, kind, name);
        let read: Vec<i64> = match kind {
            "csv" => text
                .lines()
                .filter(|line| line.contains(",token,"))
                .map(|line| line.rsplit(',').next().unwrap().parse().unwrap())
                .collect(),
            _ => text
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap())
                .flat_map(|line| line["generations"].as_array().unwrap().clone())
                .flat_map(|one| one["token_ns"].as_array().unwrap().clone())
                .map(|one| one.as_i64().unwrap())
                .collect(),
        };
        assert_eq!((read.len(), read.iter().sum::<i64>()), (count, sum), "{kind}");
    }
    assert_quiet(&mut browser, "downloads");
}

#[test]
fn downloaded_csv_has_no_formulas() {
    let Some(mut browser) = browser() else { return };
    let names =
        ["=HYPERLINK(\"a\")", "+1", "-1.5", "@SUM(1)", "\t=1", "\r=1", "'=1", "__proto__", "onnxruntime"];
    let mut records: Vec<Measurement> = names.iter().map(|name| measured(name, 1, 16, 0, 0.002)).collect();
    records[0].key.model = "=2".into();
    let page = write(&[run("formulas", records)], &[]);
    browser.open(&page.file, 1000, false);
    let lines = download(&mut browser, "csv", "formulas.csv");
    let mut reader = csv::Reader::from_reader(lines.as_bytes());
    let records = reader.records().map(Result::unwrap);
    let fields: BTreeSet<String> =
        records.flat_map(|record| [record[0].to_owned(), record[1].to_owned()]).collect();
    let texts = names.iter().chain(&["=2", "llama2-15m"]);
    assert_eq!(fields, texts.map(|text| results::csv_field(text)).collect());
    assert!(!fields.iter().any(|field| field.starts_with(['=', '+', '-', '@', '\t', '\r'])), "{fields:?}");
    let lines = download(&mut browser, "jsonl", "formulas.jsonl");
    let engine =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["engine"].as_str().unwrap().to_owned();
    assert_eq!(lines.lines().map(engine).collect::<BTreeSet<_>>(), names.map(String::from).into());
    assert_quiet(&mut browser, "formulas");
}

/// The text of a file that the first button `kind` downloads.
fn download(browser: &mut Browser, kind: &str, name: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let behavior = json!({"behavior": "allow", "downloadPath": dir.path(), "eventsEnabled": true});
    browser.ask("Browser.setDownloadBehavior", behavior);
    browser.value(&format!("document.querySelector('[data-as={kind}]').click()"));
    let begun = browser.wait(|event| event["params"]["suggestedFilename"] == name);
    let is_done = |event: &Value| {
        event["params"]["guid"] == begun["params"]["guid"] && event["params"]["state"] == "completed"
    };
    browser.wait(is_done);
    std::fs::read_to_string(dir.path().join(name)).unwrap()
}
