//! What a reader can do: filter, choose a reference, point at marks; all of it by keyboard. And what is there without JavaScript.

use std::collections::{BTreeMap, BTreeSet};

use page::{AuditedRun, Comparison};
use results::Row;
use serde_json::{Value, json};

use super::cdp::Browser;
use super::common::{HOSTILE, LONG, RIGHT_TO_LEFT, comparison, hostile, measured, run, small};
use super::{all_of, assert_quiet, browser, expected, write};

/// The marks of each plot that are to be seen, of plots that have any.
const SEEN: &str = "(() => {
  const seen = {};
  for (const figure of document.querySelectorAll('figure.plot')) {
    const marks = [...figure.querySelectorAll('.m')].filter(mark => mark.getClientRects().length);
    if (marks.length) seen[figure.id] = marks.length;
  }
  return seen;
})()";

/// Checks that each line goes through the marks that are to be seen, and no others.
const LINES: &str = "(() => {
  const isSeen = element => element.getClientRects().length > 0;
  const place = mark => `${mark.getAttribute('x')} ${mark.getAttribute('y')}`;
  const places = line => (line.getAttribute('d') ?? '').split(/[ML]/).filter(Boolean);
  const wrong = [];
  let count = 0;
  for (const group of document.querySelectorAll('.panel g.series')) {
    const line = group.querySelector(':scope > path.l:not(.m)');
    if (!line || !isSeen(group)) continue;
    const marks = [...group.querySelectorAll(':scope > use.p')].filter(isSeen).map(place);
    if (marks.join() !== places(line).join()) wrong.push(line.outerHTML);
    if (marks.length > 1) count += 1;
  }
  for (const line of document.querySelectorAll('.panel path.front')) {
    const marks = [...line.closest('.panel').querySelectorAll('use.m')].filter(isSeen);
    const beaten = (mark, other) => ['x', 'y'].map(name => mark.getAttribute(name) - other.getAttribute(name));
    const front = marks.filter(mark => !marks.some(other => {
      const [x, y] = beaten(mark, other);
      return x <= 0 && y >= 0 && (x < 0 || y > 0);
    }));
    if (new Set(front.map(place)).size !== new Set(places(line)).size) wrong.push(line.outerHTML);
    if (!front.every(mark => places(line).includes(place(mark)))) wrong.push(line.outerHTML);
    const labels = [...line.closest('.panel').querySelectorAll('text.batch')].filter(isSeen);
    const labelled = label => [['x', -7], ['y', 4]].map(([name, by]) => Math.round((Number(label.getAttribute(name)) + by) * 10) / 10).join(' ');
    if (isSeen(line) && !labels.length) wrong.push('no batch size beside the front');
    if (!labels.every(label => places(line).includes(labelled(label)))) wrong.push('a batch size that is not at the front');
  }
  return { count, wrong };
})()";

/// Every line as it is.
const PATHS: &str =
    "[...document.querySelectorAll('.panel path')].map(path => path.getAttribute('d')).join(' ')";

const CHOSEN: &str = "document.getElementById('chosen').textContent";

/// The box, or null where it is hidden.
const TIP: &str = "(() => {
  const tip = document.getElementById('tip');
  if (tip.hidden) return null;
  const rows = {};
  for (const name of tip.querySelectorAll('dt')) {
    const text = name.nextElementSibling.textContent;
    (rows[name.textContent] ??= []).push(text);
  }
  const tags = [...new Set([...tip.querySelectorAll('*')].map(one => one.tagName))].sort();
  const { left, right } = tip.getBoundingClientRect();
  return { head: tip.querySelector('b').textContent, rows, tags, isInside: left >= 0 && right <= innerWidth };
})()";

const LIVE: &str = "document.querySelector('[aria-live]').textContent";

/// The marks to be seen of cells that `is_kept`, with the speedups over the first reference alone.
fn seen(
    runs: &[AuditedRun],
    comparisons: &[Comparison],
    is_kept: impl Fn(&Row) -> bool,
) -> BTreeMap<String, u64> {
    let mut marks = expected::marks(runs, comparisons, is_kept);
    marks.retain(|id, _| !id.starts_with("speedup-"));
    marks
}

