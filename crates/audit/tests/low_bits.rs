//! Weights of 8 and 4 bits: gpt-fast's published tables, the same figures under a heading of more bits, and runs.

mod low_bit_run;

use std::path::Path;

use audit::{Finding, Severity, audit};
use protocol::{Device, Precision};
use results::hardware::Hardware;
use results::published::markdown;
use results::{PublishedFile, ResultTable};

use low_bit_run::Run;

/// What is found in a markdown text.
fn findings(text: &str) -> Vec<Finding> {
    let document = markdown::parse(text, "a.md").unwrap();
    let tables: Vec<_> = document.tables().map(|table| ResultTable::published("a.md", table)).collect();
    let report = audit(&tables, &Hardware::built_in());
    assert_eq!(report.not_checked, []);
    report.findings
}

/// A table of one row from elsewhere: a batch of 1, a prompt of 5 tokens.
fn one_row(heading: &str, column: &str, figure: &str) -> String {
    format!(
        "## {heading}\n\n| Engine | Batch Size | Prompt Length | {column} |\n|---|---|---|---|\n| gpt-fast | 1 | 5 | {figure} |\n"
    )
}

const TOKENS: &str = "Tokens Generated Avg Throughput (tps)";

/// The one finding in a table of one row.
fn finding(precision: &str, column: &str, figure: &str) -> Finding {
    let heading = format!("LLaMA-2 7B {precision} CUDA (1 A100 80GB)");
    let mut found = findings(&one_row(&heading, column, figure));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

/// The share of the memory bandwidth that each row of gpt-fast's tables takes, as the audit counts it. Nothing is found in them.
#[test]
fn gpt_fasts_rows_take_a_fifth_to_seven_tenths_of_the_bandwidth() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tables/gptfast.md"));
    let file = PublishedFile::read(path).unwrap();
    let report = audit(&file.tables(), &Hardware::built_in());
    assert_eq!((report.summary(), report.not_checked), ("16 rows in 16 tables: no findings".into(), vec![]));

    // On devices of a hundredth of the bandwidth, every row is beyond the peak, and the finding says how far.
    let device = |words: &str, memory_gb, bandwidth: f64, cache| {
        format!(
            "[[device]]\nchip = \"{words}\"\nform = [\"GCD\"]\nmemory_gb = {memory_gb}\n\
             bandwidth_bytes_per_second = {bandwidth:e}\ncache_bytes = {cache}\n\
             flops = {{ fp32 = 1e18, fp16 = 1e18, bf16 = 1e18 }}\nsource = \"made up\"\n"
        )
    };
    let slow = device("A100", 80, 20.39e9, 41_943_040) + &device("MI250X", 64, 16.384e9, 8_388_608);
    let slow = Hardware::parse(&slow, "hardware.toml").unwrap();
    let percent = |finding: Finding| {
        assert_eq!(finding.rule, "token-bandwidth");
        (finding.table.trim_start_matches("LLaMA-2 ").to_owned(), finding.times.unwrap().round())
    };
    let shares: Vec<(String, f64)> = audit(&file.tables(), &slow).findings.into_iter().map(percent).collect();
    let expected = [
        ("7B BF16 CUDA (1 A100 80GB)", 68.0),
        ("7B INT8 CUDA (1 A100 80GB)", 50.0),
        ("7B INT4 CUDA (1 A100 80GB)", 31.0),
        ("70B INT8 CUDA (1 A100 80GB)", 64.0),
        ("70B INT4 CUDA (1 A100 80GB)", 42.0),
        ("7B BF16 CUDA (2 A100 80GB)", 54.0),
        ("7B BF16 CUDA (4 A100 80GB)", 41.0),
        ("7B BF16 CUDA (8 A100 80GB)", 26.0),
        ("70B BF16 CUDA (2 A100 80GB)", 72.0),
        ("70B BF16 CUDA (4 A100 80GB)", 64.0),
        ("70B BF16 CUDA (8 A100 80GB)", 53.0),
        ("70B INT8 CUDA (8 A100 80GB)", 34.0),
        ("70B INT4 CUDA (8 A100 80GB)", 19.0),
        ("7B BF16 CUDA (1 MI250X 64GB GCD)", 62.0),
        ("7B INT8 CUDA (1 MI250X 64GB GCD)", 41.0),
    ];
    assert_eq!(shares, expected.map(|(table, share)| (table.to_owned(), share)));
}

