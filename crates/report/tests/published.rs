//! Published tables are read and written back without a loss, whatever stands in and around them.

use proptest::prelude::*;
use protocol::FailureKind;
use results::COLUMNS;
use results::Value;
use results::published::layout::{SEPARATOR, header};
use results::published::{Document, Piece, PublishedTable, csv, json, markdown};

const PUBLISHED: &str = include_str!("../../../results/published/llama2-a100.md");
const SECOND: &str = include_str!("../../../results/published/llama2-a100-2024.md");

/// Converts through every format and back to markdown.
fn around(text: &str) -> String {
    let document = markdown::parse(text, "a.md").unwrap();
    let document = csv::parse(&csv::write(&document), "a.csv").unwrap();
    let document = json::parse(&json::write(&document), "a.json").unwrap();
    markdown::write(&document)
}

fn table(rows: &str) -> String {
    format!("{}\n{SEPARATOR}\n{rows}", header())
}

fn row(engine: &str) -> String {
    format!("| {engine} | 1 | 16 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |\n")
}

#[test]
fn the_published_file_comes_back_byte_for_byte() {
    let document = markdown::parse(PUBLISHED, "llama2-a100.md").unwrap();
    assert_eq!(markdown::write(&document), PUBLISHED);
    assert_eq!(around(PUBLISHED), PUBLISHED);
    let rows: Vec<usize> = document.tables().map(|table| table.rows.len()).collect();
    assert_eq!(rows, [54, 36, 18]);
    let headings: Vec<&str> = document.tables().map(|table| table.heading.as_str()).collect();
    assert_eq!(headings[2], "LLaMA-2 70B FP16 CUDA (4 A100 80GB)");
    let row = &document.tables().next().unwrap().rows[12];
    assert_eq!(
        (row.line, row.engine.as_str(), row.batch_size, row.prompt_length),
        (17, "onnxruntime", 16, 16)
    );
    assert_eq!(row.cells[0].text(), "21.32916451");
    assert_eq!(PUBLISHED.lines().nth(row.line - 1), row.markdown.as_deref().map(str::trim_end));
}

#[test]
fn the_second_edition_keeps_its_own_names_and_comes_back_byte_for_byte() {
    let document = markdown::parse(SECOND, "llama2-a100-2024.md").unwrap();
    assert_eq!(around(SECOND), SECOND);
    let rows: Vec<usize> = document.tables().map(|table| table.rows.len()).collect();
    assert_eq!(rows, [54, 54, 18]);
    let names = ["Prompt Processing Latency (ms)", "Average Throughput of First 128 Tokens Generated (tps)"];
    let [csv, json] = [csv::write(&document), json::write(&document)];
    for name in names {
        assert!(csv.lines().next().unwrap().contains(name) && json.contains(&format!("\"{name}\": \"")));
    }
    // In one file with the first edition, both keep theirs.
    let both = format!("{PUBLISHED}\n{SECOND}");
    assert_eq!(around(&both), both);
    let first = markdown::parse(PUBLISHED, "llama2-a100.md").unwrap();
    let both = |document: &Document| document.tables().flat_map(|table| table.rows.clone()).count();
    assert_eq!(both(&csv::parse(&csv::write(&first), "a.csv").unwrap()), 108);
}

#[test]
fn json_of_a_run_is_read_back() {
    let measurements = include_str!("../../../results/llama2-15m-fp32-cpu/measurements.jsonl");
    let measurements: Vec<_> =
        measurements.lines().map(|line| protocol::Measurement::from_json(line.as_bytes()).unwrap()).collect();
    let environment = include_str!("../../../results/llama2-15m-fp32-cpu/environment.json");
    let tables = results::tables(measurements, &[], &[serde_json::from_str(environment).unwrap()]);
    let text = report::json::write(&tables);
    let document = json::parse(&text, "a.json").unwrap();
    assert_eq!(markdown::write(&document), markdown::write(&Document::from(tables.as_slice())));
    let table = document.tables().next().unwrap();
    assert_eq!(table.generation_length, Some(tables[0].key.generation_length));
    assert!(text.lines().nth(table.rows[1].line - 1).unwrap().contains("\"Engine\": "));
    assert_eq!(table.remarks, [""; 0]);
}