fn read_seen(browser: &mut Browser) -> BTreeMap<String, u64> {
    serde_json::from_value(browser.value(SEEN)).unwrap()
}

fn assert_seen(browser: &mut Browser, runs: &[AuditedRun], is_kept: impl Fn(&Row) -> bool, what: &str) {
    assert_eq!(read_seen(browser), seen(runs, &[], is_kept), "{what}");
    let lines = browser.value(LINES);
    assert_eq!(lines["wrong"], json!([]), "{what}");
    assert!(lines["count"].as_u64().unwrap() > 0, "{what}");
}

fn click(browser: &mut Browser, selector: &str) {
    browser.value(&format!("document.querySelector({}).click()", json!(selector)));
}

/// Moves the pointer to the middle of the first element that `selector` selects.
fn point(browser: &mut Browser, selector: &str) {
    let place = browser.value(&format!(
        "(() => {{
          const mark = document.querySelector({});
          mark.scrollIntoView({{ block: 'center', behavior: 'instant' }});
          const {{ left, top, width, height }} = mark.getBoundingClientRect();
          return [left + width / 2, top + height / 2];
        }})()",
        json!(selector)
    ));
    let at = json!({"type": "mouseMoved", "x": place[0], "y": place[1]});
    browser.ask("Input.dispatchMouseEvent", at);
}

/// Presses and releases a key.
fn press(browser: &mut Browser, key: &str) {
    let (name, code, text) = match key {
        "Tab" => ("Tab", 9, ""),
        "Enter" => ("Enter", 13, "\r"),
        "Escape" => ("Escape", 27, ""),
        "Space" => (" ", 32, " "),
        "End" => ("End", 35, ""),
        "Home" => ("Home", 36, ""),
        "ArrowLeft" => ("ArrowLeft", 37, ""),
        "ArrowUp" => ("ArrowUp", 38, ""),
        "ArrowRight" => ("ArrowRight", 39, ""),
        "ArrowDown" => ("ArrowDown", 40, ""),
        other => panic!("no key {other}"),
    };
    let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
    let mut down = json!({"type": kind, "key": name, "code": key, "windowsVirtualKeyCode": code});
    if !text.is_empty() {
        down["text"] = json!(text);
    }
    browser.ask("Input.dispatchKeyEvent", down);
    let up = json!({"type": "keyUp", "key": name, "code": key, "windowsVirtualKeyCode": code});
    browser.ask("Input.dispatchKeyEvent", up);
}

fn rows(runs: &[AuditedRun]) -> Vec<&Row> {
    runs.iter().flat_map(|run| &run.run.tables).flat_map(|table| &table.rows).collect()
}