#[test]
fn figures_of_few_bits_under_a_heading_of_more_are_impossible_and_the_finding_says_what_they_fit() {
    // gpt-fast's 4-bit and 8-bit rows: 13.18 GB, what the cache keeps left out, are read at 2593 and at 2050 GB/s.
    let four = finding("FP16", TOKENS, "196.80");
    assert_eq!((four.severity, four.rule), (Severity::Impossible, "token-bandwidth"));
    assert_eq!(
        four.message,
        "196.8 tps is more than the 154.8 tps that weights and KV cache, 13.18 GB, allow at 2039 GB/s \
         (A100 80GB SXM, the highest of 2 variants): 1.27 × the peak; possible with weights of 8 bits"
    );
    let eight = finding("FP16", TOKENS, "155.58");
    assert_eq!(eight.severity, Severity::Impossible);
    assert!(eight.message.ends_with(": 1.01 × the peak; possible with weights of 8 bits"), "{eight}");
    let heading = "LLaMA-2 7B FP16 CUDA (1 A100 80GB)";
    assert_eq!(findings(&one_row(heading, TOKENS, "154.7")), [], "just below the peak");
    // The same by another throughput, by a latency, of a prompt, and of the wall clock alone.
    for (column, figure, rule) in [
        ("Decode Throughput (tps)", "196.80", "token-bandwidth"),
        ("Tokens Generated Avg Latency (ms)", "5.081", "token-bandwidth"),
        ("Prompt Latency (ms)", "5.081", "prompt-bandwidth"),
        ("Wall-Clock Latency (s)", "0.005", "wall-clock-peak"),
    ] {
        let finding = finding("FP16", column, figure);
        assert_eq!((finding.severity, finding.rule), (Severity::Impossible, rule));
        assert!(finding.message.ends_with(" × the peak; possible with weights of 8 bits"), "{finding}");
    }
}

#[test]
fn the_bits_are_the_most_that_fit() {
    let ending = |precision, figure| {
        let message = finding(precision, TOKENS, figure).message;
        message.split_once(" × the peak").unwrap().1.to_owned()
    };
    for precision in ["FP16", "BF16"] {
        assert_eq!(ending(precision, "305"), "; possible with weights of 8 bits");
        assert_eq!(ending(precision, "400"), "; possible with weights of 4 bits");
        assert_eq!(ending(precision, "700"), "", "4 bits allow 627 tps");
    }
    assert_eq!(ending("FP32", "100"), "; possible with weights of 16 bits");
    assert_eq!(ending("FP32", "200"), "; possible with weights of 8 bits");
    for precision in ["INT8", "INT8-CHANNEL", "FP8"] {
        assert_eq!(ending(precision, "400"), "; possible with weights of 4 bits");
    }
    assert_eq!(ending("INT4", "700"), "");
}

#[test]
fn fewer_bits_explain_memory_but_not_arithmetic() {
    // gpt-fast's 70B with 8 bits on one A100: 138 GB of weights are 69.
    let heading = "LLaMA-2 70B BF16 CUDA (1 A100 80GB)";
    let found = findings(&one_row(heading, TOKENS, "19.13"));
    let kinds: Vec<_> = found.iter().map(|finding| finding.rule).collect();
    assert_eq!(kinds, ["token-bandwidth", "memory"]);
    assert!(found.iter().all(|one| one.message.ends_with("; possible with weights of 8 bits")), "{found:#?}");
    // A prompt of 2048 tokens takes 87 ms of an A100's FLOP/s, whatever its weights have.
    let text = one_row("LLaMA-2 7B FP16 CUDA (1 A100 80GB)", "Prompt Latency (ms)", "5")
        .replace("| 5 | 5 |", "| 2048 | 5 |");
    let found = findings(&text);
    assert_eq!(
        found.iter().map(|finding| finding.rule).collect::<Vec<_>>(),
        ["prompt-bandwidth", "prompt-compute"]
    );
    assert!(found.iter().all(|one| one.message.ends_with(" × the peak")), "{found:#?}");
}

