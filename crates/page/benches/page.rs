//! A page of 2,000 cells with their raw series: how long it takes to make, and a browser to show.
//!
//! `cargo bench -p page` prints the page's size and its number of elements, then times making it, loading it in Chromium until its
//! script has run, and hiding an engine until the next frame. Without Chromium only making it is timed.

#[path = "../tests/browser/cdp.rs"]
mod cdp;
#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::Duration;

use cdp::Browser;
use criterion::{Criterion, criterion_group, criterion_main};
use page::{AuditedRun, Html, Page};
use results::Exporter as _;

/// Milliseconds from the navigation until the script has run, until the first paint, and until the load event has ended.
const LOADED: &str = "new Promise(done => {
  const told = () => {
    const { domContentLoadedEventEnd, loadEventEnd } = performance.getEntriesByType('navigation')[0];
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    if (loadEventEnd && paint) done([domContentLoadedEventEnd, paint.startTime, loadEventEnd]);
    else requestAnimationFrame(told);
  };
  told();
})";

/// Milliseconds from a click in the first legend until the frame after it is drawn.
const CLICKED: &str = "new Promise(done => {
  const begin = performance.now();
  document.querySelector('.legend button').click();
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begin)));
})";

const ELEMENTS: &str = "document.querySelectorAll('*').length";

fn html(runs: &[AuditedRun]) -> String {
    Html.write(&Page::new(runs, &[])).text
}

fn milliseconds(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1e3)
}

fn loaded(browser: &mut Browser, file: &Path) -> [f64; 3] {
    browser.open(file, 1600, false);
    browser.events.clear();
    serde_json::from_value(browser.value(LOADED)).expect("three times")
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn page(criterion: &mut Criterion) {
    let runs = [common::two_thousand()];
    let text = html(&runs);
    println!("2,000 cells: {} bytes", text.len());
    let mut group = criterion.benchmark_group("2,000 cells");
    group.sample_size(10);
    group.bench_function("make the page", |bencher| bencher.iter(|| html(&runs)));
    let Some(chromium) = cdp::find() else {
        println!("no chromium in PATH: loading is not timed");
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("report.html");
    std::fs::write(&file, text).expect("a file");
    let mut browser = Browser::start(&chromium);
    let [script, paint, load] = loaded(&mut browser, &file);
    let elements = browser.value(ELEMENTS);
    println!(
        "{elements} elements; script has run after {script:.0} ms, first paint {paint:.0} ms, load {load:.0} ms"
    );
    group.bench_function("load until interactive", |bencher| {
        bencher.iter_custom(|count| {
            let each = (0..count).map(|_| loaded(&mut browser, &file).into_iter().fold(0.0, f64::max));
            milliseconds(each.sum())
        });
    });
    group.bench_function("hide or show an engine", |bencher| {
        bencher.iter_custom(|count| {
            let each = (0..count).map(|_| browser.value(CLICKED).as_f64().expect("a time"));
            milliseconds(each.sum())
        });
    });
    group.finish();
}

criterion_group!(benches, page);
criterion_main!(benches);