#[test]
fn engines_and_sizes_are_hidden_everywhere_and_shown_again() {
    let Some(mut browser) = browser() else { return };
    let runs = [small()];
    let page = write(&runs, &[]);
    browser.open(&page.file, 1600, false);
    assert_seen(&mut browser, &runs, all_of, "nothing is hidden");
    let paths = browser.value(PATHS);

    click(&mut browser, "#token-latency-by-batch-size .legend li[data-e='0'] button");
    assert_seen(&mut browser, &runs, |row| row.key.engine != "onnxruntime", "without an engine");
    assert_eq!(browser.value(CHOSEN), "6 of 12 cells");
    assert_eq!(browser.value(LIVE), "Plots show 6 of 12 cells.");
    let pressed = "[...new Set([...document.querySelectorAll('.legend li[data-e] button')]
      .map(button => `${button.parentNode.dataset.e} ${button.ariaPressed}`))].sort()";
    assert_eq!(browser.value(pressed), json!(["0 false", "1 true"]));
    let checked = "[...document.querySelectorAll('[name=engine]')].map(box => box.checked)";
    assert_eq!(browser.value(checked), json!([false, true]));

    // The toolbar shows the same: the engine is back.
    click(&mut browser, "[name=engine][value='0']");
    assert_eq!(browser.value(pressed), json!(["0 true", "1 true"]));
    assert_seen(&mut browser, &runs, all_of, "shown again");

    click(&mut browser, "[name=batch][value='4']");
    assert_seen(&mut browser, &runs, |row| row.key.batch_size != 4, "without a batch size");
    let panels = "document.querySelectorAll('#token-latency-by-prompt-length .panel:not(.gone)').length";
    assert_eq!(browser.value(panels), 2);
    click(&mut browser, "[name=prompt][value='256']");
    let is_kept = |row: &Row| row.key.batch_size != 4 && row.key.prompt_length != 256;
    assert_seen(&mut browser, &runs, is_kept, "without a batch size and a prompt length");
    assert_eq!(browser.value(CHOSEN), "4 of 12 cells");
    // Figures in cells of a map, and whiskers, go with their marks.
    let left = "[...document.querySelectorAll('#token-latency-map .s, #token-latency-by-batch-size .w')]
      .filter(one => one.getClientRects().length).length";
    assert_eq!(browser.value(left), 4 + 4);
    click(&mut browser, "[name=engine][value='1']");
    let is_kept = |row: &Row| is_kept(row) && row.key.engine != "pytorch-eager";
    assert_eq!(read_seen(&mut browser), seen(&runs, &[], is_kept));

    click(&mut browser, "#controls [type=reset]");
    browser.value("new Promise(done => setTimeout(done))");
    assert_seen(&mut browser, &runs, all_of, "all is shown");
    assert_eq!(browser.value(PATHS), paths);
    assert_eq!(browser.value(CHOSEN), "all engines, all cells");
    assert_eq!(browser.value("document.querySelectorAll('#controls input:not(:checked)').length"), 0);
    assert_quiet(&mut browser, "filters");
}

#[test]
fn a_comparison_and_the_gpu_follow_the_filters() {
    let Some(mut browser) = browser() else { return };
    let runs = [hostile("before", 1.0), hostile("after", 1.2)];
    let comparisons = [comparison(&runs[0], &runs[1])];
    let page = write(&runs, &comparisons);
    browser.open(&page.file, 1600, false);
    assert_eq!(read_seen(&mut browser), seen(&runs, &comparisons, all_of));
    click(&mut browser, "[name=engine][value='1']");
    assert_eq!(read_seen(&mut browser), seen(&runs, &comparisons, |row| row.key.engine != LONG));
    click(&mut browser, "[name=batch][value='8']");
    let is_kept = |row: &Row| row.key.engine != LONG && row.key.batch_size != 8;
    assert_eq!(read_seen(&mut browser), seen(&runs, &comparisons, is_kept));
    // The box of a ratio has the figures of the candidate's cell.
    point(&mut browser, "#ratio-1-prompt .m[data-c]:not(.gone)");
    let tip = browser.value(TIP);
    assert!(tip["rows"]["Wall clock"].is_array(), "{tip}");
    assert_quiet(&mut browser, "a comparison");
}