#[test]
fn a_changed_cell_changes_nothing_else() {
    let mut document = markdown::parse(PUBLISHED, "llama2-a100.md").unwrap();
    let table = document.tables_mut().next().unwrap();
    table.heading = "LLaMA-2 7B FP16 CUDA (1 H200 141GB)".into();
    table.rows[0].cells[0] = results::published::PrintedFigure::parse("9.5").unwrap();
    table.rows[1].engine = "a|b".into();
    let expected = PUBLISHED
        .replacen("7B FP16 CUDA (1 A100 80GB)", "7B FP16 CUDA (1 H200 141GB)", 1)
        .replacen("| 11.967659  |", "| 9.5        |", 1)
        .replacen("| onnxruntime     | 1 | 64 ", "| a\\|b            | 1 | 64 ", 1);
    assert_eq!(markdown::write(&document), expected);
}

#[test]
fn windows_line_ends_text_around_and_odd_rows_come_back() {
    let windows = PUBLISHED.replace('\n', "\r\n");
    assert_eq!(around(&windows), windows);
    let readme = format!(
        "\u{feff}# Title\r\n\n```\n{}```\n**A table**\n\n{}{}\n- a note | with a pipe\n\n| Other | Table |\n|---|---|\n| 1 | 2 |\n\n{}| a\\|b \\\\|4|016|OOM\n|c\t|4|16|||N/A|-| timeout |1e+10|2.50|3|\n\nThe end, without a line end",
        table(&row("in code")),
        table(&row("onnxruntime")),
        "onnxruntime | 1 | 64 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8\n",
        table(&row("second table below the heading")),
    );
    assert_eq!(around(&readme), readme);
    let document = markdown::parse(&readme, "README.md").unwrap();
    let tables: Vec<&PublishedTable> = document.tables().collect();
    assert_eq!(tables.len(), 2);
    assert_eq!((tables[0].heading.as_str(), tables[0].rows.len()), ("A table", 2));
    // The nearest heading above counts.
    assert_eq!((tables[1].heading.as_str(), tables[1].rows.len()), ("A table", 3));
    let odd = &tables[1].rows[1];
    assert_eq!((odd.engine.as_str(), odd.prompt_length), ("a|b \\", 16));
    assert_eq!(
        [odd.cells[0].value(), odd.cells[7].value()],
        [Value::Ended(FailureKind::OutOfMemory), Value::Empty]
    );
    let odd = tables[1].rows[2].cells.each_ref().map(results::published::PrintedFigure::value);
    assert_eq!(odd[3], Value::NotAvailable);
    assert_eq!(odd[4], Value::Ended(FailureKind::TimedOut));
}

#[test]
fn the_summary_of_a_run_is_read() {
    let text = include_str!("../../../results/llama2-15m-fp32-cpu/summary.csv");
    let document = csv::parse(text, "summary.csv").unwrap();
    let expected = include_str!("../../../results/llama2-15m-fp32-cpu/table.md");
    // Notes and the table of shares stand below.
    let table = markdown::write(&document);
    assert!(expected.starts_with(&table) && !expected[table.len()..].contains(&header()), "{table}");
    let table = document.tables().next().unwrap();
    assert_eq!(table.rows[0].line, 2);
    let rows: Vec<&str> = text.lines().map(|line| line.split(",ok,").next().unwrap()).collect();
    let rows: Vec<&str> = rows.iter().map(|row| row.split(",Outcome").next().unwrap()).collect();
    assert_eq!(csv::write(&document).lines().collect::<Vec<_>>(), rows);
}

#[test]
fn a_run_of_our_own_becomes_a_published_table() {
    let measurements = include_str!("../../../results/llama2-15m-fp32-cpu/measurements.jsonl");
    let measurements: Vec<_> =
        measurements.lines().map(|line| protocol::Measurement::from_json(line.as_bytes()).unwrap()).collect();
    let environment = include_str!("../../../results/llama2-15m-fp32-cpu/environment.json");
    let tables = results::tables(measurements, &[], &[serde_json::from_str(environment).unwrap()]);
    let document = Document::from(tables.as_slice());
    let expected = format!(
        "## {}\n\n{}",
        tables[0].heading,
        report::markdown::rows(&tables[0].rows, &tables[0].columns())
    );
    assert_eq!((tables.len(), markdown::write(&document)), (1, expected.clone()));
    let of_csv = csv::parse(&report::csv::write(&tables), "summary.csv").unwrap();
    assert_eq!(markdown::write(&of_csv), expected);
    assert_eq!(csv::write(&of_csv), csv::write(&document));
    // Two tables, a blank line between them.
    let twice = Document::from([tables.clone(), tables].concat().as_slice());
    assert_eq!(markdown::parse(&markdown::write(&twice), "a.md").unwrap().tables().count(), 2);
}

