//! What people add to a table: it has the plain table's figures, or is refused with its place.

use results::published::{Document, ReadOptions, parse, parse_with};
use results::{Column, ResultTable, Value};

const HEADING: &str = "LLaMA-2 7B FP16 CUDA (1 A100 80GB)";
const NAMES: [&str; 11] = results::COLUMNS;
const ROW: [&str; 11] =
    ["onnxruntime", "1", "16", "11.97", "1336.7", "10.52", "95.06", "10.54", "94.88", "3.08", "88.31"];

fn line(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// A table of one row below its heading.
fn table(names: &[&str], row: &[&str]) -> String {
    format!("## {HEADING}\n\n{}|{}\n{}", line(names), "---|".repeat(names.len()), line(row))
}

fn with(cells: &[&'static str; 11], column: usize, text: &str) -> String {
    let mut cells = cells.map(str::to_owned);
    cells[column] = text.into();
    cells.join(" | ")
}

fn cell(column: usize, text: &str) -> String {
    table(&NAMES, &[&with(&ROW, column, text)])
}

fn header(column: usize, text: &str) -> String {
    let names = with(&NAMES, column, text);
    format!("## {HEADING}\n\n| {names} |\n|{}\n{}", "---|".repeat(11), line(&ROW))
}

/// Heading, engine, sizes and the figures in seconds or tokens a second.
type Said = (String, Vec<(String, u32, u32, Vec<Option<f64>>)>);

fn said(document: &Document) -> Vec<Said> {
    let tables = document.tables().map(|table| ResultTable::published("a", table));
    let table = |table: ResultTable<'_>| {
        let rows = table.rows.iter().map(|row| {
            let figures = Column::PUBLISHED.map(|column| row.seconds(column).map(|figure| figure.value));
            (row.engine.to_owned(), row.size.batch_size, row.size.prompt_length, figures.to_vec())
        });
        (table.title.to_string(), rows.collect())
    };
    tables.map(table).collect()
}

fn plain() -> Vec<Said> {
    said(&parse(&table(&NAMES, &ROW), "plain.md").unwrap())
}

fn assert_plain(text: &str, file: &str) -> Document {
    let document = parse(text, file).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let (read, plain) = (said(&document), plain());
    assert_eq!(read.len(), 1, "{text}");
    assert_eq!((&read[0].0, read[0].1.len()), (&plain[0].0, 1), "{text}");
    let ((engine, batch, prompt, figures), expected) = (&read[0].1[0], &plain[0].1[0]);
    assert_eq!((engine, batch, prompt), (&expected.0, &expected.1, &expected.2), "{text}");
    for (figure, expected) in figures.iter().zip(&expected.3) {
        let [figure, expected] = [figure, expected].map(|figure| figure.expect("all are there"));
        assert!((figure / expected - 1.0).abs() < 1e-12, "{text}: {figure} {expected}");
    }
    document
}

/// Checks that a text comes back byte for byte through every format.
fn assert_comes_back(document: &Document, text: &str) {
    use results::published::{csv, json, markdown};
    assert_eq!(markdown::write(document), text);
    let of_csv = csv::parse(&csv::write(document), "a.csv").unwrap_or_else(|error| panic!("{error}\n{text}"));
    let of_json =
        json::parse(&json::write(&of_csv), "a.json").unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(markdown::write(&of_json), text);
    assert_eq!(said(&of_json), said(document), "{text}");
}

fn refused(text: &str, place: &str) {
    let error = parse(text, "a.md").map(|document| said(&document)).expect_err(text).to_string();
    assert!(error.starts_with(place), "{error}\n{place}");
}

#[test]
fn decorated_figures_are_the_plain_ones() {
    for text in [
        "**11.97**",
        "__11.97__",
        "*11.97*",
        "_11.97_",
        "***11.97***",
        "`11.97`",
        "<b>11.97</b>",
        "<span style=\"color:green\">11.97</span>",
        "11.97<br>",
        "11.97<sup>1</sup>",
        "11.97[^1]",
        "11.97*",
        "11.97 †",
        "**11.97**\\*",
        "11.97²",
        "[11.97](https://a.b)",
        "11.97 <!-- best -->",
        "11.97 ms",
        "11.97ms",
        "**11.97** ms",
        "11.97&nbsp;ms",
        "11.97 (ms)",
        "0.01197 s",
        "11970 µs",
        "11970 us",
        "11.97 ± 0.03",
        "11.97 +/- 0.03",
        "11.97 (0.03)",
        "11.97 &plusmn; 0.03 ms",
        "**11.97** ± 0.03",
        "1.197e1",
    ] {
        let text = cell(3, text);
        assert_comes_back(&assert_plain(&text, "a.md"), &text);
    }
    for text in [
        "1,336.7",
        "1 336.7",
        "1\u{a0}336.7",
        "1\u{2009}336.7",
        "1\u{202f}336.7",
        "1&thinsp;336.7",
        "1'336.7",
        "1’336.7",
        "1_336.7",
        "**1,336.7** tok/s",
        "1336.7 tokens/s",
    ] {
        let text = cell(4, text);
        assert_comes_back(&assert_plain(&text, "a.md"), &text);
    }
}

#[test]
fn names_and_sizes_are_the_plain_ones() {
    for text in [
        "**onnxruntime**",
        "`onnxruntime`",
        "[onnxruntime](https://onnxruntime.ai)",
        "onnxruntime*",
        "onnxruntime[^2]",
        "onnxruntime<sup>1</sup>",
        "<b>onnxruntime</b>",
        "onnxruntime †",
    ] {
        let text = cell(0, text);
        assert_comes_back(&assert_plain(&text, "a.md"), &text);
    }
    for text in ["16.0", "**16**", "016", "16*", "`16`"] {
        let text = cell(2, text);
        assert_comes_back(&assert_plain(&text, "a.md"), &text);
    }
}

#[test]
fn what_says_that_there_is_no_figure_is_no_figure() {
    for (text, ended) in [
        ("NA", false),
        ("n/a", false),
        ("-", false),
        ("–", false),
        ("—", false),
        ("--", false),
        ("TBD", false),
        ("N/A (unsupported)", false),
        ("OOM", true),
        ("**OOM**", true),
        ("OOM (CUDA)", true),
        ("OOM[^1]", true),
        ("out of memory", true),
    ] {
        let text = cell(3, text);
        let document = parse(&text, "a.md").unwrap();
        let value = document.tables().next().unwrap().rows[0].cells[0].value();
        assert!(matches!((value, ended), (Value::NotAvailable, false) | (Value::Ended(_), true)), "{text}");
        assert_comes_back(&document, &text);
    }
}

#[test]
fn what_is_no_plain_figure_is_refused_with_its_place() {
    for text in [
        "11,97",
        "1,33",
        "12,34.5",
        "1.336,7",
        "~11.97",
        "≈ 11.97",
        ">100",
        "<0.1",
        "&lt;0.1",
        "11.9–12.0",
        "11.9-12.0",
        "11.97 / 12.3",
        "11.97 (best)",
        "11.97 (+3%)",
        "11.97 (1.2x)",
        "11.97 tps",
        "11.97 min",
        "11.97 ms/token",
        "~~12.5~~ 11.97",
        "![11.97](a.png)",
        "10<sup>3</sup>",
        "10²",
        "1.2×10³",
        "✅ 11.97",
        "11.97 🏆",
        "$11.97$",
        "-11.97",
        "+11.97",
        "nan",
        "\"11.97\"",
        "11.97<br>12.01",
        "1.3k",
    ] {
        refused(&cell(3, text), "a.md:5: Prompt Latency (ms): ");
    }
    // A comma alone, where no figure says whether it separates thousands.
    let row: Vec<&str> = ROW.iter().map(|text| if text.contains('.') { "1,336" } else { *text }).collect();
    refused(&table(&NAMES, &row), "a.md:5: Prompt Latency (ms): ");
    for text in ["", "\"", "〃", "**"] {
        let _ = parse(&cell(0, text), "a.md").map(|document| panic!("{:?}", said(&document)));
    }
    for text in ["", "1-4", "16 tok", "1.5", "16,5"] {
        refused(&cell(2, text), "a.md:5: Prompt Length: ");
    }
}

#[test]
fn headers_are_read_however_they_are_written() {
    for text in [
        "Prompt latency [ms]",
        "PROMPT  LATENCY (MS)",
        "prompt_latency_ms",
        "Prompt Latency, ms",
        "**Prompt Latency (ms)**",
        "Prompt Latency<br>(ms)",
        "Avg Prompt Latency (ms)",
        "Prompt Latency (ms) ↓",
        "Prefill latency (ms)",
        "`Prompt Latency (ms)`",
        "Prompt&nbsp;Latency (ms)",
        "Prompt-Latency (ms)",
        "PromptLatency(ms)",
        "Prompt Latency (ms)[^1]",
        "Prompt Latency (ms)*",
        "Prompt Processing Latency (ms)",
        "Average Latency of Prompt Processing (ms)",
        "Prompt Latency (mean, ms)",
        "Prompt Latency (msec)",
        "Prompt Latency (ms ± std)",
        "Prompt Latency (ms, ± std)",
        "Prompt (ms)",
        "Prompt Latency (ms)<br>(lower is better)",
        "Prompt Latency (ms)\u{feff}",
        "Prompt\u{200b} Latency (ms)",
    ] {
        let text = header(3, text);
        assert_comes_back(&assert_plain(&text, "a.md"), &text);
    }
    for (column, name) in [
        (0, "**Engine**"),
        (0, "Backend"),
        (0, "Framework"),
        (1, "batch"),
        (1, "BS"),
        (1, "batch_size"),
        (2, "Prompt"),
        (2, "prompt len"),
        (2, "Prompt Length (tokens)"),
        (4, "Prompt throughput"),
        (4, "prompt tok/s"),
        (5, "Average Latency of First 128 Tokens Generated (ms)"),
        (5, "First 128 avg latency (ms/token)"),
        (9, "Wall clock time (s)"),
        (10, "Wall-Clock Throughput (tokens/s)"),
    ] {
        let text = header(column, name);
        assert_comes_back(&assert_plain(&text, "a.md"), &text);
    }
    let seconds = header(3, "Prompt Latency (s)").replace("| 11.97 |", "| 0.01197 |");
    let microseconds = header(3, "Prompt Latency (µs)").replace("| 11.97 |", "| 11970 |");
    let of_cells = header(3, "Prompt Latency").replace("| 11.97 |", "| 11.97 ms |");
    let wall = header(9, "Wall-Clock Latency (ms)").replace("| 3.08 |", "| 3080 |");
    for text in [seconds, microseconds, of_cells, wall] {
        assert_comes_back(&assert_plain(&text, "a.md"), &text);
    }
    refused(&header(3, "Prompt Latency (min)"), "a.md:3: Prompt Latency (min): \"min\" is no unit");
    refused(&header(3, "Prompt Latency (tps)"), "a.md:3: Prompt Latency (tps): \"tps\" is no unit");
    refused(&header(3, "Prompt Latency"), "a.md:5: Prompt Latency (ms): ");
    refused(&header(6, "Prompt Processing Throughput (tps)"), "a.md:3: Prompt Processing Throughput (tps): ");
    refused(&header(0, "Name"), "a.md:3: no Engine column: say which engine it is with --engine NAME");
    // What is another statistic is no mean.
    for name in [
        "Prompt Latency Median (ms)",
        "Prompt Latency P95 (ms)",
        "Prompt Latency per Token (ms)",
        "Std of Prompt Latency (ms)",
    ] {
        let document = parse(&header(3, name), "a.md").unwrap();
        let table = document.tables().next().unwrap();
        assert_eq!(table.rows[0].cells[0].value(), Value::NotAvailable);
        assert_eq!(table.remarks, [format!("a.md:3: column \"{name}\" is not read")]);
    }
}

#[test]
fn a_name_with_separators_of_csv_comes_back() {
    for separators in ["; ", "\"; \"", ", ; "] {
        let name = format!("a{}b", separators.repeat(20));
        let names = [&NAMES[..], &[&*name]].concat();
        let text = table(&names, &[&ROW[..], &["1; 2"]].concat());
        assert_comes_back(&parse(&text, "a.md").unwrap(), &text);
    }
}

#[test]
fn what_reproduce_prints_is_no_table_whatever_hides_in_its_names() {
    for name in ["Verdict", "Verdict\u{feff}"] {
        let names = [&NAMES[..], &[name]].concat();
        assert!(parse(&table(&names, &[&ROW[..], &["same"]].concat()), "a.md").is_err(), "{name:?}");
    }
}

#[test]
fn columns_may_stand_anywhere() {
    let reversed = |cells: [&'static str; 11]| cells.into_iter().rev().collect::<Vec<_>>();
    let moved = table(&reversed(NAMES), &reversed(ROW));
    let index = table(&[&["#"], &NAMES[..]].concat(), &[&["1"], &ROW[..]].concat());
    let unnamed = table(&[&[" "], &NAMES[..]].concat(), &[&["0"], &ROW[..]].concat());
    let notes = table(
        &[&NAMES[..3], &["Notes"], &NAMES[3..]].concat(),
        &[&ROW[..3], &["~~x~~ a\\|b"], &ROW[3..]].concat(),
    );
    let change = table(
        &[&NAMES[..4], &["Prompt Latency (%)"], &NAMES[4..]].concat(),
        &[&ROW[..4], &["+5"], &ROW[4..]].concat(),
    );
    for (text, remarks) in [(moved, 0), (index, 0), (unnamed, 0), (notes, 1), (change, 1)] {
        let document = assert_plain(&text, "a.md");
        assert_eq!(document.tables().next().unwrap().remarks.len(), remarks, "{text}");
        assert_comes_back(&document, &text);
    }
    // What a heading says for all rows is the same in all of them.
    let names = [&["Model"], &NAMES[..]].concat();
    let [small, large] = ["7B", "13B"].map(|model| [&[model], &ROW[..]].concat());
    let document = assert_plain(&table(&names, &small), "a.md");
    assert_eq!(document.tables().next().unwrap().remarks, ["a.md:3: column \"Model\" is not read"]);
    refused(&(table(&names, &small) + &line(&large)), "a.md:6: Model: \"13B\", and \"7B\" in rows above");
    // Names that csv and json use themselves, and none at all.
    let odd = ["markdown", "measured", "Table", "Markdown Row", "", ""];
    let text = table(&[&NAMES[..], &odd].concat(), &[&ROW[..], &["a", "b", "c", "d", "e", "f"]].concat());
    assert_comes_back(&assert_plain(&text, "a.md"), &text);
    let few = table(&NAMES[..4], &ROW[..4]);
    let document = parse(&few, "a.md").unwrap();
    assert_eq!(document.tables().next().unwrap().rows[0].cells[1].value(), Value::NotAvailable);
    assert_comes_back(&document, &few);
}

#[test]
fn a_table_is_found_wherever_it_stands() {
    let table = table(&NAMES, &ROW);
    let (_, below) = table.split_once("\n\n").unwrap();
    let quoted: String = table.lines().map(|line| format!("> {line}\n")).collect();
    let in_list: String = below.lines().map(|line| format!("   {line}\n")).collect();
    for text in [
        format!("<details><summary>{HEADING}</summary>\n\n{below}\n</details>\n"),
        format!("<details>\n<summary>\n<b>{HEADING}</b>\n</summary>\n\n{below}\n</details>\n"),
        format!("<h2 align=\"center\">{HEADING}</h2>\n\n{below}"),
        format!("{HEADING}\n---\n\n{below}"),
        format!("{HEADING}:\n\n{below}"),
        format!("**{HEADING}**:\n\n{below}"),
        format!("__{HEADING}__\n\n{below}"),
        format!("## **{HEADING}**\n\n{below}"),
        quoted,
        format!("## {HEADING}\n\n1. Results:\n\n{in_list}"),
        table.replace('\n', "\r\n"),
        format!("\u{feff}{table}"),
        format!("{table}\n| A | B |\n|---|---|\n| 1 | 16 |\n"),
        format!("```\n{}```\n\n{table}", table.replace("11.97", "12")),
        format!("<!--\n{}-->\n\n{table}", table.replace("11.97", "12")),
        format!("The columns are {}{table}", line(&NAMES[..4])),
    ] {
        assert_comes_back(&assert_plain(&text, "a.md"), &text);
    }
    // Ratios are no latencies, whatever their names.
    let ratios = "| Engine | Batch Size | Prompt Length | Prompt Latency | Verdict |\n|---|---|---|---|---|\n| e | 1 | 16 | 1.02 | slower |\n";
    let changes = "| Engine | Batch Size | Prompt Length | Prompt Latency (%) |\n|---|---|---|---|\n| e | 1 | 16 | 5 |\n";
    let text = format!("{table}\n{ratios}\n{changes}");
    assert_comes_back(&assert_plain(&text, "a.md"), &text);
    let rest = format!(
        "{table}\n| Engine | Batch Size | Prompt Length | Latency |\n|---|---|---|---|\n| e | 1 | 16 | 5 |\n"
    );
    let document = assert_plain(&rest, "a.md");
    let remarks = &document.tables().next().unwrap().remarks;
    assert!(remarks[0].starts_with("a.md:7: not read: no column of this table has figures"), "{remarks:?}");
}

#[test]
fn csv_is_read_as_spreadsheets_and_scripts_write_it() {
    let rows = |separator: &str| format!("{}\n{}\n", NAMES.join(separator), ROW.join(separator));
    let options = ReadOptions { heading: Some(HEADING.into()), ..ReadOptions::default() };
    let thousands = rows(",").replace("1336.7", "\"1,336.7\"");
    let index = format!(",{}\n0,{}\n", NAMES.join(","), ROW.join(","));
    let notes = format!("{},Notes\n{},\"two\nlines\"\n", NAMES.join(","), ROW.join(","));
    let said_first = format!("sep=;\n{}", rows(";"));
    for text in [
        rows(","),
        rows(";"),
        rows("\t"),
        format!("\u{feff}{}", rows(",")),
        rows(",").replace('\n', "\r\n"),
        thousands,
        index,
        notes,
        said_first,
    ] {
        let document = parse_with(&text, "a.csv", &options).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(said(&document), plain(), "{text}");
    }
    let error = |text: &str| parse(text, "a.csv").unwrap_err().to_string();
    let decimal_commas = format!("{}\n{}\n", NAMES.join(";"), ROW.join(";").replace('.', ","));
    assert!(error(&decimal_commas).starts_with("a.csv:2: Prompt Latency (ms): "));
    assert!(error(&rows(",").replace("1336.7", "1,336.7")).starts_with("a.csv:2: expected 11 fields"));
}

#[test]
fn benchmark_scripts_csv_needs_an_engine() {
    let onnxruntime = "Batch Size,Prompt Length,Prompt Processing Latency (ms),Prompt Processing Throughput (tps),Sampling Latency (ms),\
        Sampling Throughput (tps),First Token Generated Latency (ms),First Token Generated Throughput (tps),\
        Average Latency of First 128 Tokens Generated (ms),Average Throughput of First 128 Tokens Generated (tps),\
        Average Latency of First 256 Tokens Generated (ms),Average Throughput of First 256 Tokens Generated (tps),\
        Wall-Clock Latency (s),Wall-Clock Throughput (tps)\n\
        1,16,11.97,1336.7,0.1,10000,10.6,94.3,10.52,95.06,10.54,94.88,3.08,88.31\n";
    let error = parse(onnxruntime, "benchmark.csv").unwrap_err().to_string();
    assert_eq!(error, "benchmark.csv: no Engine column: say which engine it is with --engine NAME");
    let options = ReadOptions {
        engine: Some("onnxruntime".into()),
        heading: Some(HEADING.into()),
        generation_length: Some(256),
        ..ReadOptions::default()
    };
    let document = parse_with(onnxruntime, "benchmark.csv", &options).unwrap();
    assert_eq!(said(&document), plain());
    let table = document.tables().next().unwrap();
    assert_eq!(table.generation_length, Some(256));
    assert!(table.remarks[0].contains("\"Sampling Latency (ms)\""), "{:?}", table.remarks);

    // ONNX Runtime GenAI's, as its script writes it by itself and through its records.
    let genai = "Batch Size,Prompt Length,Tokens Generated,Max Length,Tokenization Throughput (tps),Tokenization Latency (ms),\
        Prompt Processing Throughput (tps),Prompt Processing Latency (ms),Token Generation Throughput (tps),Token Generation Latency (ms),\
        Sampling Throughput (tps),Sampling Latency (ms),Wall Clock Throughput (tps),Wall Clock Time (s)\n\
        1,16,LENGTH,272,1e5,0.1,1336.7,11.97,94.88,10.54,1e4,0.1,88.31,3.08\n";
    let records = "config.backend,config.batch_size,config.prompt_length,config.tokens_generated,metrics.prompt_processing_throughput_tps,\
        metrics.prompt_processing_latency_ms,metrics.token_generation_throughput_tps,metrics.token_generation_latency_ms,\
        metrics.wall_clock_throughput_tps,metrics.wall_clock_time_s\n\
        onnxruntime,1,16,256,1336.7,11.97,94.88,10.54,88.31,3.08\n";
    for (text, length) in
        [(genai.replace("LENGTH", "256"), 256), (genai.replace("LENGTH", "64"), 64), (records.into(), 256)]
    {
        let options = ReadOptions { generation_length: None, ..options.clone() };
        let document = parse_with(&text, "genai.csv", &options).unwrap();
        let table = document.tables().next().unwrap();
        assert_eq!(table.generation_length, Some(length));
        let figures = &said(&document)[0].1[0].3;
        let mut expected = plain()[0].1[0].3.clone();
        // Means of all tokens: a published column where there are 128 or 256.
        expected[2..4].fill(None);
        if length != 256 {
            expected[4..6].fill(None);
        }
        assert_eq!(figures, &expected);
        let again = results::published::csv::write(&document);
        assert_eq!(said(&parse(&again, "again.csv").unwrap()), said(&document));
    }
    // Beside tables of other columns in one csv, with their markdown.
    let options = ReadOptions { generation_length: None, ..options };
    let scripts = [genai.replace("LENGTH", "256"), genai.replace("LENGTH", "64"), records.to_owned()]
        .map(|text| parse_with(&text, "genai.csv", &options).unwrap().pieces);
    let seconds = header(3, "Prompt Latency (s)").replace("| 11.97 |", "| 0.01197 |");
    let others = [header(0, "Engine"), seconds].map(|text| parse(&text, "a.md").unwrap().pieces);
    let all = Document { pieces: others.into_iter().chain(scripts).flatten().collect() };
    assert_comes_back(&all, &results::published::markdown::write(&all));
    let mixed =
        genai.replace("LENGTH", "256") + "1,64,128,272,1e5,0.1,1336.7,11.97,94.88,10.54,1e4,0.1,88.31,3.08\n";
    let error = parse_with(&mixed, "genai.csv", &options).unwrap_err().to_string();
    assert!(error.starts_with("genai.csv:3: Tokens Generated: 128 tokens, and 256 in rows above"), "{error}");
}

#[test]
fn an_engine_that_the_caller_says_is_written_into_the_table() {
    let text = table(&NAMES[1..], &ROW[1..]);
    refused(&text, "a.md:3: no Engine column: say which engine it is with --engine NAME");
    let options = ReadOptions { engine: Some("onnxruntime".into()), ..ReadOptions::default() };
    let document = parse_with(&text, "a.md", &options).unwrap();
    let written = results::published::markdown::write(&document);
    assert_comes_back(&assert_plain(&written, "a.md"), &written);
    // It is for what a file does not say.
    assert_eq!(
        said(&parse_with(&written, "a.md", &ReadOptions { engine: Some("x".into()), ..options }).unwrap()),
        plain()
    );
}
