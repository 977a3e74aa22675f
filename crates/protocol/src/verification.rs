//! `verification.json`: whether the engines compute the same thing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Precision;

/// An engine compared with the one that all are compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Agreement {
    /// The engine.
    pub engine: String,
    /// The reason why it gave no answer; then nothing else is known.
    pub error: Option<String>,
    /// True where the greedy tokens are the same.
    pub same_tokens: bool,
    /// First place where a token differs: step, batch row.
    pub first_difference: Option<(usize, usize)>,
    /// Difference of the two tokens' logits where they first differ, the largest of all rows.
    pub logit_gap: Option<f64>,
    /// Largest absolute difference of a logit, up to the first different token.
    pub largest_error: f64,
    /// Place of that difference: step, batch row, token id.
    pub largest_error_at: Option<(usize, usize, usize)>,
    /// Largest error of this engine that counts as rounding, where its products take activations in another format than the precision's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_tolerance: Option<f64>,
}

/// How far a quantized model is from the unquantized one: their next-token distributions after the same prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Fidelity {
    /// The precision of the unquantized model.
    pub compared_with: Precision,
    /// The engine that computed both.
    pub computed_by: String,
    /// The prompts.
    pub prompts: u32,
    /// Kullback–Leibler divergence from the unquantized model's distribution, in nats: the mean over prompts.
    pub mean_kl: f64,
    /// The largest of them.
    pub largest_kl: f64,
    /// Prompts after which both find the same token most probable.
    pub same_top_token: u32,
}

/// The comparison of the engines on one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verification {
    /// The model.
    pub model: String,
    /// The precision of the engines; the reference computes in double precision on weights rounded to it, or on what quantized weights
    /// stand for.
    pub precision: Precision,
    /// The engine that the others were compared with; `None` where none answered.
    pub against: Option<String>,
    /// The reason why the reference gave no answer, where it was asked.
    pub reference_error: Option<String>,
    /// The largest absolute logit of that engine.
    pub largest_logit: f64,
    /// Largest error that counts as rounding.
    pub tolerance: f64,
    /// The engines, in the sweep's order.
    pub agreements: Vec<Agreement>,
    /// The part of the run whose engines these are, from 1.
    #[serde(default = "crate::measurement::first_part")]
    pub part: u32,
    /// Engines that were not asked again because nothing had changed, with the time (UTC) of their answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reused: BTreeMap<String, String>,
    /// How far the quantized model is from the unquantized one; absent where it is not quantized, or was not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelity>,
}

impl Verification {
    /// Whether another one is of the same model in the same precision, in the same part of the run.
    pub fn is_of_same(&self, other: &Self) -> bool {
        (self.part, &self.model, self.precision) == (other.part, &other.model, other.precision)
    }

    /// The engines that it knows of.
    pub fn engines(&self) -> impl Iterator<Item = &str> {
        let compared = self.agreements.iter().map(|agreement| agreement.engine.as_str());
        self.against.as_deref().into_iter().chain(compared)
    }

    /// Whether an engine computes the same: its logits are within the tolerance, and its tokens the same, or first
    /// different in a choice between logits that close.
    pub fn agrees(&self, agreement: &Agreement) -> bool {
        let tolerance = self.tolerance_of(agreement);
        let chose_alike =
            agreement.same_tokens || agreement.logit_gap.is_some_and(|gap| gap <= 2.0 * tolerance);
        agreement.error.is_none() && agreement.largest_error <= tolerance && chose_alike
    }

    /// The largest error of an engine that counts as rounding.
    pub fn tolerance_of(&self, agreement: &Agreement) -> f64 {
        agreement.own_tolerance.unwrap_or(self.tolerance)
    }

    /// Whether all do.
    pub fn holds(&self) -> bool {
        self.agreements.iter().all(|agreement| self.agrees(agreement))
    }
}