#[test]
fn a_reference_is_chosen_and_the_box_has_the_ratio_to_it() {
    let Some(mut browser) = browser() else { return };
    let runs = [small()];
    let page = write(&runs, &[]);
    browser.open(&page.file, 1600, false);
    let speedups = "[...document.querySelectorAll('figure[data-reference]')]
      .filter(one => one.getClientRects().length).map(one => one.querySelector('h3').textContent)";
    assert_eq!(browser.value(speedups), json!(["Speedup over pytorch-eager"]));
    assert_eq!(browser.value("document.querySelectorAll('details.references').length"), 0);
    let options = "[...document.querySelectorAll('#controls option')].map(one => one.textContent)";
    assert_eq!(browser.value(options), json!(["onnxruntime", "pytorch-eager"]));

    let rows = rows(&runs);
    let seconds = |engine: &str| {
        let row = rows.iter().find(|row| row.key.engine == engine && row.key.size().to_string() == "4×256");
        row.unwrap().figures.as_ref().unwrap().token.mean
    };
    let near = |text: &str, value: f64| {
        let number: f64 = text.split([' ', '×']).next().unwrap().parse().unwrap();
        assert!((number / value - 1.0).abs() < 0.006, "{text}, not {value}");
    };
    let cell = |engine: &str| {
        rows.iter().position(|row| row.key.engine == engine && row.key.size().to_string() == "4×256").unwrap()
    };
    let check = |browser: &mut Browser, engine: &str, reference: &str| {
        point(browser, &format!("#token-latency-map [data-c='{}']", cell(engine)));
        let tip = browser.value(TIP);
        assert_eq!(tip["rows"]["Prompt latency (TTFT)"].as_array().unwrap().len(), 1, "{tip}");
        near(tip["rows"]["Token latency"][0].as_str().unwrap(), seconds(engine) * 1e3);
        let speedup = &tip["rows"]["Speedup (decode)"];
        if engine == reference {
            assert_eq!(*speedup, Value::Null, "{tip}");
        } else {
            let ratio = speedup[0].as_str().unwrap();
            assert!(ratio.ends_with(&format!("× over {reference}")), "{ratio}");
            near(ratio, seconds(reference) / seconds(engine));
        }
    };
    check(&mut browser, "onnxruntime", "pytorch-eager");
    check(&mut browser, "pytorch-eager", "pytorch-eager");
    click(&mut browser, "#controls summary");
    browser.value("document.querySelector('[name=reference]').focus()");
    press(&mut browser, "ArrowUp");
    assert_eq!(browser.value(speedups), json!(["Speedup over onnxruntime"]));
    assert_eq!(browser.value(TIP), Value::Null, "the ratio is to another engine");
    check(&mut browser, "onnxruntime", "onnxruntime");
    check(&mut browser, "pytorch-eager", "onnxruntime");

    // A cell that ran out of memory says so.
    point(&mut browser, "#token-latency-map .m.oom");
    let tip = browser.value(TIP);
    assert_eq!(tip["rows"], json!({"OOM": ["std::bad_alloc"]}));
    point(&mut browser, "h1");
    assert_eq!(browser.value(TIP), Value::Null);
    assert_quiet(&mut browser, "reference");
}

#[test]
fn tables_of_two_models_have_references_of_their_own() {
    let Some(mut browser) = browser() else { return };
    // The eager engine takes twice as long in one model, and five times in the other; a third model has other engines.
    let models = [
        ("llama2-15m", [("mock", 0.002), ("pytorch-eager", 0.004)]),
        ("llama2-42m", [("mock", 0.002), ("pytorch-eager", 0.010)]),
        ("llama2-110m", [("one", 0.002), ("other", 0.006)]),
    ];
    let mut records = Vec::new();
    for (model, engines) in models {
        for (engine, seconds) in engines {
            for batch in [1, 4] {
                let mut record = measured(engine, batch, 16, 0, seconds);
                record.key.model = model.into();
                records.push(record);
            }
        }
    }
    let page = write(&[run("models", records)], &[]);
    browser.open(&page.file, 1000, false);
    for (group, least, most) in [("g1", 1.9, 2.1), ("g2", 4.8, 5.2)] {
        point(&mut browser, &format!("#{group}-token-latency-by-batch-size .m.e0"));
        let tip = browser.value(TIP);
        let ratio = tip["rows"]["Speedup (decode)"][0].as_str().unwrap().to_owned();
        let number: f64 = ratio.split('×').next().unwrap().parse().unwrap();
        assert!((least..most).contains(&number), "{group}: {ratio}");
    }
    let shown = "[...document.querySelectorAll('figure[data-reference]')].filter(one => one.checkVisibility()).map(one => one.id)";
    assert_eq!(browser.value(shown), json!(["g1-speedup", "g2-speedup", "g3-speedup"]));
    let links = "[...document.querySelectorAll('.contents a')].every(link => document.querySelector(link.hash).checkVisibility())";
    assert_eq!(browser.value(links), json!(true));
    assert_quiet(&mut browser, "models");
}

#[test]
fn every_table_is_sorted_by_every_column() {
    let Some(mut browser) = browser() else { return };
    let page = write(&[small()], &[]);
    browser.open(&page.file, 1000, false);
    let sort = "(() => {
      const heads = [...document.querySelectorAll('table.sortable th')];
      heads.forEach(head => head.firstChild.click());
      return heads.length;
    })()";
    assert!(browser.value(sort).as_u64().unwrap() > 100, "every plot has data");
    assert_quiet(&mut browser, "sorted");
}

