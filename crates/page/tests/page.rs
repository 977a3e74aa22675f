//! What is in a page, without a browser.

mod common;

use common::{HOSTILE, comparison, hostile, kept, large, measured, on_gpu, run, series, small, two_thousand};
use page::{AuditedRun, Html, Page};
use results::Exporter as _;

fn html(runs: &[AuditedRun]) -> String {
    Html.write(&Page::new(runs, &[])).text
}

/// Every plot's marks and data, of which at most so many lines.
fn data(page: &Page<'_>, most: usize) -> String {
    let plot = |plot: &page::Plot| {
        let is_whole = |row: &Vec<String>| row.len() == plot.table.columns.len();
        assert!(plot.table.rows.iter().all(is_whole), "{}: {:?}", plot.id, plot.table);
        let lines: Vec<String> = plot.table.tsv().lines().take(most).map(str::to_owned).collect();
        format!(
            "{} ({} marks)\n{}\n{}\n{}\n",
            plot.id,
            plot.marks(),
            plot.title,
            plot.caption,
            lines.join("\n")
        )
    };
    page.plots().map(plot).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_data_of_every_plot() {
    let runs = [small()];
    insta::assert_snapshot!(data(&Page::new(&runs, &[]), usize::MAX));
}

#[test]
fn the_data_of_two_runs_side_by_side() {
    let runs = [hostile("before", 1.0), hostile("after", 1.2)];
    let comparisons = [comparison(&runs[0], &runs[1])];
    let page = Page::new(&runs, &comparisons);
    insta::assert_snapshot!(data(&page, 8));
}

#[test]
fn a_plot_as_a_file() {
    let runs = [run(
        "one",
        vec![measured("onnxruntime", 1, 16, 0, 0.002), measured("onnxruntime", 4, 16, 0, 0.002)],
    )];
    let page = Page::new(&runs, &[]);
    let plot = page.plots().next().unwrap();
    let svg = plot.svg();
    let without_style =
        format!("{}…{}", svg.split("<style>").next().unwrap(), svg.split("</style>").nth(1).unwrap());
    insta::assert_snapshot!(without_style);
    assert!(!svg.contains("var("), "a file of its own has its colours");
}

#[test]
fn every_file_of_a_plot_is_well_formed_and_every_image_is_one() {
    let runs = [hostile("<b>&", 1.0)];
    let page = Page::new(&runs, &[]);
    for plot in page.plots() {
        let svg = plot.svg();
        let document =
            roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{}: {error}", plot.id));
        let is_mark = |node: &roxmltree::Node<'_, '_>| {
            node.attribute("class").is_some_and(|class| class.split(' ').any(|one| one == "m"))
        };
        assert_eq!(document.descendants().filter(is_mark).count(), plot.marks(), "{}", plot.id);
    }
    #[cfg(feature = "png")]
    {
        let png = page.plots().next().unwrap().png().unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.len() > 5000);
    }
}

#[test]
fn names_stay_text() {
    let runs = [hostile(HOSTILE, 1.0), hostile("other", 1.1)];
    let comparisons = [comparison(&runs[0], &runs[1])];
    let html = Html.write(&Page::new(&runs, &comparisons)).text;
    // The page's own, the cells, and the series of each run.
    assert_eq!(html.matches("<script").count(), 2 + runs.len());
    assert_eq!(html.matches("<img").count(), 0);
    assert!(!html.contains('\u{202e}'), "nothing turns the reading around");
    assert!(html.contains("&lt;script&gt;"));
}

#[test]
fn nothing_comes_from_elsewhere() {
    let html = html(&[small()]);
    for word in ["http://", "https://", "@import", "src="] {
        assert!(!html.contains(word), "{word}");
    }
}

#[test]
fn the_same_records_make_the_same_bytes() {
    assert!(html(&[small()]) == html(&[small()]));
}

#[test]
fn a_run_without_a_cell_has_a_page() {
    let html = html(&[run("empty", Vec::new())]);
    assert!(html.contains("No cells"));
}

#[test]
fn large_runs_fit() {
    for (run, count, most) in [(large(), 540, 5_000_000), (two_thousand(), 2000, 10_000_000)] {
        let measured = run.run.records().filter(|record| record.series().is_some()).count();
        assert_eq!(run.run.records().count(), count);
        let html = html(&[run]);
        assert!(html.len() < most, "{count} cells: {} bytes", html.len());
        // No record and no cell is left out.
        assert!(html.contains(&format!(": {measured} measured records. ")), "{count} cells");
        assert!(!html.contains("Only the first"), "{count} cells");
        eprintln!("{count} cells: {} bytes", html.len());
    }
}

