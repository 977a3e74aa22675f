//! Seeded random weights: any part of any weight can be made alone, in parallel, with the same result.
//!
//! Value `i` of a weight is a function of seed, name and `i` alone: SplitMix64 (Steele, Lea, Flood 2014) as a
//! counter-based generator gives 64 bits, and the sum of their four 16-bit parts, centred and scaled, is close
//! to normal (Irwin–Hall, n = 4). Only integer arithmetic and one rounding: the same bits on every machine.
//!
//! Linear layers have standard deviation `1/sqrt(in)`, so that every projection of a normalised vector has
//! variance about 1 at any width, as in a trained model; norms scatter around 1.

use crate::{WeightKind, WeightSpec};

/// Fills `values` with the numbers `first..` of the weight `spec`.
pub(crate) fn fill(spec: &WeightSpec, seed: u64, first: usize, values: &mut [f32]) {
    let key = weight_key(seed, &spec.name);
    let (centre, deviation) = match spec.kind {
        WeightKind::Norm => (1.0, 0.1),
        WeightKind::Embedding | WeightKind::Linear => (0.0, 1.0 / (spec.shape[1] as f64).sqrt()),
    };
    // The sum of four uniform 16-bit integers has variance 4 (2^32 - 1) / 12.
    let scale = (deviation / (4.0 * (2f64.powi(32) - 1.0) / 12.0).sqrt()) as f32;
    for (value, index) in values.iter_mut().zip(first as u64..) {
        let bits = mix(key.wrapping_add(index.wrapping_mul(GOLDEN)));
        let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
        *value = centre + (sum as i32 - 2 * 0xffff) as f32 * scale;
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a of the name, mixed with the seed.
fn weight_key(seed: u64, name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash ^ mix(seed.wrapping_add(GOLDEN)))
}

/// Token `index` of row `row` of the prompt with this seed: uniform over the vocabulary.
pub(crate) fn token(seed: u64, row: u32, index: u32, vocab_size: u32) -> u32 {
    let key = weight_key(seed, "prompt");
    let bits = mix(key.wrapping_add((u64::from(row) << 32 | u64::from(index)).wrapping_mul(GOLDEN)));
    ((u128::from(bits) * u128::from(vocab_size)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: WeightKind) -> WeightSpec {
        WeightSpec { name: "model.layers.0.mlp.up_proj.weight".into(), shape: vec![512, 256], kind }
    }

    #[test]
    fn a_part_equals_the_same_part_of_the_whole() {
        let mut whole = vec![0.0; 1000];
        fill(&spec(WeightKind::Linear), 7, 0, &mut whole);
        let mut part = vec![0.0; 100];
        fill(&spec(WeightKind::Linear), 7, 500, &mut part);
        assert_eq!(part, whole[500..600]);
    }

    #[test]
    fn moments_are_as_promised() {
        let mut values = vec![0.0f32; 512 * 256];
        fill(&spec(WeightKind::Linear), 0, 0, &mut values);
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 1e-3, "{mean}");
        assert!((variance * 256.0 - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn seeds_and_names_change_the_values() {
        let first = |seed, name: &str| {
            let mut value = [0.0];
            let spec = WeightSpec { name: name.into(), ..spec(WeightKind::Linear) };
            fill(&spec, seed, 0, &mut value);
            value[0]
        };
        assert_ne!(first(0, "a"), first(1, "a"));
        assert_ne!(first(0, "a"), first(0, "b"));
    }

    #[test]
    fn values_never_change_between_versions() {
        let mut values = [0.0; 3];
        fill(&spec(WeightKind::Linear), 0, 0, &mut values);
        assert_eq!(values.map(f32::to_bits), PINNED);
    }

    const PINNED: [u32; 3] = [3172191842, 3181162197, 3179553080];
}
