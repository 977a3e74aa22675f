//! Published tables: read, written, audited and reproduced from the command line.

mod common;

use common::{MOCK, Place};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::{contains, ends_with, starts_with};

const PUBLISHED: &str = include_str!("../../../results/published/llama2-a100.md");
const SECOND: &str = include_str!("../../../results/published/llama2-a100-2024.md");
const HEADING: &str = "LLaMA-2 7B FP16 CUDA (1 A100 80GB)";

fn stdout(place: &Place, arguments: &[&str], code: i32) -> String {
    let assert = place.bench(arguments).assert().code(code);
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn the_published_file_comes_back_through_every_format() {
    let place = Place::new();
    place.write("a.md", PUBLISHED);
    assert_eq!(stdout(&place, &["table", "a.md"], 0), PUBLISHED);
    place.write("a.csv", &stdout(&place, &["table", "a.md", "--format", "csv"], 0));
    place.write("a.json", &stdout(&place, &["table", "a.csv", "--format", "json"], 0));
    assert_eq!(stdout(&place, &["table", "a.json", "--format", "markdown"], 0), PUBLISHED);
    let screen = stdout(&place, &["table", "a.md", "--format", "terminal"], 0);
    assert_eq!(screen.lines().filter(|line| line.starts_with(" pytorch-compile")).count(), 30);
}

#[test]
fn another_schema_is_an_error_that_names_the_header() {
    let place = Place::new();
    place.write("a.md", &PUBLISHED.replacen("Prompt Latency (ms)", "Prompt Latency (min)", 1));
    place
        .bench(&["table", "a.md"])
        .assert()
        .code(2)
        .stderr(starts_with("error: a.md:3: Prompt Latency (min): \"min\" is no unit of this column"));
    place.write("b.md", "nothing here\n");
    place
        .bench(&["audit", "b.md"])
        .assert()
        .code(2)
        .stderr(starts_with("error: b.md: no table that this program reads"));
    let header: String = PUBLISHED.lines().take(4).map(|line| format!("{line}\n")).collect();
    place.write("c.md", &format!("{header}\n{}\n", PUBLISHED.lines().nth(4).unwrap()));
    place.bench(&["audit", "c.md"]).assert().code(2).stderr(
        "error: c.md:6: a row apart from its table: remove the empty line or the text between them\n",
    );
}

/// Each table of `tests/tables`: its exit code beside the plain one, and what is said of it.
#[test]
fn a_decorated_table_has_the_same_figures_as_the_plain_one_or_is_refused() {
    let place = Place::new();
    let tables: [(&str, &str, i32, &str); 11] = [
        ("plain.md", include_str!("tables/plain.md"), 0, ""),
        ("bold.md", include_str!("tables/bold.md"), 0, ""),
        ("code-span.md", include_str!("tables/code-span.md"), 0, ""),
        ("details.md", include_str!("tables/details.md"), 0, ""),
        ("thousands.md", include_str!("tables/thousands.md"), 0, ""),
        ("unit.md", include_str!("tables/unit.md"), 0, ""),
        (
            "notes-column.md",
            include_str!("tables/notes-column.md"),
            0,
            "note: notes-column.md:3: column \"Notes\" is not read\n",
        ),
        (
            "spread.md",
            include_str!("tables/spread.md"),
            0,
            "note: spread.md:5: spreads such as ± 0.03 are not read, here and below\n",
        ),
        // What one side alone has is inconclusive.
        ("na.md", include_str!("tables/na.md"), 3, ""),
        ("subset.md", include_str!("tables/subset.md"), 3, ""),
        (
            "benchmark_e2e.csv",
            include_str!("tables/benchmark_e2e.csv"),
            2,
            "error: benchmark_e2e.csv: no Engine column: say which engine it is with --engine NAME\n",
        ),
    ];
    for (name, text, _, _) in tables {
        place.write(name, text);
    }
    let figures = |name: &str| {
        let csv = stdout(&place, &["table", name, "--format", "csv"], 0);
        csv.lines().nth(1).unwrap().split(',').take(12).collect::<Vec<_>>().join(",")
    };
    for (name, _, code, said) in tables {
        let compared = ["compare", "plain.md", name, "--format", "json"];
        let assert = place.bench(&compared).assert().code(code).stderr(said);
        if code == 0 {
            assert_eq!(figures(name), figures("plain.md"), "{name}");
        }
        if code == 3 {
            let json: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
            let counts = &json["counts"];
            assert_eq!((&counts["regressed"], &counts["improved"]), (&0.into(), &0.into()), "{name}: {json}");
        }
    }
    let flags = ["compare", "plain.md", "benchmark_e2e.csv", "--engine", "onnxruntime", "--heading", HEADING];
    place.bench(&flags).assert().success().stdout(contains("4 unchanged (of 4)"));
    place
        .bench(&["compare", "plain.md", "bold.md", "--engine", "onnxruntime"])
        .assert()
        .code(2)
        .stderr("error: --engine: all files here already state this: leave the flag out\n");
    place
        .bench(&["audit", "benchmark_e2e.csv", "--engine", "onnxruntime", "--heading", "7B"])
        .assert()
        .code(2)
        .stderr(starts_with("error: --heading: the heading does not say model, precision and device"));
    place.bench(&["audit", "benchmark_e2e.csv", "--engine", "onnxruntime"]).assert().success().stderr(
        contains("note: benchmark_e2e.csv:2: no heading: --heading TEXT says model, precision and device"),
    );
    // What is written then says it itself.
    let written = ["table", "benchmark_e2e.csv", "--engine", "onnxruntime", "--heading", HEADING];
    place.write("written.md", &stdout(&place, &written, 0));
    place.bench(&["compare", "plain.md", "written.md"]).assert().success();
}

#[test]
fn both_editions_are_built_in_and_named() {
    let place = Place::new();
    for (name, text) in [("llama2-a100", PUBLISHED), ("llama2-a100-2024", SECOND)] {
        assert_eq!(stdout(&place, &["table", name, "--format", "markdown"], 0), text);
        for format in ["csv", "json"] {
            let file = format!("a.{format}");
            place.write(&file, &stdout(&place, &["table", name, "--format", format], 0));
            assert_eq!(stdout(&place, &["table", &file, "--format", "markdown"], 0), text);
        }
    }
    let text = stdout(&place, &["audit", "llama2-a100-2024"], 1);
    assert!(text.contains("\n126 rows in 3 tables: "), "{text}");
    let engines = format!("[onnxruntime]\ncommand = [{:?}]\n", common::worker("llama2-bench-mock"));
    place.write("engines.toml", &engines);
    let list = ["reproduce", "llama2-a100-2024", "--list", "--table", "2", "--engines-file", "engines.toml"];
    let list = stdout(&place, &list, 0);
    assert!(list.starts_with("table 2: LLaMA-2 13B FP16 CUDA (1 A100 80GB)\n"), "{list}");
    assert!(list.contains("18 rows, onnxruntime 1×16 to onnxruntime 16×3840"), "{list}");
    // A file of that name comes first.
    place.write("llama2-a100", "no table");
    place
        .bench(&["audit", "llama2-a100"])
        .assert()
        .code(2)
        .stderr(starts_with("error: llama2-a100: no table"));
}

#[test]
fn the_json_of_a_run_reads_as_the_run() {
    let place = Place::new();
    place.run(MOCK, &[]);
    for format in ["json", "csv", "markdown"] {
        let file = format!("run.{}", format.replace("markdown", "md"));
        place.write(&file, &stdout(&place, &["table", "run", "--format", format], 0));
        place.bench(&["compare", "run", &file]).assert().success().stderr("");
    }
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(place.path("run.json")).unwrap()).unwrap();
    assert_eq!(json["schema"], 2);
    let row = &json["pieces"][0]["rows"][0];
    assert!(
        row["Prompt Latency (ms)"].is_f64() && row["measured"]["prompt_seconds"]["mean"].is_f64(),
        "{row}"
    );
    place.write("other.json", "[{\"model_type\": \"llama 7B\", \"avg_ts\": 42.0}]");
    place.bench(&["audit", "other.json"]).assert().code(2).stderr(starts_with(
        "error: other.json: not a table of this program: expected what `llama2-bench table",
    ));
}

