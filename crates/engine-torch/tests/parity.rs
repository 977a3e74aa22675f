//! All engines but `pytorch-aoti`, with every combination of their options, against what HF transformers computed.

mod common;

use common::{ENGINES, all_options, loaded, options};
use engine_torch::TorchEngine;
use protocol::{LoadRequest, Precision};
use testing::parity::{FIXTURES, FP32_TOLERANCE, check_loaded, load_request};

#[test]
fn tokens_and_logits_are_those_of_transformers() {
    for name in FIXTURES {
        for engine in ENGINES {
            let onednn = (engine == TorchEngine::Eager).then(|| options(&[("linear", "onednn")]));
            for options in all_options(engine).into_iter().chain(onednn) {
                let request = load_request(name, Precision::Fp32, options.clone());
                let mut torch = loaded(engine, &LoadRequest { threads: Some(1), ..request });
                let error = check_loaded(&mut torch, name, FP32_TOLERANCE)
                    .unwrap_or_else(|error| panic!("{engine:?} {options:?} {error:#}"));
                println!("{name} {engine:?} {options:?}: {error:e}");
            }
        }
    }
}