#[test]
fn a_page_of_a_run_of_any_size_is_bounded_and_says_what_it_leaves_out() {
    let cell = |index: u32| on_gpu(measured("onnxruntime", 1 + index / 60, 16 * (1 + index % 60), 0, 0.002));
    let html = html(&[run("huge", (0..3600).map(cell).collect())]);
    assert!(html.len() < 10_000_000, "{} bytes", html.len());
    assert!(html.contains("Only the first 2000 of 3600 cells are shown; table.md and summary.csv have all."));
    assert!(html.contains(" The last 1600 records are not drawn."));
    let (count, _) = html
        .split_once(" of 3600 records fit into this page, the first replicates first; ")
        .expect("what is left out");
    let count: usize = count.rsplit('>').next().unwrap().trim_start_matches(": ").parse().unwrap();
    assert!((1000..3600).contains(&count), "{count}");
}

#[test]
fn caveats_of_a_run_are_shown() {
    let mut run = kept();
    run.run.expected = 60;
    run.run.environments[0].load_average = 3.5;
    let kept = html(&[run]);
    for words in
        ["the run is incomplete: 54 of 60 records", "load average 3.50 on 2 cores", "vary by more than 10 %"]
    {
        assert!(kept.contains(words), "{words}");
    }
    let gpu = html(&[hostile("gpu", 1.0)]);
    assert!(gpu.contains("GPU clocks throttled: temperature (driver)"));
    assert!(gpu.contains("not verified against another engine"));
    assert!(html(&[small()]).contains("ran out of memory in 1 of 6 cells"));
}

#[test]
fn percentiles_and_tpot_stand_under_the_table_and_in_the_summary() {
    let mut record = measured("onnxruntime", 1, 16, 0, 0.001);
    let series = series(&mut record);
    // 1 to 256 ms, so that a quantile q of type 7 is 1 + 255 q.
    let tokens: Vec<f64> = (1..=256).map(|millisecond| f64::from(millisecond) * 1e-3).collect();
    series.generations[0].prompt_seconds = 0.5;
    // Choosing the token takes another 4 ms each.
    series.generations[0].wall_seconds = 0.5 + tokens.iter().sum::<f64>() + 256.0 * 0.004;
    series.generations[0].token_seconds = tokens;
    let html = html(&[run("one", vec![record])]);
    let (_, table) = html.split_once("<h3>Percentiles and time per output token (TPOT)</h3>").unwrap();
    let table = table.split("</table>").next().unwrap();
    let cells = |tag: &str| -> Vec<String> {
        let cells = table.split(tag).skip(1).map(|cell| cell.split('<').next().unwrap().to_owned());
        cells.collect()
    };
    let names = cells("<th scope=\"col\">");
    let texts: Vec<String> = cells("<td>");
    // The engine's own cell is of text.
    let of = |name: &str| texts[names.iter().position(|one| one == name).unwrap() - 1].as_str();
    for (name, text) in [
        ("Tokens", "256"),
        ("Token Latency p50 (ms)", "128.5"),
        ("Token Latency p90 (ms)", "230.5"),
        ("Token Latency p99 (ms)", "253.5"),
        ("Generations", "1"),
        ("TPOT (ms)", "132.5"),
        ("TPOT p99 (ms)", "132.5"),
        ("Wall-Clock Latency p50 (s)", "34.42"),
    ] {
        assert_eq!(of(name), text, "{name}: {names:?} {texts:?}");
    }
    assert!(html.contains(
        "takes 128.5 ms per token (p50 128.5 ms, p90 230.5 ms, p99 253.5 ms; TPOT 132.5 ms) at batch size 1, prompt length 16"
    ));
}

#[test]
fn the_picture_in_the_readme_is_of_the_kept_run() {
    let runs = [kept()];
    let page = Page::new(&runs, &[]);
    let name = "token-latency-by-batch-size";
    let plot = page.plots().find(|plot| plot.id == name).unwrap();
    let path = format!("{}/../../results/llama2-15m-fp32-cpu/plots/{name}.svg", env!("CARGO_MANIFEST_DIR"));
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed == plot.svg(),
        "llama2-bench report results/llama2-15m-fp32-cpu --plots plots makes it again"
    );
}

