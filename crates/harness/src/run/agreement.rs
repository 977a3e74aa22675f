//! Compares what two engines generated.

use protocol::{Agreement, Generated};

/// The agreement of an engine that did not answer, with its error.
pub(crate) fn no_answer(engine: &str, error: &str) -> Agreement {
    Agreement { error: Some(error.to_owned()), ..nothing_compared(engine) }
}

fn nothing_compared(engine: &str) -> Agreement {
    Agreement {
        engine: engine.to_owned(),
        error: None,
        same_tokens: false,
        first_difference: None,
        logit_gap: None,
        largest_error: 0.0,
        largest_error_at: None,
        own_tolerance: None,
    }
}

/// Compares what an engine generated with what another engine generated.
pub(crate) fn compare(engine: &str, found: &Generated, expected: &Generated) -> Agreement {
    let mut agreement = nothing_compared(engine);
    let (Some(found_logits), Some(expected_logits)) = (&found.logits, &expected.logits) else {
        return Agreement { error: Some("no logits were sent".into()), ..agreement };
    };
    if shape(found, found_logits) != shape(expected, expected_logits) {
        return Agreement {
            error: Some("wrong number of steps, rows, tokens or logits".into()),
            ..agreement
        };
    }
    agreement.same_tokens = found.tokens == expected.tokens;
    for (row, (found_tokens, expected_tokens)) in found.tokens.iter().zip(&expected.tokens).enumerate() {
        for (step, (found_step, expected_step)) in found_logits.iter().zip(expected_logits).enumerate() {
            for (id, (a, b)) in found_step[row].iter().zip(&expected_step[row]).enumerate() {
                let error = f64::from((a - b).abs());
                // JSON has neither NaN nor infinity.
                let error = if error.is_finite() { error } else { f64::MAX };
                if error > agreement.largest_error {
                    agreement.largest_error = error;
                    agreement.largest_error_at = Some((step, row, id));
                }
            }
            let (a, b) = (found_tokens[step], expected_tokens[step]);
            if a != b {
                if agreement.first_difference.is_none_or(|first| (step, row) < first) {
                    agreement.first_difference = Some((step, row));
                }
                let logit = |id: u32| expected_step[row].get(id as usize).copied().map(f64::from);
                let gap = logit(b).zip(logit(a)).map_or(f64::MAX, |(b, a)| (b - a).abs());
                agreement.logit_gap = Some(agreement.logit_gap.map_or(gap, |largest: f64| largest.max(gap)));
                // This row continues a different text from here on, so its logits can't be compared.
                break;
            }
        }
    }
    agreement
}

/// Tokens of each row, and logits of each row of each step.
fn shape(generated: &Generated, logits: &[Vec<Vec<f32>>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let steps = logits.iter().map(|step| step.iter().map(Vec::len).collect());
    (generated.tokens.iter().map(Vec::len).collect(), steps.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::{Precision, Verification};

    use super::*;

    fn generated(tokens: &[&[u32]], logits: &[&[&[f32]]]) -> Generated {
        Generated {
            tokens: tokens.iter().map(|row| row.to_vec()).collect(),
            logits_sha256: String::new(),
            product_inputs: None,
            logits: Some(logits.iter().map(|step| step.iter().map(|row| row.to_vec()).collect()).collect()),
        }
    }

    #[test]
    fn the_largest_error_is_found_with_its_place() {
        let a = generated(&[&[1, 0]], &[&[&[0.0, 1.0]], &[&[1.0, 0.5]]]);
        let b = generated(&[&[1, 0]], &[&[&[0.0, 1.0]], &[&[1.0, 0.25]]]);
        let agreement = compare("x", &a, &b);
        assert!(agreement.same_tokens);
        assert_eq!((agreement.largest_error, agreement.largest_error_at), (0.25, Some((1, 0, 1))));
    }

    #[test]
    fn logits_after_a_different_token_are_not_compared() {
        let a = generated(&[&[0, 1]], &[&[&[1.0, 0.99]], &[&[0.0, 9.0]]]);
        let b = generated(&[&[1, 0]], &[&[&[0.99, 1.0]], &[&[9.0, 0.0]]]);
        let agreement = compare("x", &a, &b);
        assert_eq!(agreement.first_difference, Some((0, 0)));
        assert!(agreement.largest_error < 0.011);
        assert!(agreement.logit_gap.unwrap() < 0.011);
    }

    #[test]
    fn right_logits_with_wrong_tokens_are_found() {
        let a = generated(&[&[1]], &[&[&[1.0, 0.0]]]);
        let b = generated(&[&[0]], &[&[&[1.0, 0.0]]]);
        let agreement = compare("x", &a, &b);
        assert_eq!((agreement.largest_error, agreement.logit_gap), (0.0, Some(1.0)));
        let verification = Verification {
            model: "m".into(),
            precision: Precision::Fp32,
            against: None,
            reference_error: None,
            largest_logit: 1.0,
            tolerance: 1e-4,
            agreements: vec![agreement],
            part: 1,
            reused: BTreeMap::new(),
            fidelity: None,
        };
        assert!(!verification.holds());
    }

    #[test]
    fn missing_rows_and_logits_are_found() {
        let whole = generated(&[&[0], &[0]], &[&[&[1.0, 0.0], &[1.0, 0.0]]]);
        for part in [
            generated(&[&[0]], &[&[&[1.0, 0.0], &[1.0, 0.0]]]),
            generated(&[&[0], &[]], &[&[&[1.0, 0.0], &[1.0, 0.0]]]),
            generated(&[&[0], &[0]], &[&[&[1.0], &[1.0, 0.0]]]),
            generated(&[&[0], &[0]], &[]),
        ] {
            assert!(compare("x", &part, &whole).error.is_some());
        }
    }

    #[test]
    fn nan_is_never_agreement() {
        let a = generated(&[&[0]], &[&[&[f32::NAN, 0.0]]]);
        let b = generated(&[&[0]], &[&[&[1.0, 0.0]]]);
        let agreement = compare("x", &a, &b);
        assert_eq!(agreement.largest_error, f64::MAX);
    }
}
