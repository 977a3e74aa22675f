//! The tables of the rotary embedding (Su et al. 2021, arXiv:2104.09864).

use llama::LlamaConfig;

/// Cosines and sines, each `[max_position_embeddings, width]`, row-major, with `width` at least `head_dim / 2`: what is
/// beyond turns by nothing.
///
/// The angles are rounded to `f32` as HF's are, or the two would drift apart with the position.
pub(crate) fn tables(config: &LlamaConfig, width: usize) -> (Vec<f32>, Vec<f32>) {
    let mut frequencies = config.inv_freq();
    frequencies.resize(width, 0.0);
    (0..config.max_position_embeddings)
        .flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency))
        .map(|angle| (angle.cos(), angle.sin()))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_position_does_not_turn_and_the_first_pair_turns_by_one_radian() {
        let text = include_str!("../../../configs/models/llama2-15m.json");
        let pairs = 48 / 2;
        let (cos, sin) = tables(&LlamaConfig::parse(text, "llama2-15m.json").unwrap(), pairs);
        assert_eq!((cos.len(), sin.len()), (2048 * pairs, 2048 * pairs));
        assert!(cos[..pairs].iter().all(|&cos| cos == 1.0) && sin[..pairs].iter().all(|&sin| sin == 0.0));
        assert_eq!((cos[5 * pairs], sin[5 * pairs]), (5f32.cos(), 5f32.sin()));
        // The last pair's frequency is theta^(-46/48).
        let slowest = 10000f64.powf(-46.0 / 48.0);
        assert!((f64::from(sin[2 * pairs - 1]) - slowest.sin()).abs() < 1e-10);
    }
}
