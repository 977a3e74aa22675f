//! Tables that look as if they said what they do not: they are refused with their place, or said.

use results::Value;
use results::published::{Document, ReadOptions, csv, json, markdown, parse, parse_with};

const HEADING: &str = "LLaMA-2 7B FP16 CUDA (1 A100 80GB)";

/// A table of one row with one figure.
fn table(name: &str, prompt_length: &str, figure: &str) -> String {
    format!(
        "## {HEADING}\n\n| Engine | Batch Size | Prompt Length | {name} |\n|---|---|---|---|\n| a | 4 | {prompt_length} | {figure} |\n"
    )
}

fn cell(figure: &str) -> String {
    table("Prompt Latency (ms)", "16", figure)
}

fn error(text: &str, file: &str) -> String {
    let options = ReadOptions { heading: Some(HEADING.into()), ..ReadOptions::default() };
    match parse_with(text, file, &options) {
        Ok(document) => panic!("{text}\n{document:?}"),
        Err(error) => error.to_string(),
    }
}

fn refused(text: &str, start: &str) {
    let error = error(text, "a.md");
    assert!(error.starts_with(start), "{error}\n{start}");
}

fn remarks(document: &Document) -> Vec<&str> {
    document.tables().flat_map(|table| &table.remarks).map(String::as_str).collect()
}

#[test]
fn other_figures_of_like_names_are_not_read() {
    let prompt = "| Prompt Latency (ms) |";
    for name in [
        "Prompt Latency / token (ms)",
        "Prompt Latency/token (ms)",
        "Prompt Token Latency (ms)",
        "Prompt Latency Average of Tokens (ms)",
        "Wall-Clock Latency / token (ms)",
        "Wall-Clock Token Latency (ms)",
        "Wall-Clock Throughput of Generated Tokens (tps)",
        "Generated Tokens Wall-Clock Throughput (tps)",
        "Wall-Clock Generation Throughput (tps)",
        "Generation Wall Clock Time (s)",
        "Prompt Generation Latency (ms)",
        "First 128 latency per batch (ms)",
        "Latency per First 128 Tokens (ms)",
        "First 128 Tokens Throughput / sequence (tps)",
    ] {
        let is_prompt = name.starts_with("Prompt");
        let other = if is_prompt { "| Wall-Clock Latency (s) |" } else { prompt };
        let text = table(name, "16", "1.5")
            .replacen(" |\n", &format!(" {other}\n"), 1)
            .replace("|---|\n", "|---|---|\n")
            .replace("| 1.5 |", "| 1.5 | 12 |");
        let document = parse(&text, "a.md").unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(remarks(&document), [format!("a.md:3: column \"{name}\" is not read")]);
        let row = &document.tables().next().unwrap().rows[0];
        let figures = row.cells.iter().filter(|cell| cell.value() != Value::NotAvailable).count();
        assert_eq!(figures, 1, "{name}");
        assert_eq!(markdown::write(&document), text);
    }
}

#[test]
fn the_latency_of_many_tokens_is_a_sum_or_a_mean() {
    for (name, count, unit) in [
        ("Latency of First 128 Tokens (ms)", 128, "ms"),
        ("First 128 Tokens Generation Time (ms)", 128, "ms"),
        ("Latency of the First 256 Generated Tokens (s)", 256, "s"),
        ("First 256 Tokens Latency", 256, "ms"),
    ] {
        let what = format!(
            "a.md:3: {name}: the mean of a token or the sum of all {count}? Write \"Average Latency of First {count} Tokens Generated ({unit})\""
        );
        refused(&table(name, "16", "1346"), &what);
    }
    for name in [
        "Latency of First 128 Tokens (ms, mean)",
        "First 128 Tokens Latency (ms/token)",
        "First 128 Latency per Token (ms)",
        "Mean Latency of First 128 Tokens (ms)",
    ] {
        let document = parse(&table(name, "16", "10.5"), "a.md").unwrap();
        assert_eq!(document.tables().next().unwrap().rows[0].cells[2].text(), "10.5", "{name}");
    }
}

#[test]
fn powers_subscripts_and_hidden_text_are_no_figures() {
    for figure in [
        "11.97<sub>2</sub>",
        "2¹⁰",
        "2<sup>10</sup>",
        "1336²",
        "1336<sup>2</sup>",
        "11.97²³",
        "11.97<sup>12</sup>",
        "11.97<sup>-1</sup>",
        "11.97⁻¹",
        "1<sup>1</sup>336",
        "<span style=\"display:none\">9</span>11.97",
        "<span hidden>9</span>11.97",
        "11.97 s (ms)",
        "OOM: 12.3",
        "OOM: 12.3 ms",
        "OOM (1.2e3)",
        "OOM (CUDA) 12.3",
        "TIMEOUT: 12.3",
        "N/A: 12.3",
        "- (12.3)",
        "TBD (11.97)",
        "TBD (~11.97)",
    ] {
        refused(&cell(figure), "a.md:5: Prompt Latency (ms): ");
    }
    for size in ["2<sup>10</sup>", "2<sup>4</sup>", "2¹", "2⁴", "2<sub>4</sub>", "<span hidden>1</span>6"]
    {
        refused(&table("Prompt Latency (ms)", size, "11.97"), "a.md:5: Prompt Length: ");
    }
    for figure in
        ["1336[^1]", "1336<sup>[1](#one)</sup>", "1336<sup>a</sup>", "1336<sup>*</sup>", "1336 ms²", "1336*"]
    {
        let document = parse(&cell(figure), "a.md").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(document.tables().next().unwrap().rows[0].cells[0].text(), "1336", "{figure}");
        assert_eq!(markdown::write(&document), cell(figure));
    }
    for word in [
        "OOM (80 GB)",
        "OOM: 80 GB",
        "OOM (2 GPUs)",
        "OOM (CUDA 12.4)",
        "TIMEOUT (600 s)",
        "N/A (unsupported)",
        "OOM<sup>1</sup>",
    ] {
        assert!(parse(&cell(word), "a.md").is_ok(), "{word}");
    }
    // However often, no stack overflows.
    refused(&cell(&format!("11.97{}", " (ms)".repeat(100_000))), "a.md:5: Prompt Latency (ms): ");
}