#[test]
fn csv_without_headings_and_with_formulas_is_read() {
    let text = format!("{}\n'=1,1,16,1,2,3,4,5,6,7,8\n", COLUMNS.join(","));
    let document = csv::parse(&text, "a.csv").unwrap();
    let table = document.tables().next().unwrap();
    assert_eq!((table.heading.as_str(), table.rows[0].engine.as_str()), ("", "=1"));
    assert!(csv::write(&document).contains("\n,'=1,1,16,"));
}

#[test]
fn rows_of_json_know_their_lines() {
    let text = table(&(row("\\\"Engine\\\": 1") + &row("Engine") + &row("c")));
    let json = json::write(&markdown::parse(&text, "a.md").unwrap());
    let document = json::parse(&json, "a.json").unwrap();
    let lines: Vec<usize> =
        document.tables().flat_map(|table| table.rows.iter().map(|row| row.line)).collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        assert!(json.lines().nth(line - 1).unwrap().trim().starts_with("\"Engine\": "), "{line}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let foreign = header().replace("Batch Size", "Rows");
    let no_figure =
        "| Engine | Batch Size | Prompt Length | Latency |\n|---|---|---|---|\n| e | 1 | 16 | 5 |\n";
    let unknown = header().replace("Prompt Latency (ms)", "Prompt Latency (min)");
    let twice = header().replace("Wall-Clock Throughput (tps)", "Prefill Latency [ms]");
    let engine = header().replace("| Engine ", "");
    let dashes = "|---".repeat(10);
    let bad = |column: usize, text: &str| {
        let mut cells = ["e", "1", "16", "1", "2", "3", "4", "5", "6", "7", "8"];
        cells[column] = text;
        table(&format!("| {} |\n", cells.join(" | ")))
    };
    let none =
        "no table that this program reads: expected a header line | Engine | Batch Size | Prompt Length |";
    let cases = [
        (String::new(), format!("a.md: {none}")),
        (format!("x\n{foreign}\n{SEPARATOR}\n{}", row("e")), format!("a.md: {none}")),
        (no_figure.to_owned(), "a.md:1: not read: no column of this table has figures that this program knows".into()),
        (format!("```\n{}```\n", table(&row("e"))), "a.md:2: not read: a table in fenced code is an example".into()),
        (format!("    {}\n    {SEPARATOR}\n", header()), "a.md:1: not read: a table that is indented by four".into()),
        (format!("<table>\n{}</table>", header()), "a.md:1: an HTML table is not read: write it as markdown".into()),
        (
            format!("{unknown}\n{SEPARATOR}\n"),
            "a.md:1: Prompt Latency (min): \"min\" is no unit of this column: expected ns, us, ms or s".into(),
        ),
        (
            format!("{twice}\n{SEPARATOR}\n"),
            "a.md:1: Prefill Latency [ms]: \"Prefill Latency [ms]\" is the same column as \"Prompt Latency (ms)\"".into(),
        ),
        (
            format!("{engine}\n{dashes}|\n"),
            "a.md:1: no Engine column: say which engine it is with --engine NAME".into(),
        ),
        (format!("{}\n", header()), "a.md:2: expected a line |---|---|… of 11 columns below the header".into()),
        (format!("{}\n{dashes}|\n", header()), "a.md:2: expected 11 columns as in the header, found 10".into()),
        (table(""), "a.md:1: a table without rows".into()),
        (table("\ntext\n"), "a.md:1: a table without rows".into()),
        (table(&format!("\n{}", row("e"))), "a.md:4: a row apart from its table: remove the empty line".into()),
        (table(&format!("{}\n{}", row("e"), row("f"))), "a.md:5: a row apart from its table".into()),
        (table(&format!("{}> text\n{}", row("e"), row("f"))), "a.md:5: a row apart from its table".into()),
        (bad(0, ""), "a.md:3: Engine: expected an engine's name, found nothing: write it in every row".into()),
        (bad(0, "\""), "a.md:3: Engine: \"\"\" is no engine's name: write it in every row".into()),
        (
            bad(1, "0"),
            "a.md:3: Batch Size: expected a whole number from 1 to 4294967295, found \"0\"".into(),
        ),
        (
            bad(2, "+16"),
            "a.md:3: Prompt Length: expected a whole number from 1 to 4294967295, found \"+16\"".into(),
        ),
        (
            bad(3, "12,3"),
            "a.md:3: Prompt Latency (ms): expected a number from 0 such as 12.3, OOM, N/A or nothing, found \"12,3\": a decimal comma?".into(),
        ),
        (bad(4, "~~12~~"), "a.md:3: Prompt Throughput (tps): struck out".into()),
        (
            bad(9, "1e999"),
            "a.md:3: Wall-Clock Latency (s): expected a number from 0 such as 12.3, OOM, N/A or nothing, found \"1e999\"".into(),
        ),
        (bad(10, "1 | 2"), "a.md:3: expected 11 cells, found 12".into()),
    ];
    for (text, expected) in cases {
        let error = markdown::parse(&text, "a.md").unwrap_err().to_string();
        assert!(error.starts_with(&expected), "{error}\n{expected}");
    }
    let csv = |text: &str| csv::parse(text, "a.csv").unwrap_err().to_string();
    let head = format!("Table,{}\n", COLUMNS.join(","));
    assert!(csv("").starts_with("a.csv: empty: expected"));
    assert!(
        csv("a,b\n")
            .starts_with("a.csv:1: no table that this program reads: expected columns such as Engine,")
    );
    assert_eq!(csv(&head), "a.csv: no rows below the header");
    let error = csv(&format!("{head}t,e,1,16,1,2,3,4,5,6,7,8\nt,e,1,16,nan,2,3,4,5,6,7,8\n"));
    assert!(error.starts_with("a.csv:3: Prompt Latency (ms): expected a number from 0"), "{error}");
    let error = csv(&format!("{head}t,e,1,16,1,336.7,3,4,5,6,7,8,9\n"));
    assert!(error.starts_with("a.csv:2: expected 12 fields as in the header, found 13"), "{error}");
    let json = |text: &str| json::parse(text, "a.json").unwrap_err().to_string();
    assert_eq!(json("{\"pieces\": []}"), "a.json: no table among the pieces");
    assert!(json("{\"pieces\": [").starts_with("a.json:1: not JSON: EOF"));
    assert!(json("{\"schema\": 3, \"pieces\": []}").starts_with("a.json: schema: expected 2, found 3"));
    for other in ["[]", "[{\"avg_ts\": 1.0}]", "{\"prefill\": {}}", "3"] {
        assert!(
            json(other).starts_with("a.json: not a table of this program: expected what `llama2-bench table")
        );
    }
    let earlier = json("[{\"heading\": \"h\", \"rows\": []}]");
    assert!(earlier.contains("an earlier version") && earlier.contains("--format json"), "{earlier}");
    let error = json("{\"pieces\": [{\"rows\": [\n{\"Engine\": \"e\", \"Rows\": 1}]}]}");
    assert!(error.starts_with("a.json:2: no row that this program reads"), "{error}");
    let error =
        json(&json::write(&markdown::parse(PUBLISHED, "").unwrap()).replace("\"11.967659\"", "\"-1\""));
    assert!(
        error.starts_with("a.json:") && error.contains(": Prompt Latency (ms): expected a number"),
        "{error}"
    );
}

#[test]
fn a_million_lines_take_no_time() {
    let rows = row("onnxruntime").repeat(100_000);
    let document = markdown::parse(&table(&rows), "a.md").unwrap();
    assert_eq!(document.tables().next().unwrap().rows.len(), 100_000);
    let wide = format!("|{}\n|{}\n", "Prompt Latency (ms)|".repeat(1 << 15), "---|".repeat(1 << 15));
    let hostile = [
        wide,
        "<summary>\n".repeat(1 << 16),
        "<table ".repeat(1 << 16),
        "|".repeat(1 << 20),
        "#\n".repeat(1 << 19),
        "\\".repeat(1 << 20),
        "| Engine |\n".repeat(1 << 16),
    ];
    for text in hostile {
        assert!(markdown::parse(&text, "a.md").is_err());
        assert!(csv::parse(&text, "a.csv").is_err());
        assert!(json::parse(&text, "a.json").is_err());
    }
}

/// A cell's text in a markdown file.
fn figure() -> impl Strategy<Value = String> {
    let words = vec![
        "OOM",
        "N/A",
        "",
        "-",
        "—",
        "TIMEOUT",
        "CRASHED",
        "FAILED",
        "SKIPPED",
        "oom",
        "**OOM**",
        "OOM (CUDA)",
    ];
    prop_oneof![
        (0f64..1e12).prop_map(results::format_g10),
        (0u32..1000, 0u32..1000).prop_map(|(whole, decimals)| format!("{whole}.{decimals:03}0")),
        (0u32..1000, 0u32..1000).prop_map(|(whole, decimals)| decorated(&format!("{whole}.{decimals:03}"))),
        (1u32..1000, 0u32..1000).prop_map(|(thousands, rest)| decorated(&format!("{thousands},{rest:03}.5"))),
        prop::sample::select(words).prop_map(str::to_owned),
    ]
}

/// A figure with one of the decorations that do not change it.
fn decorated(figure: &str) -> String {
    const AROUND: [&str; 9] =
        ["**_**", "`_`", "_ ± 0.03", "_*", "<b>_</b>", "_[^1]", "[_](https://a.b)", "_ (0.5)", "*_*†"];
    let which = figure.bytes().map(usize::from).sum::<usize>() % AROUND.len();
    AROUND[which].replace('_', figure)
}

/// An engine's text in a markdown file: hostile, but on one line and with its pipes escaped.
fn engine() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z-]{1,12}",
        "[=+@'-]{0,3}[a-z\"',;]{0,4}[a-z]",
        "(\\\\\\||\\\\\\\\|[^|\\\\\\n\\t ]){0,8}[a-z]"
    ]
}

