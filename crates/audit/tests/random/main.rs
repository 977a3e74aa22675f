//! Tables as real machines would make them, with noise: nothing is found.

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod strategies;

use common::{audited, models, read, table};
use proptest::prelude::*;
use strategies::{engines, noise, sweep};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_found_in_sound_tables(
        sweep in sweep(),
        engines in engines(),
        drawn in prop::sample::subsequence((0..5usize).collect::<Vec<_>>(), 1..4),
        level in 0.002f64..0.03,
        seed in any::<u64>(),
    ) {
        let (models, mut noise) = (models(), noise(level, seed));
        let texts = drawn.iter().map(|&model| table(&sweep, &models[model], &engines, &mut noise));
        let text = texts.collect::<Vec<_>>().join("\n");
        let report = audited(&read(&text));
        prop_assert!(report.findings.is_empty(), "{text}\n{report}");
    }
}

/// Rows of any sizes and figures.
fn wild() -> impl Strategy<Value = String> {
    let size = prop_oneof![1u32..20, any::<u32>().prop_map(|size| size.max(1)), Just(u32::MAX)];
    let figure = prop_oneof![
        (0f64..1e3).prop_map(results::format_g10),
        prop::sample::select(vec!["0", "1e308", "1e-308", "0.0", "OOM", "N/A", "", "FAILED"])
            .prop_map(str::to_owned),
    ];
    let row = (0..3u32, size.clone(), size, prop::collection::vec(figure, 8)).prop_map(
        |(engine, batch, prompt, cells)| {
            format!("| e{engine} | {batch} | {prompt} | {} |\n", cells.join(" | "))
        },
    );
    let headings = vec![
        "LLaMA-2 70B FP16 CUDA (4294967295 A100 80GB)",
        "LLaMA-2 7B FP16 CUDA (1 A100)",
        "TinyLlama 1.1B FP32 CPU (AMD EPYC, 2 cores)",
        "Any",
    ];
    let table =
        (prop::sample::select(headings), prop::collection::vec(row, 1..8)).prop_map(|(heading, rows)| {
            format!(
                "# {heading}\n{}\n{}\n{}\n",
                results::published::layout::header(),
                results::published::layout::SEPARATOR,
                rows.concat()
            )
        });
    prop::collection::vec(table, 1..4).prop_map(|tables| tables.concat())
}

proptest! {
    #[test]
    fn no_figures_panic(text in wild()) {
        let report = audited(&read(&text));
        prop_assert_eq!(report.details().lines().count(), report.findings.len() + report.not_checked.len() + 1);
        serde_json::from_str::<serde_json::Value>(&report.to_json()).unwrap();
    }
}
