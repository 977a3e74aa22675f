//! Untimed greedy generation, for `generate` and `verify`.

use anyhow::Result;
use protocol::{Generated, Phase};
use sha2::{Digest, Sha256};

use crate::timing::{check_finite, hex};
use crate::{Engine, Prompt, Reporter};

/// `max_new_tokens` greedy tokens a row, and the logits that chose them.
pub(crate) fn generate(
    engine: &mut dyn Engine,
    prompt: &Prompt,
    max_new_tokens: usize,
    keep_logits: bool,
    reporter: &Reporter,
) -> Result<Generated> {
    reporter.phase(Phase::Prompt, 1);
    engine.begin_keeping_logits(prompt, max_new_tokens - 1)?;
    engine.reset()?;
    let mut hash = Sha256::new();
    let mut logits = Vec::new();
    for step in 0..max_new_tokens {
        if step == 0 {
            engine.prefill()?;
            reporter.phase(Phase::Decode, max_new_tokens as u32 - 1);
        } else {
            engine.decode()?;
        }
        engine.synchronize()?;
        let chosen_from = engine.logits()?;
        check_finite(&chosen_from)?;
        for logit in &chosen_from {
            hash.update(logit.to_le_bytes());
        }
        if keep_logits {
            logits.push(chosen_from.chunks(engine.vocab_size()).map(<[f32]>::to_vec).collect());
        }
        engine.select()?;
    }
    engine.synchronize()?;
    let tokens = engine.tokens()?;
    engine.end()?;
    let logits_sha256 = hex(&hash.finalize());
    let product_inputs = engine.product_inputs();
    Ok(Generated { tokens, logits_sha256, logits: keep_logits.then_some(logits), product_inputs })
}