#[test]
fn every_control_is_reached_by_keyboard() {
    let Some(mut browser) = browser() else { return };
    let mut run = small();
    run.run.environments[0].load_average = 3.5;
    let page = write(&[run], &[]);
    browser.open(&page.file, 1000, false);
    // What a reader can use, numbered.
    let controls = "(() => {
      const all = [...document.querySelectorAll('a[href], summary, input, select, button, textarea, [tabindex]')]
        .filter(one => one.checkVisibility());
      const name = one => `${one.tagName} ${one.id || one.name || one.closest('[id]')?.id} ${one.textContent.slice(0, 30)}`;
      return all.map(one => [one.dataset.number ??= String(document.querySelectorAll('[data-number]').length + 1), name(one)]);
    })()";
    let focused = "(() => {
      const one = document.activeElement;
      if (one === document.body) return null;
      const { outlineStyle, outlineWidth } = getComputedStyle(one);
      const isSeen = one.matches(':focus-visible') && outlineStyle !== 'none' && parseFloat(outlineWidth) > 0;
      return { isSeen, isClosed: one.tagName === 'SUMMARY' && !one.parentNode.open, number: one.dataset.number ?? null, html: one.outerHTML.slice(0, 100) };
    })()";
    browser.value(controls);
    let mut reached: BTreeSet<String> = BTreeSet::new();
    loop {
        press(&mut browser, "Tab");
        let here = browser.value(focused);
        if here.is_null() {
            break;
        }
        assert_eq!(here["isSeen"], true, "{here}");
        if here["isClosed"] == true {
            press(&mut browser, "Enter");
            assert_eq!(browser.value("document.activeElement.parentNode.open"), true, "{here}");
            browser.value(controls);
        }
        if let Some(number) = here["number"].as_str() {
            assert!(reached.insert(number.to_owned()), "twice: {here}");
        }
    }
    let all: Vec<(String, String)> = serde_json::from_value(browser.value(controls)).unwrap();
    let missed: Vec<&String> =
        all.iter().filter(|(number, _)| !reached.contains(number)).map(|(_, name)| name).collect();
    assert!(missed.is_empty(), "{missed:?}");
    let kinds = |kind: &str| all.iter().filter(|(_, name)| name.starts_with(kind)).count();
    for kind in
        ["A ", "SUMMARY", "INPUT engine", "INPUT batch", "INPUT prompt", "SELECT reference", "BUTTON", "svg"]
    {
        assert!(kinds(kind) > 0, "{kind}: {all:?}");
    }
    assert_quiet(&mut browser, "keyboard");
}

#[test]
fn links_lead_to_their_plots() {
    let Some(mut browser) = browser() else { return };
    let runs = [small()];
    let page = write(&runs, &[]);
    browser.open(&page.file, 1000, false);
    let links = "document.querySelectorAll('.contents a, nav a').length";
    let count = browser.value(links).as_u64().unwrap();
    assert!(count > 15, "{count}");
    for index in 0..count {
        // From the top each time, where no plot below was drawn yet.
        browser.open(&page.file, 1000, false);
        let gone = browser.value(&format!(
            "new Promise(done => {{
              const link = document.querySelectorAll('.contents a, nav a')[{index}];
              const target = document.querySelector(link.getAttribute('href'));
              link.click();
              const told = () => done([link.textContent, target.getBoundingClientRect().top, innerHeight + scrollY >= document.documentElement.scrollHeight - 1]);
              requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(told)));
            }})"
        ));
        let top = gone[1].as_f64().unwrap();
        // At the end of the page the last sections stand lower.
        assert!((0.0..100.0).contains(&top) || top > 0.0 && gone[2] == true, "{gone}");
    }
    // An open toolbar covers no heading.
    browser.value("document.querySelector('#controls details').open = true");
    let covers = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
      document.querySelector('.contents a').click();
      const target = document.querySelector(document.querySelector('.contents a').getAttribute('href'));
      requestAnimationFrame(() => done(document.getElementById('controls').getBoundingClientRect().bottom
        - target.getBoundingClientRect().top));
    })))";
    assert!(browser.value(covers).as_f64().unwrap() <= 0.0);
    assert_quiet(&mut browser, "links");
}

