//! How far a quantized model is from the unquantized one: their next-token distributions after the same prompts.

use protocol::Generated;

/// The prompts, each of which gives one distribution.
pub(crate) const PROMPTS: u32 = 16;

/// Two models compared on one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Distance {
    /// Kullback–Leibler divergence of the quantized model's distribution from the other's, in nats (Kullback and Leibler 1951).
    pub(crate) kl: f64,
    /// Whether both find the same token most probable.
    pub(crate) same_top: bool,
}

/// The distance of the first step's distributions, prompt by prompt; `None` where logits are missing.
pub(crate) fn distances(quantized: &Generated, whole: &Generated) -> Option<Vec<Distance>> {
    let first = |generated: &'_ Generated| generated.logits.as_ref()?.first().cloned();
    let (quantized, whole) = (first(quantized)?, first(whole)?);
    let is_same_shape = quantized.iter().map(Vec::len).eq(whole.iter().map(Vec::len)) && !whole.is_empty();
    let distance = |(quantized, whole): (&Vec<f32>, &Vec<f32>)| {
        let [of_quantized, of_whole] = [quantized, whole].map(|logits| log_softmax(logits));
        let terms =
            of_whole.iter().zip(&of_quantized).map(|(whole, quantized)| whole.exp() * (whole - quantized));
        // Rounding can take a distance of nothing below zero.
        Distance { kl: terms.sum::<f64>().max(0.0), same_top: argmax(&of_quantized) == argmax(&of_whole) }
    };
    is_same_shape.then(|| quantized.iter().zip(&whole).map(distance).collect())
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let logits: Vec<f64> = logits.iter().map(|&logit| logit.into()).collect();
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    logits.iter().map(|logit| logit - largest - sum.ln()).collect()
}

fn argmax(values: &[f64]) -> Option<usize> {
    (0..values.len()).reduce(|best, index| if values[index] > values[best] { index } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(rows: &[&[f32]]) -> Generated {
        Generated {
            tokens: vec![vec![0]; rows.len()],
            logits_sha256: String::new(),
            logits: Some(vec![rows.iter().map(|row| row.to_vec()).collect()]),
            product_inputs: None,
        }
    }

    #[test]
    fn the_distance_is_the_divergence_of_the_distributions() {
        // Of (1/2, 1/2) and (1/4, 3/4): 1/2 ln 2 + 1/2 ln 2/3.
        let distances = distances(&generated(&[&[0.0, 3.0f32.ln()]]), &generated(&[&[7.0, 7.0]])).unwrap();
        let expected = 0.5 * 2.0f64.ln() + 0.5 * (2.0f64 / 3.0).ln();
        assert!((distances[0].kl - expected).abs() < 1e-7, "{distances:?}");
        assert!(!distances[0].same_top, "of two alike the first counts");
    }

    #[test]
    fn a_model_has_no_distance_from_itself_and_others_are_not_compared() {
        let one = generated(&[&[0.5, -1.0, 3.0], &[2.0, 1.0, 0.0]]);
        assert_eq!(distances(&one, &one), Some(vec![Distance { kl: 0.0, same_top: true }; 2]));
        assert_eq!(distances(&one, &generated(&[&[0.5, -1.0, 3.0]])), None);
        assert_eq!(distances(&one, &generated(&[&[0.5, -1.0], &[2.0, 1.0]])), None);
        assert_eq!(distances(&Generated { logits: None, ..one.clone() }, &one), None);
    }
}
