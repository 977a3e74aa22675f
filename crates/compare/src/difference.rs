//! What is different about two subjects, and what of it makes them no two sides of one comparison.

use std::collections::BTreeMap;

use crate::{Difference, Subject};

/// Two subjects that can't be compared, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub(crate) String);

/// Settings that make the procedure: figures of different ones are of different things.
const PROCEDURE: [&str; 9] = [
    "generation_length",
    "seed",
    "isolation",
    "procedure.warmup_runs",
    "procedure.prompt_runs",
    "procedure.generations",
    "procedure.until",
    "procedure.min_runs",
    "one_rank",
];

/// Settings that choose cells, or say how long and how often they are tried.
const NO_DIFFERENCE: [&str; 10] = [
    "models",
    "precision",
    "engines",
    "batch_sizes",
    "prompt_lengths",
    "rows",
    "prune_oom",
    "timeout_seconds",
    "procedure.replicates",
    "throttle_retries",
];

/// Everything that differs.
///
/// # Errors
/// Where model or procedure do.
pub(crate) fn differences(
    baseline: &Subject<'_>,
    candidate: &Subject<'_>,
) -> Result<Vec<Difference>, Refused> {
    let (Some(one), Some(other)) = (&baseline.run, &candidate.run) else { return Ok(Vec::new()) };
    let facts = different(&one.environment.facts(), &other.environment.facts(), false);
    let settings = different(one.settings, other.settings, true);
    let refuses = |difference: &&Difference| {
        difference.what.starts_with("model ") || PROCEDURE.contains(&difference.what.as_str())
    };
    let refused: Vec<String> = facts.iter().chain(&settings).filter(refuses).map(words).collect();
    if !refused.is_empty() {
        return Err(Refused(format!(
            "{} and {} can't be compared: they were measured with different settings: {}",
            baseline.name,
            candidate.name,
            refused.join("; ")
        )));
    }
    let is_told = |difference: &Difference| {
        let what = difference.what.as_str();
        !NO_DIFFERENCE.contains(&what) && !what.starts_with("phase_timeout_seconds.")
    };
    Ok(facts.into_iter().chain(settings).filter(is_told).collect())
}

/// What of a sweep makes its procedure, and the device.
pub(crate) fn procedure(settings: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let counts = |key: &String| PROCEDURE.contains(&key.as_str()) || key == "device" || key == "threads";
    settings.iter().filter(|(key, _)| counts(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn words(difference: &Difference) -> String {
    let word = |side: &Option<String>| side.clone().unwrap_or_else(|| "none".into());
    format!("{}: {} and {}", difference.what, word(&difference.baseline), word(&difference.candidate))
}

/// Entries whose values differ; of entries that only one side has where `one_sided`.
fn different(
    baseline: &BTreeMap<String, String>,
    candidate: &BTreeMap<String, String>,
    one_sided: bool,
) -> Vec<Difference> {
    let names = baseline.keys().chain(candidate.keys().filter(|name| !baseline.contains_key(*name)));
    names
        .filter(|name| one_sided || (baseline.contains_key(*name) && candidate.contains_key(*name)))
        .filter(|name| baseline.get(*name) != candidate.get(*name))
        .map(|name| Difference {
            what: name.clone(),
            baseline: baseline.get(name).cloned(),
            candidate: candidate.get(name).cloned(),
        })
        .collect()
}