#[test]
fn keys_do_what_a_pointer_does() {
    let Some(mut browser) = browser() else { return };
    let runs = [small()];
    let page = write(&runs, &[]);
    browser.open(&page.file, 1000, false);
    let focus = |browser: &mut Browser, selector: &str| {
        browser.value(&format!("document.querySelector({}).focus()", json!(selector)));
    };

    focus(&mut browser, ".legend li[data-e='0'] button");
    press(&mut browser, "Space");
    assert_seen(&mut browser, &runs, |row| row.key.engine != "onnxruntime", "a legend by keyboard");
    press(&mut browser, "Enter");
    assert_seen(&mut browser, &runs, all_of, "a legend by keyboard, again");
    focus(&mut browser, "#controls summary");
    press(&mut browser, "Enter");
    focus(&mut browser, "[name=batch][value='16']");
    press(&mut browser, "Space");
    assert_seen(&mut browser, &runs, |row| row.key.batch_size != 16, "a checkbox by keyboard");
    focus(&mut browser, "#controls [type=reset]");
    press(&mut browser, "Enter");
    browser.value("new Promise(done => setTimeout(done))");
    assert_seen(&mut browser, &runs, all_of, "all is shown by keyboard");

    focus(&mut browser, "#tables th:nth-child(4) button");
    press(&mut browser, "Enter");
    let sorted = "document.querySelector('#tables th:nth-child(4)').getAttribute('aria-sort')";
    assert_eq!(browser.value(sorted), "ascending");

    // Arrows walk the marks of a panel.
    let titles: Vec<String> = serde_json::from_value(browser.value(
        "[...document.querySelector('#token-latency-by-batch-size .panel').querySelectorAll('.m title')].map(title => title.textContent)",
    ))
    .unwrap();
    let last = titles.len() - 1;
    assert!(last > 3);
    focus(&mut browser, "#token-latency-by-batch-size .panel");
    assert_eq!(browser.value(TIP), Value::Null);
    let steps = [
        ("ArrowRight", 0),
        ("ArrowRight", 1),
        ("ArrowDown", 2),
        ("ArrowLeft", 1),
        ("ArrowUp", 0),
        ("ArrowUp", last),
        ("ArrowRight", 0),
        ("End", last),
        ("Home", 0),
    ];
    for (key, place) in steps {
        press(&mut browser, key);
        let tip = browser.value(TIP);
        assert_eq!(tip["head"], titles[place].as_str(), "{key}");
        assert!(tip["rows"]["Wall clock"].is_array() && tip["isInside"] == true, "{tip}");
        let live = browser.value(LIVE);
        assert!(
            live.as_str().unwrap().starts_with(&format!("{}; Prompt latency (TTFT) ", titles[place])),
            "{live}"
        );
    }
    press(&mut browser, "Escape");
    assert_eq!(browser.value(TIP), Value::Null);
    press(&mut browser, "ArrowRight");
    assert_ne!(browser.value(TIP), Value::Null);
    press(&mut browser, "Tab");
    assert_eq!(browser.value(TIP), Value::Null);
    // The titles that browsers show are there again.
    let title = "document.querySelector('#token-latency-by-batch-size .m title').textContent";
    assert_eq!(browser.value(title), titles[0].as_str());
    assert_quiet(&mut browser, "keys");
}