fn blanks() -> impl Strategy<Value = String> {
    "[ \\t]{0,3}"
}

fn row_text() -> impl Strategy<Value = String> {
    let cells = prop::collection::vec(figure(), 8);
    (engine(), 1u32..100, 1u32..5000, cells, prop::collection::vec((blanks(), blanks()), 11), any::<bool>())
        .prop_map(|(engine, batch, prompt, cells, pads, closed)| {
            let texts = [engine, batch.to_string(), prompt.to_string()].into_iter().chain(cells);
            let padded: Vec<String> =
                texts.zip(pads).map(|(text, (before, after))| format!("{before}{text}{after}")).collect();
            format!("|{}{}", padded.join("|"), if closed { "|" } else { "" })
        })
}

/// A table's headers, and a cell for the column that is more than eleven where there is one.
fn headers() -> impl Strategy<Value = (String, Option<String>)> {
    let second = SECOND.lines().find(|line| line.starts_with("| Engine")).unwrap().to_owned();
    let casual = header().to_lowercase().replace("prompt latency (ms)", "**Prompt** latency [s]");
    let notes = header() + " Notes |";
    let more = "[a-z*~_`<>!&#-]{0,9}";
    prop_oneof![
        Just((header(), None)),
        Just((second, None)),
        Just((casual, None)),
        more.prop_map(move |more| (notes.clone(), Some(more))),
    ]
}