#[test]
fn the_csv_of_a_script_is_reproduced_with_the_given_engine() {
    let place = Place::new();
    place
        .write("genai.csv", "Batch Size,Prompt Length,Prompt Processing Latency (ms)\n1,16,11.97\n1,64,12\n");
    let heading = "LLaMA-2 15M FP32 CPU (AMD EPYC, 2 cores)";
    let list = ["reproduce", "genai.csv", "--list", "--heading", heading];
    place
        .bench(&list)
        .assert()
        .code(2)
        .stderr(contains("no Engine column: say which engine it is with --engine NAME"));
    let with_engine: Vec<&str> = list.into_iter().chain(["--engine", "mock"]).collect();
    let text = stdout(&place, &with_engine, 0);
    assert_eq!(text.lines().filter(|line| line.starts_with(" mock ")).count(), 2, "{text}");
}

#[test]
fn the_audit_finds_what_is_wrong_with_the_published_file() {
    let place = Place::new();
    place.write("a.md", PUBLISHED);
    let text = stdout(&place, &["audit", "a.md"], 1);
    assert!(
        text.ends_with("108 rows in 3 tables: 23 figures impossible in 13 rows, 10 remarkable\n"),
        "{text}"
    );
    let report: serde_json::Value =
        serde_json::from_str(&stdout(&place, &["audit", "a.md", "--json"], 1)).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let rows_of = |rule: &str| {
        let findings_of_rule = findings.iter().filter(|finding| finding["rule"] == rule);
        findings_of_rule.map(|finding| finding["line"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(rows_of("throughput"), [6]);
    assert_eq!(rows_of("token-bandwidth"), (64..=75).collect::<Vec<_>>());
    assert_eq!(rows_of("wall-clock-long"), [33, 34, 38, 51, 52, 56, 86, 98]);
    let impossible = findings.iter().filter(|finding| finding["severity"] == "impossible");
    let elsewhere = impossible.filter(|finding| {
        finding["engine"] == "onnxruntime" && !finding["table"].as_str().unwrap().contains("13B")
    });
    assert_eq!(elsewhere.count(), 1);
}

#[test]
fn a_run_is_audited_and_its_findings_stand_under_its_table() {
    let place = Place::new();
    let (code, text) = place.run(MOCK, &[]);
    assert_eq!((code, text.contains("audit:")), (0, false));
    assert!(stdout(&place, &["audit", "run"], 0).ends_with("6 rows in 1 table: no findings\n"));
    // 7B in FP32 on a GPU that reads 2 TB/s: a token can't take a millisecond.
    let path = place.path("run/environment.json");
    let environment = std::fs::read_to_string(&path).unwrap();
    let gpu = "\"gpus\": [{\"name\": \"NVIDIA A100-SXM4-80GB\", \"memory_bytes\": 84987740160, \"driver_version\": \"580\"}]";
    let seven = include_str!("../../../configs/models/llama2-7b.json");
    let mut facts: serde_json::Value =
        serde_json::from_str(&environment.replace("\"gpus\": []", gpu)).unwrap();
    facts["models"]["llama2-15m"]["config"] = serde_json::from_str(seven).unwrap();
    std::fs::write(&path, facts.to_string()).unwrap();
    let records = place.path("run/measurements.jsonl");
    let text = std::fs::read_to_string(&records).unwrap();
    std::fs::write(&records, text.replace("\"device\":\"cpu\"", "\"device\":\"cuda:0\"")).unwrap();
    let table = stdout(&place, &["table", "run"], 0);
    let finding = "- audit: impossible: mock: token-bandwidth: 6 of 6 cells, 11.3–13.1 × the peak; worst: ";
    assert!(table.contains(finding), "{table}");
    let lines =
        |args: &[&str], of: &str| stdout(&place, args, 1).lines().filter(|line| line.contains(of)).count();
    assert_eq!(lines(&["audit", "run"], ": impossible: "), 3);
    assert_eq!(lines(&["audit", "run", "--details"], ": impossible: "), 17);
    assert_eq!(lines(&["audit", "run", "--details"], "mock 1×16, "), 3);
}

#[test]
fn a_table_is_spliced_into_a_file_and_nothing_else_is_touched() {
    let place = Place::new();
    place.run(MOCK, &[]);
    let table = stdout(&place, &["table", "run"], 0);
    let around = |table: &str| {
        format!(
            "# Mine\r\n\n<!-- llama2-bench:table -->\n{table}<!-- llama2-bench:end -->\n\ttail without an end"
        )
    };
    place.write("README.md", &around("old\n"));
    place
        .bench(&["report", "run", "--splice", "README.md"])
        .assert()
        .success()
        .stderr("README.md: table updated\n");
    let spliced = std::fs::read_to_string(place.path("README.md")).unwrap();
    assert_eq!(spliced, around(&format!("\n{table}\n")));
    place
        .bench(&["report", "run", "--splice", "README.md"])
        .assert()
        .stderr("README.md: the table is up to date\n");
    place.write("none.md", "no markers");
    place
        .bench(&["report", "run", "--splice", "none.md"])
        .assert()
        .code(2)
        .stderr(starts_with("error: none.md: no line <!-- llama2-bench:table -->"));
}

#[test]
fn the_readme_has_the_summary_of_the_kept_run() {
    let place = Place::new();
    place.write("README.md", include_str!("../../../README.md"));
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/llama2-15m-fp32-cpu");
    place
        .bench(&["report", run, "--splice", "README.md"])
        .assert()
        .success()
        .stderr("README.md: the table is up to date\n");
}

#[test]
fn a_published_table_is_a_sweep() {
    let place = Place::new();
    let (_, published) = place.run(MOCK, &[]);
    // One cell is missing there, one is of an engine that is not here, one is twice there.
    let (table, _) = published.split_once("\n\n- latencies of mock are scripted").unwrap();
    let rows: Vec<&str> =
        table.lines().filter(|line| !line.starts_with("| mock            | 1 | 256")).collect();
    let other = rows[4].replace("mock           ", "exllama        ");
    place.write("a.md", &format!("{}\n{other}\n{}\n", rows.join("\n"), rows[4]));

    let list = stdout(&place, &["reproduce", "a.md", "--list"], 0);
    let cells: Vec<&str> = list.lines().filter(|line| line.starts_with(" mock ")).collect();
    assert_eq!(cells.len(), 5);
    assert!(
        list.contains("can't run here: exllama 1×16: unknown engine \"exllama\": expected one of"),
        "{list}"
    );
    assert!(list.contains("can't run here: mock 1×16: line 5 has this cell, too"), "{list}");

    let again = ["reproduce", "a.md", "--prompt-runs", "5", "--warmup-runs", "2"];
    let arguments: Vec<&str> = again.into_iter().chain(["--out", "again"]).collect();
    let text = stdout(&place, &arguments, 0);
    assert!(text.contains("- tolerance 10 %: 6 reproduced, 1 not run\n"), "{text}");
    // The rows in the published order, with this machine's figures, before the ratios.
    let here: Vec<&str> = text.lines().filter(|line| line.starts_with("| mock            |")).collect();
    assert_eq!(here, rows[4..9].to_vec());

    let slower: Vec<&str> = again
        .into_iter()
        .chain(["--out", "slow", "--option", "mock.slowdown=1.5", "--tolerance", "20 %"])
        .collect();
    let text = stdout(&place, &slower, 1);
    assert!(text.contains("| mock | 4 | 256 | 1.500 | 1.500 | 1.500 | 1.500 | slower |\n"), "{text}");
    let text = stdout(&place, &["reproduce", "a.md", "--from", "slow", "--tolerance", "60%"], 0);
    assert!(text.contains("- tolerance 60 %: 6 reproduced, 1 not run\n"), "{text}");
    let from = ["reproduce", "a.md", "--from", "slow", "--tolerance", "60%", "--format"];
    let json = stdout(&place, &[&from[..], &["json"]].concat(), 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["holds"], &json[0]["rows"][0]["verdict"]), (&true.into(), &"reproduced".into()));
    let csv = stdout(&place, &[&from[..], &["csv"]].concat(), 0);
    assert!(
        csv.starts_with("there,here,tolerance,holds,engine,batch_size,prompt_length,ratios.prompt,"),
        "{csv}"
    );
    let terminal = stdout(&place, &[&from[..], &["terminal"]].concat(), 0);
    assert!(terminal.contains("tolerance 60 %") && terminal.contains("  reproduced\n"), "{terminal}");
    place
        .bench(&["reproduce", "a.md", "--format", "json"])
        .assert()
        .code(2)
        .stderr(contains("give it with --from"));
    place
        .bench(&["reproduce", "a.md", "--from", "slow", "--tolerance", "10"])
        .assert()
        .code(2)
        .stderr(contains("expected a share such as 10%"));

    // What is in the way of the second table is found before the first is measured.
    let title = rows[0].replace("15M", "7B");
    place.write("two.md", &format!("{table}\n\n{}\n", [&[title.as_str()], &rows[1..5]].concat().join("\n")));
    std::fs::create_dir_all(place.path("both/table-2")).unwrap();
    place.write("both/table-2/reproduction.md", "mine");
    place.bench(&["reproduce", "two.md", "--out", "both"]).assert().code(2).stderr(contains(
        "error: both/table-2: there is a reproduction.md already, which a run would replace: --out writes elsewhere\n",
    ));
    assert!(!place.path("both/table-1").exists());
}

#[test]
fn rows_that_cannot_run_here_are_named_and_another_device_gives_no_verdict() {
    let place = Place::new();
    place.write("a.md", PUBLISHED);
    let engines = format!("[onnxruntime]\ncommand = [{:?}]\n", common::worker("llama2-bench-mock"));
    place.write("engines.toml", &engines);
    let list = stdout(&place, &["reproduce", "a.md", "--list", "--engines-file", "engines.toml"], 0);
    // 13B on one device and 70B on four, as four ranks.
    let why = "can't run here: 18 rows, onnxruntime 1×16 to onnxruntime 16×3840: device cuda:0: onnxruntime: it has no such device\n";
    // Two tables of several engines, and one of a single engine, which is said of all of it.
    let all = "can't run here: all 18 rows: device cuda:0: onnxruntime: it has no such device\n";
    assert_eq!((list.matches(why).count(), list.matches(all).count()), (1, 1), "{list}");
    place
        .bench(&["reproduce", "a.md", "--table", "2", "--engines-file", "engines.toml"])
        .assert()
        .code(2)
        .stderr(
            starts_with("table 2: LLaMA-2 13B FP16 CUDA (1 A100 80GB)\n")
                .and(ends_with("\nerror: no row of a.md can run here\n")),
        );
    place
        .bench(&["reproduce", "a.md", "--table", "4"])
        .assert()
        .code(2)
        .stderr("error: --table: a.md has tables 1 to 3, not 4\n");
    let here = [
        "reproduce",
        "a.md",
        "--table",
        "2",
        "--engines-file",
        "engines.toml",
        "--device",
        "cpu",
        "--no-verify",
    ];
    let few =
        ["--batch-size", "1", "--prompt-length", "16,64", "--engine", "onnxruntime", "--prompt-runs", "2"];
    let arguments: Vec<&str> = here.into_iter().chain(few).collect();
    place.bench(&arguments).assert().code(1).stdout(contains("| impossible there |\n").count(2).and(ends_with(
        "- tolerance 10 %: 2 impossible there\n- cannot scale between devices: no peaks of \"AMD EPYC\": a processor's must be measured\n",
    ).or(contains("a processor's must be measured\n"))));
    let arguments: Vec<String> =
        arguments.iter().map(|word| if *word == "2" { "1".into() } else { (*word).to_owned() }).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    place.bench(&words).assert().code(1).stdout(contains("not comparable: another device"));
}