#[test]
fn the_page_is_complete_without_javascript() {
    let Some(mut browser) = browser() else { return };
    let runs = [small()];
    let page = write(&runs, &[]);
    browser.ask("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    browser.open(&page.file, 1000, false);
    assert_eq!(browser.value("document.querySelectorAll('[aria-live]').length"), 0, "a script ran");
    // Nothing that needs a script is to be seen.
    let inert = "[...document.querySelectorAll('button, input, select, textarea, form, svg[tabindex]')]
      .filter(one => one.checkVisibility()).map(one => one.outerHTML)";
    assert_eq!(browser.value(inert), json!([]));
    let words = "[...document.querySelectorAll('noscript')].filter(one => one.checkVisibility()).length";
    assert_eq!(browser.value(words), 1);
    // The other references' speedups are folded.
    let folded = "[...document.querySelectorAll('details.references figure')].map(figure => figure.id)";
    assert_eq!(browser.value(folded), json!(["speedup-1"]));
    for _ in 0..2 {
        browser.value("document.querySelectorAll('details:not([open]) > summary').forEach(one => one.checkVisibility() && one.click())");
    }
    assert_eq!(read_seen(&mut browser), expected::marks(&runs, &[], all_of));
    let tables = "[...document.querySelectorAll('table')].filter(one => one.checkVisibility() && one.tBodies[0].rows.length).length
      - document.querySelectorAll('table').length";
    assert_eq!(browser.value(tables), 0);
    assert_eq!(browser.value("document.querySelectorAll('#tables tbody')[0].rows.length"), 12);
    assert_eq!(browser.value("document.querySelectorAll('#caveats li').length > 0"), true);
    assert_eq!(browser.value(inert), json!([]));
}

#[test]
fn hostile_names_and_notes_stay_text() {
    let Some(mut browser) = browser() else { return };
    let runs = [hostile(HOSTILE, 1.0), hostile(LONG, 1.2)];
    let comparisons = [comparison(&runs[0], &runs[1])];
    let page = write(&runs, &comparisons);
    let names = [HOSTILE, LONG, RIGHT_TO_LEFT].map(results::one_line);
    for width in [400, 1000] {
        browser.open(&page.file, width, false);
        browser.value("document.querySelectorAll('details').forEach(one => { one.open = true; })");
        for (slot, name) in names.iter().enumerate() {
            point(&mut browser, &format!("#token-latency-map [data-e='{slot}'] .m"));
            let tip = browser.value(TIP);
            assert!(tip["head"].as_str().unwrap().starts_with(name.as_str()), "{tip}");
            assert_eq!(
                (&tip["tags"], &tip["isInside"]),
                (&json!(["B", "DD", "DL", "DT"]), &json!(true)),
                "{tip}"
            );
            let legend =
                format!("document.querySelector('#overview .legend li[data-e=\"{slot}\"] span').textContent");
            assert_eq!(browser.value(&legend), format!("{name} (A)"));
            let toolbar =
                format!("document.querySelector('[name=engine][value=\"{slot}\"]').parentNode.textContent");
            assert_eq!(browser.value(&toolbar), name.as_str());
            let cell = format!(
                "JSON.parse(document.getElementById('cells').textContent).cells.find(cell => cell[0] === {slot})[4]"
            );
            assert!(browser.value(&cell).as_str().unwrap().starts_with(name.as_str()));
        }
        // The ratio in the box names the reference.
        point(&mut browser, "#token-latency-map [data-e='1'] .m");
        let ratio = browser.value(TIP)["rows"]["Speedup (decode)"][0].clone();
        assert!(ratio.as_str().unwrap().ends_with(&format!("× over {}", names[0])), "{ratio}");
        // How the failed cell ended is a text of the run, too.
        point(&mut browser, "#token-latency-map .m.oom");
        assert_eq!(
            browser.value(TIP)["rows"].as_object().unwrap().values().next().unwrap(),
            &json!([names[0]])
        );
        let caveats = browser.value("document.getElementById('caveats').textContent");
        assert!(names.iter().all(|name| caveats.as_str().unwrap().contains(name.as_str())), "{caveats}");
        let wide = browser.value("document.documentElement.scrollWidth");
        assert_eq!(wide, width, "nothing makes the page wider");
        // The page's own, the cells, and the series of both runs.
        assert_eq!(browser.value("document.querySelectorAll('script').length"), 4);
        assert_eq!(browser.value("document.querySelectorAll('img, iframe, object').length"), 0);
        assert_eq!(browser.value("document.body.textContent.includes('\\u202e')"), false);
        assert_quiet(&mut browser, "hostile");
    }
}
