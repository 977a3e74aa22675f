//! The models that a sweep can name.

use std::path::{Path, PathBuf};

use llama::{Checkpoint, LlamaConfig, NAMED_MODELS};
use protocol::{LONGEST_NAME, ModelSource, Precision};

use crate::sweep::suggest::nearest;

/// A model of a sweep, in one precision.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its name in records and headings.
    pub name: String,
    /// Its name among the models of a sweep: with its precision, where there are several.
    pub label: String,
    /// The source of its weights.
    pub source: ModelSource,
    /// Its config.
    pub config: LlamaConfig,
    /// The precision that it is measured in.
    pub precision: Precision,
}

impl Model {
    /// Finds `text`: a name of [`llama::NAMED_MODELS`], with weights seeded by `seed`, or a checkpoint's folder, relative to
    /// `base`. Reads the headers of a checkpoint's weights. Reads their values only to find whether the head is the embedding and whether
    /// biases are zeros.
    pub fn find(text: &str, seed: u64, base: &Path, precision: Precision) -> Result<Self, String> {
        Self::find_in_each(text, seed, base, &[precision]).map(|mut models| models.remove(0))
    }

    /// [`Model::find`], in each of `precisions`.
    pub(crate) fn find_in_each(
        text: &str,
        seed: u64,
        base: &Path,
        precisions: &[Precision],
    ) -> Result<Vec<Self>, String> {
        let (name, source, config) = find_source(text, seed, base)?;
        let in_one = |&precision: &Precision| {
            config.check_precision(precision).map_err(|why| format!("{name}: {why}"))?;
            let label = if precisions.len() > 1 { format!("{name} {precision}") } else { name.clone() };
            let (name, source, config) = (name.clone(), source.clone(), config.clone());
            Ok(Self { name, label, source, config, precision })
        };
        precisions.iter().map(in_one).collect()
    }

    /// The name or path with which a sweep names this model from any working folder.
    pub fn reference(&self) -> String {
        match &self.source {
            ModelSource::Seeded { .. } => self.name.clone(),
            ModelSource::Checkpoint { dir } => dir.display().to_string(),
        }
    }

    /// The checkpoint's folder, if there is one.
    pub fn checkpoint_dir(&self) -> Option<&PathBuf> {
        match &self.source {
            ModelSource::Checkpoint { dir } => Some(dir),
            ModelSource::Seeded { .. } => None,
        }
    }
}

/// A model's name, the source of its weights, and its config.
fn find_source(text: &str, seed: u64, base: &Path) -> Result<(String, ModelSource, LlamaConfig), String> {
    if let Some((name, config)) = NAMED_MODELS.iter().find(|(name, _)| *name == text) {
        if base.join(text).join("config.json").exists() {
            return Err(format!(
                "\"{text}\" is both a model with generated weights and a folder here: write \"./{text}\" for the folder"
            ));
        }
        let config: serde_json::Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
        let llama_config = LlamaConfig::from_json(&config, name).map_err(|error| error.to_string())?;
        return Ok(((*name).into(), ModelSource::Seeded { config, seed }, llama_config));
    }
    let dir = base.join(text);
    if !dir.is_dir() {
        let names = NAMED_MODELS.map(|(name, _)| name);
        return Err(match nearest(text, &names) {
            Some(name) => format!("no such model \"{text}\": did you mean {name}?"),
            None => {
                let names = names.join(", ");
                format!("no such model \"{text}\": expected a checkpoint's folder, or one of {names}")
            }
        });
    }
    let config = Checkpoint::read_config(&dir).map_err(|error| error.to_string())?;
    let dir = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
    let name = folder_name(&dir);
    if name.chars().any(char::is_control) {
        return Err(format!("the folder's name has control characters: {name:?}"));
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("the folder's name has more than {LONGEST_NAME} bytes: {name}"));
    }
    Ok((name, ModelSource::Checkpoint { dir }, config))
}

/// The name of a checkpoint's folder. In the hub's cache, where the folder is a hash (`models--org--name/snapshots/hash`), the name of
/// the repository.
fn folder_name(dir: &Path) -> String {
    let names: Vec<_> = dir.iter().rev().map(|name| name.to_string_lossy()).take(3).collect();
    if let [_, parent, repository] = names.as_slice()
        && parent == "snapshots"
        && let Some(repository) = repository.strip_prefix("models--")
    {
        return repository.rsplit("--").next().unwrap_or(repository).into();
    }
    names.first().map_or_else(|| "model".into(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_in_the_hub_cache_is_named_after_its_repository() {
        let name = |dir: &str| folder_name(Path::new(dir));
        assert_eq!(name("/hub/models--meta-llama--Llama-2-7b-hf/snapshots/01c7f73d"), "Llama-2-7b-hf");
        assert_eq!(name("/hub/models--gpt2/snapshots/01c7f73d"), "gpt2");
        assert_eq!(name("/checkpoints/snapshots/tiny"), "tiny");
        assert_eq!(name("/checkpoints/tinyllama"), "tinyllama");
        assert_eq!(name("/tiny"), "tiny");
    }
}