#[test]
fn no_row_behind_a_table_is_dropped() {
    let table = cell("11.97");
    for row in [
        "a | 4 | 64",
        "\u{a0}| a | 4 | 64 | 12.97 |",
        "\u{200b}| a | 4 | 64 | 12.97 |",
        "- | a | 4 | 64 | 12.97 |",
        "<tr>| a | 4 | 64 | 12.97 |",
        "│ a │ 4 │ 64 │ 12.97 │",
        "｜ a ｜ 4 ｜ 64 ｜ 12.97 ｜",
    ] {
        let what =
            if row.starts_with('\u{200b}') { "a.md:6: " } else { "a.md:6: a line with | right behind" };
        refused(&format!("{table}{row}\n"), what);
        refused(&format!("{table}text\n{row}\n"), "a.md:7: ");
    }
    for text in ["text\n", "\na | b\n", "# A | B\n", "```\n| a |\n```\n", "<!-- a | b -->\n", "a \\| b\n"] {
        let text = format!("{table}{text}");
        let document = parse(&text, "a.md").unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(markdown::write(&document), text);
    }
}

#[test]
fn tables_below_one_heading_share_it() {
    let table = cell("11.97");
    let (head, below) = table.split_once("\n\n").unwrap();
    let second = below.replace("| 16 |", "| 64 |");
    for (between, is_shared) in [("", true), ("And longer prompts:\n\n", true), ("And of 13B:\n\n", false)] {
        let text = format!("{head}\n\n{below}\n{between}{second}\nThe end.\n");
        let document = parse(&text, "a.md").unwrap();
        let headings: Vec<&str> = document.tables().map(|table| table.heading.as_str()).collect();
        assert_eq!(headings, [HEADING, if is_shared { HEADING } else { "" }], "{text}");
        assert_eq!(remarks(&document), [""; 0]);
        assert_eq!(markdown::write(&document), text);
        let of_csv = csv::parse(&csv::write(&document), "a.csv").unwrap();
        assert_eq!(markdown::write(&of_csv), text);
        let of_json = json::parse(&json::write(&document), "a.json").unwrap();
        assert_eq!(markdown::write(&of_json), text);
        // What the caller says is written only where it has to be.
        let options = ReadOptions { heading: Some(HEADING.into()), ..ReadOptions::default() };
        let given = markdown::write(&parse_with(&text, "a.md", &options).unwrap());
        let again = parse(&given, "a.md").unwrap();
        assert!(again.tables().all(|table| table.heading == HEADING), "{given}");
    }
}

#[test]
fn a_cell_in_two_tables_is_said() {
    let text = format!("{}\n{}", cell("11.97"), cell("99"));
    let said = "a.md:11: a 4×16 stands also in line 5, under the same heading";
    assert_eq!(remarks(&parse(&text, "a.md").unwrap()), [said]);
    let other_columns = format!("{}\n{}", cell("11.97"), table("Wall-Clock Latency (s)", "16", "3.08"));
    let other_heading = format!("{}\n{}", cell("11.97"), cell("99").replace("7B", "13B"));
    for text in [other_columns, other_heading] {
        assert_eq!(remarks(&parse(&text, "a.md").unwrap()), [""; 0]);
    }
}

#[test]
fn quotes_in_csv_are_closed_and_separate_nothing() {
    let header = "Engine,Batch Size,Prompt Length,Prompt Latency (ms)\n";
    for (rows, what) in [
        ("a,1,16,11.97\nb,2,16,\"12\"9\n", "a.csv:3: text behind a closing quote"),
        ("\"a\"x,1,16,11.97\n", "a.csv:2: text behind a closing quote"),
        ("a,1,16,\"11.97\n", "a.csv:2: a quoted field without its closing quote"),
    ] {
        let error = error(&format!("{header}{rows}"), "a.csv");
        assert!(error.starts_with(what), "{error}");
    }
    for separator in [";", "\t", ","] {
        let names = ["\"Engine\"", "\"Batch Size\"", "\"Prompt Length\"", "\"Prompt, Latency,,,, ms\""];
        let text =
            format!("{}\n{}\n", names.join(separator), ["\"a\"\"\"", "1", "16", "11.97"].join(separator));
        let document = parse(&text, "a.csv").unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(document.tables().next().unwrap().rows[0].cells[0].text(), "11.97");
    }
    let error = error("Engine,Batch Size,Prompt Length,Prompt Latency (\0)\na,1,16,11.97\n", "a.csv");
    assert!(error.contains("neither the header nor the cell says the unit"), "{error}");
}
