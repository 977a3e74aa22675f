//! Tokens and logits are those of HF transformers, whichever way the engine is asked to compute.

use engine_onnxruntime::OnnxRuntime;
use protocol::{Options, Precision};

/// ONNX Runtime has kernels in FP16 for ARM alone, which also add up in FP16; elsewhere it computes in FP32.
const FP16_TOLERANCE: f32 = if cfg!(target_arch = "aarch64") { 5e-2 } else { 2e-2 };

fn options(pairs: &[(&str, serde_json::Value)]) -> Options {
    pairs.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
}

#[test]
fn fp32_is_transformers() {
    let ways = [
        options(&[]),
        options(&[("logits", "all".into())]),
        options(&[("kv_cache", "dynamic".into())]),
        options(&[("prepacking", false.into())]),
        options(&[("fused", true.into())]),
        options(&[("fused", true.into()), ("prepacking", false.into()), ("kv_cache", "dynamic".into())]),
        options(&[("keep_outputs", true.into()), ("logits", "all".into()), ("kv_cache", "dynamic".into())]),
        options(&[("keep_outputs", true.into())]),
    ];
    for name in testing::parity::FIXTURES {
        for way in &ways {
            let mut engine = OnnxRuntime::new().unwrap();
            let tolerance = testing::parity::FP32_TOLERANCE;
            let error =
                testing::parity::check(&mut engine, name, Precision::Fp32, way.clone(), tolerance).unwrap();
            println!("{name} {way:?}: largest error of a logit {error:e}");
        }
    }
}

#[test]
fn fp16_is_close_to_transformers() {
    let ways = [
        options(&[]),
        options(&[("kv_cache", "dynamic".into())]),
        options(&[("fused", true.into())]),
        options(&[("keep_outputs", true.into()), ("kv_cache", "dynamic".into())]),
    ];
    for way in ways {
        let mut engine = OnnxRuntime::new().unwrap();
        let tolerance = FP16_TOLERANCE;
        let error =
            testing::parity::check(&mut engine, "tiny-f16", Precision::Fp16, way.clone(), tolerance).unwrap();
        println!("tiny-f16 {way:?}: largest error of a logit {error:e}");
    }
}
