//! Machines, engines, sweeps and noise, drawn at random.

use proptest::prelude::*;
use protocol::Precision;

use crate::common::{DEVICES, Engine, Print, Sweep};

fn engine() -> impl Strategy<Value = Engine> {
    (0.3f64..0.9, 0.2f64..0.8, 0f64..60e-6, 0f64..0.9e-3, 0.01f64..0.05).prop_map(
        |(mbu, mfu, launch, host, share)| Engine { name: String::new(), mbu, mfu, launch, host, share },
    )
}

/// One to three engines, no two of a name.
pub(crate) fn engines() -> impl Strategy<Value = Vec<Engine>> {
    prop::collection::vec(engine(), 1..4).prop_map(|mut engines| {
        for (engine, name) in engines.iter_mut().zip(["onnxruntime", "pytorch-eager", "pytorch-compile"]) {
            engine.name = name.into();
        }
        engines
    })
}

pub(crate) fn sweep() -> impl Strategy<Value = Sweep> {
    let device = prop::sample::select(DEVICES.to_vec());
    let precision = prop::sample::select(vec![Precision::Fp16, Precision::Bf16]);
    let batches = prop::sample::subsequence(vec![1, 2, 4, 8, 16, 32, 64], 1..4);
    let prompts = prop::sample::subsequence(vec![16, 64, 128, 256, 512, 1024, 2048, 3840], 1..5);
    let generation = prop_oneof![Just(256), prop::sample::select(vec![16, 32, 128, 512, 1024]), 16u32..=1024];
    let print = prop_oneof![(3usize..=10).prop_map(Print::Short), (3usize..=10).prop_map(Print::Plain)];
    let count = prop::sample::select(vec![1, 2, 4, 8]);
    (device, count, precision, batches, prompts, generation, print).prop_map(
        |(device, count, precision, batches, prompts, generation, print)| Sweep {
            device,
            count,
            precision,
            batches,
            prompts,
            generation,
            print,
        },
    )
}

/// Factors of a normal distribution cut at three deviations, which are `level`: a measurement is within 3 % of another.
pub(crate) fn noise(level: f64, seed: u64) -> impl FnMut() -> f64 {
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
