//! Do the engines compute the same thing? Asked before they are timed.

use protocol::{Agreement, Device, Generated, Precision, Verification};

use crate::{Event, Model, Setup, Variant, WorkerError, WorkerProcesses, classify, generate};

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
    variant: &Variant,
    model: &Model,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Verification>, WorkerError> {
    let Variant { sweep, engines } = variant;
    let compared: Vec<&String> = sweep.engines.iter().filter(|engine| *engine != MOCK).collect();
    if compared.is_empty() {
        return Ok(None);
    }
    let context = model.config.max_position_embeddings as u32;
    let length = PROMPT_LENGTH.min(context / 2).max(1);
    let new_tokens = NEW_TOKENS.min(context - length).max(1);
    let prompt =
        llama::prompt::seeded_prompt(BATCH_SIZE, length, model.config.vocab_size as u32, sweep.seed.into());

    let answer = |setup: &Setup, engine: &str, on_event: &mut dyn FnMut(Event<'_>)| {
        on_event(Event::Verifying { engine, model: &model.name });
        match generate(setup, engines, model, engine, &prompt, new_tokens, true) {
            Ok(generated) => Ok(Ok(generated)),
            Err(WorkerError::Evidence(evidence)) => Ok(Err(classify(&evidence).error)),
            Err(WorkerError::Interrupted) => Err(WorkerError::Interrupted),
        }
    };

    // The reference computes the whole model, with the sums that one rank alone does without.
    let use_reference = !sweep.setup.one_rank
        && engines.get(REFERENCE).is_some()
        && llama::cost::parameters(&model.config) <= LARGEST_FOR_REFERENCE;
    let (mut against, mut reference_error) = (None, None);
    if use_reference {
        // Whatever the sweep's engines are given, the yardstick computes on the processor, unbounded.
        let mut setup = sweep.setup.clone();
        (setup.device, setup.memory_limit, setup.ranks) = (Device::Cpu, None, WorkerProcesses::ONE);
        setup.device_memory_limit = None;
        match answer(&setup, REFERENCE, on_event)? {
            Ok(generated) => against = Some((REFERENCE.to_owned(), generated)),
            Err(error) => reference_error = Some(error),
        }
    }
    let mut agreements = Vec::new();
    for engine in compared {
        match (answer(&sweep.setup, engine, on_event)?, &against) {
            (Err(error), _) => agreements.push(Agreement { error: Some(error), ..nothing_compared(engine) }),
            (Ok(generated), Some((_, expected))) => agreements.push(compare(engine, &generated, expected)),
            // Without a reference the first engine that answers is the yardstick.
            (Ok(generated), None) => against = Some((engine.clone(), generated)),
        }
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
        reference_error,
        largest_logit,
        tolerance: relative * largest_logit.max(1.0),
        agreements,
        part: 1,
    }))
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
    }
}

fn compare(engine: &str, found: &Generated, expected: &Generated) -> Agreement {
    let mut agreement = nothing_compared(engine);
    let (Some(found_logits), Some(expected_logits)) = (&found.logits, &expected.logits) else {
        return Agreement { error: Some("no logits were sent".into()), ..agreement };
    };
    if shape(found, found_logits) != shape(expected, expected_logits) {
        return Agreement {
            error: Some("another number of steps, rows, tokens or logits".into()),
            ..agreement
        };
    }
    agreement.same_tokens = found.tokens == expected.tokens;
    for (row, (found_tokens, expected_tokens)) in found.tokens.iter().zip(&expected.tokens).enumerate() {
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
            let (a, b) = (found_tokens[step], expected_tokens[step]);
            if a != b {
                if agreement.first_difference.is_none_or(|first| (step, row) < first) {
                    agreement.first_difference = Some((step, row));
                }
                let logit = |id: u32| expected_step[row].get(id as usize).copied().map(f64::from);
                let gap = logit(b).zip(logit(a)).map_or(f64::MAX, |(b, a)| (b - a).abs());
                agreement.logit_gap = Some(agreement.logit_gap.map_or(gap, |largest: f64| largest.max(gap)));
                // From here on this row continues another text: its logits say nothing any more.
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
