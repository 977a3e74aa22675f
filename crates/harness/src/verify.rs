//! Do the engines compute the same thing? Asked before they are timed.

use protocol::{Agreement, Generated, Precision, Verification};

use crate::{Engines, Event, Model, Sweep, WorkerError, classify, run};

/// The engine that the others are held against where the model is small enough for it.
const REFERENCE: &str = "reference";
const MOCK: &str = "mock";
/// The reference takes about a second for 2·10⁹ parameter-tokens.
const LARGEST_FOR_REFERENCE: u64 = 200_000_000;
const BATCH_SIZE: u32 = 2;
const PROMPT_LENGTH: u32 = 16;
const NEW_TOKENS: u32 = 8;

/// Has every engine of the sweep generate a few tokens with `model` and compares them; `None` where the sweep has only
/// the mock engine, which computes nothing.
///
/// # Errors
/// [`WorkerError::Interrupted`] alone: an engine that fails is a finding.
pub fn verify(
    sweep: &Sweep,
    engines: &Engines,
    model: &Model,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Verification>, WorkerError> {
    let compared: Vec<&String> = sweep.engines.iter().filter(|engine| *engine != MOCK).collect();
    if compared.is_empty() {
        return Ok(None);
    }
    let context = model.config.max_position_embeddings as u32;
    let length = PROMPT_LENGTH.min(context / 2).max(1);
    let new_tokens = NEW_TOKENS.min(context - length).max(1);
    let prompt = llama::prompt::seeded_prompt(BATCH_SIZE, length, model.config.vocab_size as u32, sweep.seed);

    let answer = |engine: &str, on_event: &mut dyn FnMut(Event<'_>)| {
        on_event(Event::Verifying { engine, model: &model.name });
        match run::generate(&sweep.setup, engines, model, engine, &prompt, new_tokens, true) {
            Ok(generated) => Ok(Ok(generated)),
            Err(WorkerError::Evidence(evidence)) => Ok(Err(classify(&evidence).error)),
            Err(WorkerError::Interrupted) => Err(WorkerError::Interrupted),
        }
    };

    let use_reference =
        engines.get(REFERENCE).is_some() && llama::cost::parameters(&model.config) <= LARGEST_FOR_REFERENCE;
    let mut against: Option<(String, Generated)> = None;
    if use_reference {
        against = answer(REFERENCE, on_event)?.ok().map(|generated| (REFERENCE.to_owned(), generated));
    }
    let mut agreements = Vec::new();
    for engine in compared {
        let agreement = match answer(engine, on_event)? {
            Err(error) => Agreement { error: Some(error), ..compare(engine, None) },
            Ok(generated) => {
                let (_, expected) = against.get_or_insert_with(|| (engine.clone(), generated.clone()));
                compare(engine, Some((&generated, expected)))
            }
        };
        agreements.push(agreement);
    }

    let largest_logit = against.as_ref().map_or(0.0, |(_, generated)| {
        let logits = generated.logits.iter().flatten().flatten().flatten();
        logits.fold(0.0f64, |largest, &logit| largest.max(f64::from(logit.abs())))
    });
    let relative = match sweep.setup.precision {
        Precision::Fp32 => 1e-4,
        Precision::Fp16 => 2e-2,
        Precision::Bf16 => 1e-1,
    };
    Ok(Some(Verification {
        model: model.name.clone(),
        precision: sweep.setup.precision,
        against: against.map(|(engine, _)| engine),
        largest_logit,
        tolerance: relative * largest_logit.max(1.0),
        agreements,
    }))
}

fn compare(engine: &str, pair: Option<(&Generated, &Generated)>) -> Agreement {
    let mut agreement = Agreement {
        engine: engine.to_owned(),
        error: None,
        same_tokens: false,
        first_difference: None,
        largest_error: 0.0,
        largest_error_at: None,
    };
    let Some((found, expected)) = pair else { return agreement };
    agreement.same_tokens = found.tokens == expected.tokens;
    let (Some(found_logits), Some(expected_logits)) = (&found.logits, &expected.logits) else {
        agreement.error = Some("no logits were sent".into());
        return agreement;
    };
    let rows = expected.tokens.len();
    let shaped = |logits: &[Vec<Vec<f32>>]| logits.iter().all(|step| step.len() == rows);
    if found_logits.len() != expected_logits.len() || !shaped(found_logits) || !shaped(expected_logits) {
        agreement.error = Some("another number of steps or rows".into());
        return agreement;
    }
    for row in 0..rows {
        for (step, (found_step, expected_step)) in found_logits.iter().zip(expected_logits).enumerate() {
            for (id, (a, b)) in found_step[row].iter().zip(&expected_step[row]).enumerate() {
                let error = f64::from((a - b).abs());
                // JSON has no NaN and no infinity: both are as wrong as can be.
                let error = if error.is_finite() { error } else { f64::MAX };
                if error > agreement.largest_error {
                    agreement.largest_error = error;
                    agreement.largest_error_at = Some((step, row, id));
                }
            }
            let token = |generated: &Generated| generated.tokens[row].get(step).copied();
            if token(found) != token(expected) {
                let earlier = agreement.first_difference.is_none_or(|first| (step, row) < first);
                agreement.first_difference =
                    if earlier { Some((step, row)) } else { agreement.first_difference };
                // From here on this row continues another text: its logits say nothing any more.
                break;
            }
        }
    }
    agreement
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(tokens: &[&[u32]], logits: &[&[&[f32]]]) -> Generated {
        Generated {
            tokens: tokens.iter().map(|row| row.to_vec()).collect(),
            logits_sha256: String::new(),
            logits: Some(logits.iter().map(|step| step.iter().map(|row| row.to_vec()).collect()).collect()),
        }
    }

    #[test]
    fn the_largest_error_is_found_with_its_place() {
        let a = generated(&[&[1, 0]], &[&[&[0.0, 1.0]], &[&[1.0, 0.5]]]);
        let b = generated(&[&[1, 0]], &[&[&[0.0, 1.0]], &[&[1.0, 0.25]]]);
        let agreement = compare("x", Some((&a, &b)));
        assert!(agreement.same_tokens);
        assert_eq!((agreement.largest_error, agreement.largest_error_at), (0.25, Some((1, 0, 1))));
    }

    #[test]
    fn logits_after_a_different_token_are_not_compared() {
        let a = generated(&[&[0, 1]], &[&[&[1.0, 0.99]], &[&[0.0, 9.0]]]);
        let b = generated(&[&[1, 0]], &[&[&[0.99, 1.0]], &[&[9.0, 0.0]]]);
        let agreement = compare("x", Some((&a, &b)));
        assert_eq!(agreement.first_difference, Some((0, 0)));
        assert!(agreement.largest_error < 0.011);
    }

    #[test]
    fn nan_is_never_agreement() {
        let a = generated(&[&[0]], &[&[&[f32::NAN, 0.0]]]);
        let b = generated(&[&[0]], &[&[&[1.0, 0.0]]]);
        let agreement = compare("x", Some((&a, &b)));
        assert_eq!(agreement.largest_error, f64::MAX);
    }
}