/// 6,476,005,376 weights of 7B are in projections; the embedding, all but one row of it not read, norms and head have 16 bits.
fn read_bytes(bits: f64) -> f64 {
    let rest = 6_738_415_616_u64 - 6_476_005_376 - 32_000 * 4096 + 4096;
    let cache = 16 * (512 << 10);
    6_476_005_376.0 * bits / 8.0 + (2 * rest + cache) as f64
}

#[test]
fn a_runs_tokens_take_the_exact_bits_of_its_weights_and_scales() {
    let precisions = [
        (Precision::Int8, 8.5),
        (Precision::Int8G128, 8.125),
        (Precision::Int4, 4.5),
        (Precision::Int4G128, 4.125),
    ];
    for (precision, bits) in precisions {
        // On a CPU whose peak the run measured, and on a GPU whose last cache keeps 40 MiB.
        for (device, bandwidth, cache, severity, ending) in [
            (Device::Cpu, 40e9, 0.0, Severity::Remarkable, "measured on a busy machine"),
            (Device::Cuda(0), 2039e9, 41_943_040.0, Severity::Impossible, "1.00 × the peak"),
        ] {
            let least = (read_bytes(bits) - cache) / bandwidth;
            let found =
                |seconds: f64| Run { precision, device, token_seconds: seconds }.report(40e9).findings;
            assert_eq!(found(least * 1.001), [], "{precision} {device}");
            let faster = found(least * 0.999);
            assert!(!faster.is_empty(), "{precision} {device}");
            for finding in faster {
                assert_eq!((finding.severity, finding.rule), (severity, "token-bandwidth"));
                assert!(finding.message.ends_with(ending), "{finding}");
            }
        }
    }
}

#[test]
fn a_table_from_elsewhere_may_have_all_weights_in_few_bits_and_no_scales() {
    let heading = "LLaMA-2 7B INT4 CUDA (1 A100 80GB)";
    // 6,607,343,616 weights of 4 bits; of a run's 3.9 GB, 0.6 are scales, and what has 16 bits.
    let run = Run { precision: Precision::Int4, device: Device::Cuda(0), token_seconds: 1.0 / 620.0 };
    assert!(!run.report(2039e9).findings.is_empty());
    assert_eq!(findings(&one_row(heading, TOKENS, "620")), []);
    assert_eq!(findings(&one_row(heading, TOKENS, "624")), []);
    assert_eq!(finding("INT4", TOKENS, "626").rule, "token-bandwidth");
    // 4096 tokens of cache in 8 bits are 1.07 GB: 470 tps.
    let behind_4096 =
        |figure| findings(&one_row(heading, TOKENS, figure).replace("| 1 | 5 |", "| 1 | 4096 |"));
    assert_eq!(behind_4096("469"), []);
    assert_eq!(behind_4096("472").len(), 1);
}

#[test]
fn a_run_says_its_precision_so_no_other_explains_it() {
    let run = Run { precision: Precision::Fp16, device: Device::Cuda(0), token_seconds: 1.0 / 196.8 };
    let found = run.report(2039e9).findings;
    assert!(
        !found.is_empty() && found.iter().all(|one| one.message.ends_with("1.27 × the peak")),
        "{found:#?}"
    );
}

#[test]
fn flops_are_not_checked_by_peaks_of_products_without_quantized_weights() {
    let run = Run { precision: Precision::Int4, device: Device::Cpu, token_seconds: 1.0 };
    let not_checked: Vec<String> = run.report(40e9).not_checked.into_iter().map(|one| one.what).collect();
    assert_eq!(not_checked, ["physics: the device's FLOP/s in the heading's precision is not known"]);
}

/// A heading is of all rows of an engine.
#[test]
fn fewer_bits_explain_all_rows_of_an_engine_or_none() {
    let text = |engine: &str| {
        let row = one_row("LLaMA-2 7B FP16 CUDA (1 A100 80GB)", TOKENS, "196.80");
        format!("{row}| {engine} | 1 | 6 | 700 |\n")
    };
    let explained = |text: &str| {
        let found = findings(text).into_iter().filter(|finding| finding.rule == "token-bandwidth");
        found.map(|one| one.message.ends_with("; possible with weights of 8 bits")).collect::<Vec<_>>()
    };
    assert_eq!(explained(&text("other")), [true, false]);
    assert_eq!(explained(&text("gpt-fast")), [false, false]);
}