#[test]
fn audit_findings_come_first() {
    let published = include_str!("../../../results/published/llama2-a100.md");
    let document = results::published::parse(published, "llama2-a100.md").unwrap();
    let tables: Vec<_> =
        document.tables().map(|table| results::ResultTable::published("llama2-a100.md", table)).collect();
    let mut run = small();
    run.audit = audit::audit(&tables, &results::hardware::Hardware::built_in());
    let groups = run.audit.groups();
    let of_severity = |severity| -> Vec<String> {
        groups.iter().filter(|group| group.severity == severity).map(audit::FindingGroup::lead).collect()
    };
    let impossible = of_severity(audit::Severity::Impossible);
    let remarkable = of_severity(audit::Severity::Remarkable);
    let details: usize = groups.iter().map(|group| group.findings.len()).sum();
    assert_eq!((impossible.len(), remarkable.len()), (4, 6));
    let html = html(&[run]);
    // Class, and the line that is folded.
    let items: Vec<(&str, &str)> = html
        .split("<li class=\"")
        .skip(1)
        .map(|item| {
            let summary = item.split_once("<summary>").unwrap_or_default().1;
            (item.split('"').next().unwrap(), summary.split("</summary>").next().unwrap())
        })
        .collect();
    let of_class = |class: &str| -> Vec<String> {
        items.iter().filter(|item| item.0 == class).map(|item| item.1.to_owned()).collect()
    };
    assert_eq!(of_class("wrong"), impossible);
    assert!(items.iter().take(impossible.len()).all(|(class, _)| *class == "wrong"));
    let caveats = of_class("caveat");
    assert!(remarkable.iter().all(|lead| caveats.contains(lead)), "{caveats:?}");
    let lists = html.split("</summary><ul>").skip(1).map(|rest| rest.split("</ul>").next().unwrap());
    assert_eq!(lists.map(|list| list.matches("<li>").count()).sum::<usize>(), details);
}

#[test]
fn whatever_the_figures_there_is_a_page() {
    let mut records = Vec::new();
    for (batch, prompt) in [(1, 1), (1, u32::MAX), (u32::MAX, 1)] {
        for seconds in [1e-9, 1e9] {
            let mut record = measured(if seconds < 1.0 { "fast" } else { "slow" }, 1, 1, 0, 0.001);
            (record.key.batch_size, record.key.prompt_length) = (batch, prompt);
            let series = series(&mut record);
            series.prompt_seconds = vec![seconds; 3];
            series.generations[0].token_seconds = vec![seconds; 256];
            series.generations[0].wall_seconds = seconds * 300.0;
            records.push(record);
        }
    }
    let mut short = measured("short", 1, 1, 0, 0.001);
    series(&mut short).generations[0].token_seconds.truncate(1);
    short.key.generation_length = 1;
    records.push(short);
    let html = html(&[run("extreme", records)]);
    let html = html.split("<script>").next().unwrap();
    for word in ["NaN", "inf<", "inf "] {
        assert!(
            !html.contains(word),
            "{word}: {:?}",
            html.split(word).next().map(|before| before
                .chars()
                .rev()
                .take(120)
                .collect::<String>()
                .chars()
                .rev()
                .collect::<String>())
        );
    }
}

#[test]
fn tables_of_a_run_are_told_apart_by_all_that_tells_them_apart() {
    let mut records = Vec::new();
    for (model, world_size) in [("llama2-15m", 1), ("llama2-15m", 2), ("other", 1)] {
        for batch in [1, 4] {
            let mut record = measured("onnxruntime", batch, 16, 0, 0.002 / f64::from(world_size));
            record.key.model = model.into();
            record.key.ranks.world_size = world_size;
            records.push(record);
        }
    }
    let runs = [run("several", records)];
    let page = Page::new(&runs, &[]);
    // Two devices can do twice as much, and the other model's config is not known.
    let rooflines: Vec<_> = page.plots().filter(|plot| plot.id.ends_with("roofline")).collect();
    assert_eq!(
        rooflines.iter().map(|plot| plot.id.as_str()).collect::<Vec<_>>(),
        ["g1-roofline", "g2-roofline"]
    );
    let svgs: Vec<String> = rooflines.iter().map(|plot| plot.svg()).collect();
    assert!(svgs[0].contains("40.00 GB/s") && svgs[1].contains("80.00 GB/s"));
    let html = Html.write(&page).text;
    let ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(ids.len(), unique.len());
}