fn table_text() -> impl Strategy<Value = String> {
    let dashes = "[ ]?:?-{1,20}:?[ ]?";
    let head = prop_oneof![
        Just(String::new()),
        "#{1,6} [A-Za-z0-9 ().|=+'\"-]{0,30}",
        "\\*\\*[A-Za-z0-9()]{1,20}\\*\\*",
        "<summary>[A-Za-z0-9() ]{1,20}</summary>",
        "[A-Za-z0-9()]{1,20}\n(---|===)",
        Just("## LLaMA-2 7B FP16 CUDA (1 A100 80GB)".to_owned()),
    ];
    let rows = prop::collection::vec(row_text(), 1..6);
    (head, headers(), prop::collection::vec(dashes, 12), rows, "[ ]{0,3}").prop_map(
        |(head, (header, more), dashes, rows, indent)| {
            let row = |row: &String| match &more {
                Some(more) => format!("\n{}|{more}|", row.trim_end_matches('|')),
                None => format!("\n{row}"),
            };
            let rows: String = rows.iter().map(row).collect();
            let separator = dashes[..11 + usize::from(more.is_some())].join("|");
            format!("{head}\n\n{indent}{header}\n|{separator}|{rows}\n\n")
        },
    )
}

fn document_text() -> impl Strategy<Value = String> {
    let text = prop_oneof!["[a-z|`~#*<>! \\n\\r\\t,\"'=-]{0,60}", "\\PC{0,40}", Just(String::new())];
    let pieces = prop::collection::vec(
        (text, table_text()).prop_map(|(text, table)| format!("{text}\n\n{table}")),
        1..4,
    );
    (pieces, any::<bool>(), any::<bool>()).prop_map(|(pieces, windows, ends)| {
        let text = pieces.concat();
        let text = if ends { text } else { text.trim_end_matches('\n').to_owned() };
        if windows { text.replace('\n', "\r\n") } else { text }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_document_comes_back(text in document_text()) {
        // Text around a table can swallow it (an open code fence), or be a faulty table itself.
        let read = markdown::parse(&text, "a.md");
        prop_assume!(read.is_ok_and(|read| read.tables().any(|table| !table.rows.is_empty())));
        prop_assert_eq!(around(&text), text);
    }

    #[test]
    fn figures_keep_their_texts(rows in prop::collection::vec(row_text(), 1..4)) {
        let text = table(&format!("{}\n", rows.join("\n")));
        let document = markdown::parse(&text, "a.md").unwrap();
        let texts = |document: &Document| -> Vec<[String; 11]> {
            document.tables().flat_map(|table| table.rows.iter().map(results::published::PublishedRow::texts)).collect()
        };
        let mut bare = document.clone();
        for table in bare.tables_mut() {
            table.markdown = None;
            table.rows.iter_mut().for_each(|row| row.markdown = None);
        }
        let again = markdown::parse(&markdown::write(&bare), "b.md").unwrap();
        prop_assert_eq!(texts(&csv::parse(&csv::write(&bare), "b.csv").unwrap()), texts(&document));
        prop_assert_eq!(texts(&json::parse(&json::write(&bare), "b.json").unwrap()), texts(&document));
        let engines_are_plain = texts(&document).iter().all(|row| results::one_line(&row[0]) == row[0]);
        if engines_are_plain {
            prop_assert_eq!(texts(&again), texts(&document));
        }
    }

    #[test]
    fn nothing_panics(text in "(\\| Engine \\||[|\\\\`#*:-]|\\n|\\r\\n|\\PC){0,80}") {
        let text = text.replace("| Engine |", &header());
        let _ = markdown::parse(&text, "a.md").map(|document| markdown::write(&document) == text || panic!());
        let _ = csv::parse(&text, "a.csv");
        let _ = json::parse(&text, "a.json");
        let _ = results::published::splice(&text, results::published::TABLE_MARKER, &text);
        let _ = results::Heading::parse(&text);
    }
}

#[test]
fn text_stays_in_one_piece() {
    let document = markdown::parse(&format!("a\n\nb\n\n{}", table(&row("e"))), "a.md").unwrap();
    assert!(matches!(document.pieces.as_slice(), [Piece::Text(_), Piece::Table(_)]));
}

#[test]
fn the_tables_of_the_results_page_are_the_kept_runs() {
    let readme = include_str!("../../../results/README.md");
    let kept = [
        include_str!("../../../results/tinyllama-1.1b-cpu/table.md"),
        include_str!("../../../results/llama2-7b-h100/table.md"),
    ];
    for kept in kept {
        let tables: Vec<&str> = kept.split("\n\n").filter(|part| part.starts_with('|')).collect();
        assert_eq!(tables.len(), 2, "the published columns, and the shares of the peaks");
        for table in tables {
            assert!(readme.contains(table.trim_end()), "{table}");
        }
    }
}
