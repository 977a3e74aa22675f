//! Snapshots of every format, over a comparison with everything in it.

use compare::{Github, Junit, Report};
use results::{Csv, Exporter as _, Json, Markdown, Terminal};
use stats::Verdict;

mod sample;

#[test]
fn terminal() {
    let write = |width, is_coloured| Terminal { width, is_coloured }.write(&sample::report()).text;
    insta::assert_snapshot!("terminal_80", write(Some(80), false));
    insta::assert_snapshot!("terminal_120", write(Some(120), false));
    insta::assert_snapshot!("terminal", write(None, false));
    insta::assert_snapshot!("terminal_colour", write(Some(80), true).replace('\u{1b}', "ESC"));
}

#[test]
fn a_grid_is_no_wider_than_the_screen() {
    for width in 80..150 {
        let text = Terminal { width: Some(width), is_coloured: false }.write(&sample::report()).text;
        let grids = text.lines().filter(|line| line.starts_with([' ', '─']));
        assert!(grids.map(|line| line.chars().count()).max().unwrap() <= usize::from(width), "{width}");
    }
}

#[test]
fn a_terminal_of_20_columns_is_no_reason_to_panic() {
    assert!(Terminal { width: Some(20), is_coloured: true }.write(&sample::report()).text.contains("engine"));
}

#[test]
fn without_colour_nothing_steers_a_terminal() {
    let text = Terminal { width: Some(120), is_coloured: false }.write(&sample::report()).text;
    assert_eq!(results::plain(&text), text);
}

#[test]
fn markdown() {
    insta::assert_snapshot!(Markdown.write(&sample::report()).text);
}

/// A report whose first section has `lines` lines of `verdict`.
fn long(lines: usize, verdict: Verdict) -> Report {
    let mut report = sample::report();
    let line = sample::line(sample::HOSTILE, 1, verdict, [1.0, 1.2], 0.001);
    report.tables[0].sections[0].cells = vec![line; lines];
    report
}

#[test]
fn a_comment_is_never_too_long_for_github_and_says_what_it_leaves_out() {
    for verdict in [Verdict::Improved, Verdict::Regressed, Verdict::Unchanged, Verdict::Inconclusive] {
        let text = Markdown.write(&long(10_000, verdict)).text;
        assert!((50_000..=65_280).contains(&text.len()), "{verdict:?} {}", text.len());
        assert!(
            text.contains("more are left out") && text.contains("Left out for lack of room: "),
            "{verdict:?}"
        );
        let other = text.contains("onnxruntime | 16×256 | Wall-Clock Latency");
        assert!(other || verdict == Verdict::Regressed, "{verdict:?}: the other table's regression is there");
    }
}

#[test]
fn nothing_long_drives_out_what_regressed() {
    let mut report = sample::report();
    report.baseline = "b".repeat(100_000);
    report.notes = vec!["n".repeat(1000); 1000];
    report.differences = vec![report.differences[1].clone(); 1000];
    report.tables[0].missing = vec![report.tables[0].missing[0].clone(); 1000];
    let text = Markdown.write(&report).text;
    assert!(text.len() <= 65_280 && text.contains("### Regressed and improved"), "{}", text.len());
    assert!(text.contains("onnxruntime | 16×256 | Wall-Clock Latency"));
}

#[test]
fn json() {
    let text = Json.write(&sample::report()).text;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["candidate"], sample::report().candidate);
    assert_eq!(value["tables"][0]["sections"][0]["cells"][0]["baseline"]["value"], 0.012_07);
    assert_eq!(results::plain(&text), text, "nothing steers a terminal");
    insta::assert_snapshot!(text);
}

#[test]
fn csv_has_a_row_for_every_figure_and_end() {
    let report = sample::report();
    let ends: usize = report.tables.iter().map(|table| table.ends.len()).sum();
    assert_eq!(Csv.write(&report).text.lines().count(), 1 + report.lines().count() + ends);
}

#[test]
fn junit() {
    let text = Junit.write(&sample::report()).text;
    let document = roxmltree::Document::parse(&text).unwrap();
    let hostile = results::one_line(sample::HOSTILE);
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    let of_hostile = cases.filter(|case| case.attribute("classname").unwrap().ends_with(&hostile));
    assert_eq!(of_hostile.count(), 3);
    insta::assert_snapshot!(text);
}

#[test]
fn the_counts_of_suites_are_those_of_their_cases() {
    let text = Junit.write(&sample::report()).text;
    let document = roxmltree::Document::parse(&text).unwrap();
    for suite in document.descendants().filter(|node| node.tag_name().name().starts_with("testsuite")) {
        for (attribute, tag) in [("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")] {
            let found = suite.descendants().filter(|node| node.has_tag_name(tag)).count();
            assert_eq!(suite.attribute(attribute), Some(found.to_string().as_str()), "{attribute}");
        }
    }
}

#[test]
fn no_two_cases_have_the_same_class_and_name() {
    let text = Junit.write(&sample::report()).text;
    let document = roxmltree::Document::parse(&text).unwrap();
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    let names = cases.iter().map(|case| (case.attribute("classname"), case.attribute("name")));
    assert_eq!(names.collect::<std::collections::HashSet<_>>().len(), cases.len());
}

#[test]
fn github() {
    insta::assert_snapshot!(Github.write(&sample::report()).text);
}

#[test]
fn github_shows_ten_errors_of_a_step() {
    let errors = |regressed| {
        let mut report = long(regressed, Verdict::Regressed);
        report.tables.truncate(1);
        report.tables[0].ends.clear();
        report.tables[0].sections[0].means.clear();
        let text = Github.write(&report).text;
        text.lines().filter(|line| line.starts_with("::error ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (ten, eleven) = (errors(10), errors(11));
    assert_eq!((ten.len(), eleven.len()), (10, 10));
    assert!(!ten[9].contains("more"));
    assert_eq!(eleven[9], "::error title=llama2-bench::… and 2 more regressed");
}

#[test]
fn a_round_that_does_not_say_takes_no_verdict_of_change_back() {
    let before = sample::report();
    let open = before.open_cells();
    assert!(
        open.contains(&("pytorch-eager".into(), protocol::CellSize { batch_size: 1, prompt_length: 16 }))
    );
    let verdicts =
        |report: &Report| report.lines().map(|(_, line)| (line.verdict, line.round)).collect::<Vec<_>>();
    let again = |verdict| {
        let mut again = sample::report();
        for table in &mut again.tables {
            let lines = table
                .sections
                .iter_mut()
                .flat_map(|section| section.cells.iter_mut().chain(&mut section.means));
            lines.for_each(|line| line.verdict = verdict);
        }
        before.clone().measured_again(again, 1)
    };
    let unsaid = verdicts(&again(Verdict::Inconclusive));
    let unchanged = verdicts(&again(Verdict::Unchanged));
    for ((first, _), (unsaid, unchanged)) in
        verdicts(&before).into_iter().zip(unsaid.into_iter().zip(unchanged))
    {
        match first {
            Verdict::Regressed => assert_eq!((unsaid, unchanged), ((first, 0), (Verdict::Unchanged, 1))),
            Verdict::Inconclusive => assert_eq!((unsaid, unchanged), ((first, 1), (Verdict::Unchanged, 1))),
            settled => assert_eq!((unsaid, unchanged), ((settled, 0), (settled, 0))),
        }
    }
}
