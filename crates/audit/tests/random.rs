//! Tables as real machines would make them, with noise: nothing is found.

mod common;

use proptest::prelude::*;
use protocol::Precision;

use common::{DEVICES, Engine, Sweep, audited, models, read, table};

fn engine() -> impl Strategy<Value = Engine> {
    (0.3f64..0.9, 0.2f64..0.8, 0f64..60e-6, 0f64..0.9e-3, 0.01f64..0.05).prop_map(
        |(mbu, mfu, launch, host, share)| Engine { name: String::new(), mbu, mfu, launch, host, share },
    )
}

/// One to three engines, no two of a name.
fn engines() -> impl Strategy<Value = Vec<Engine>> {
    prop::collection::vec(engine(), 1..4).prop_map(|mut engines| {
        for (engine, name) in engines.iter_mut().zip(["onnxruntime", "pytorch-eager", "pytorch-compile"]) {
            engine.name = name.into();
        }
        engines
    })
}

fn sweep() -> impl Strategy<Value = Sweep> {
    let device = prop::sample::select(DEVICES.to_vec());
    let precision = prop::sample::select(vec![Precision::Fp16, Precision::Bf16]);
    let batches = prop::sample::subsequence(vec![1, 2, 4, 8, 16, 32, 64], 1..4);
    let prompts = prop::sample::subsequence(vec![16, 64, 128, 256, 512, 1024, 2048, 3840], 1..5);
    (device, prop::sample::select(vec![1, 2, 4, 8]), precision, batches, prompts).prop_map(
        |(device, count, precision, batches, prompts)| Sweep { device, count, precision, batches, prompts },
    )
}

/// Factors of a normal distribution cut at three deviations, which are `level`: a measurement is within 3 % of another.
fn noise(level: f64, seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        // SplitMix64; the sum of twelve uniform numbers is close to normal, with deviation 1.
        let mut uniform = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) as f64 / u64::MAX as f64
        };
        let normal: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        (level * (normal / 3.0).clamp(-1.0, 1.0)).exp()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_found_in_sound_tables(
        sweep in sweep(),
        engines in engines(),
        drawn in prop::sample::subsequence((0..5usize).collect::<Vec<_>>(), 1..4),
        level in 0f64..0.03,
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
        (prop::sample::select(headings), prop::collection::vec(row, 0..8)).prop_map(|(heading, rows)| {
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
        prop_assert_eq!(report.to_string().lines().count(), report.findings.len() + report.not_checked.len() + 1);
        serde_json::from_str::<serde_json::Value>(&report.to_json()).unwrap();
    }
}
