//! Which models a sweep can name.

use std::path::{Path, PathBuf};

use llama::{LlamaConfig, NAMED_MODELS};
use protocol::ModelSource;

/// A model of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The name in records and headings.
    pub name: String,
    /// Where its weights come from.
    pub source: ModelSource,
    /// Its config.
    pub config: LlamaConfig,
}

impl Model {
    /// Finds `text`: a name of [`llama::NAMED_MODELS`], with weights seeded by `seed`, or a checkpoint's folder, relative to
    /// `base`. Reads no more of a checkpoint than its config.
    pub fn find(text: &str, seed: u64, base: &Path) -> Result<Self, String> {
        if let Some((name, config)) = NAMED_MODELS.iter().find(|(name, _)| *name == text) {
            if base.join(text).join("config.json").exists() {
                return Err(format!(
                    "\"{text}\" is a model with seeded weights and a folder here: \"./{text}\" is the folder"
                ));
            }
            let config: serde_json::Value =
                serde_json::from_str(config).map_err(|error| error.to_string())?;
            return Ok(Self {
                name: (*name).into(),
                config: LlamaConfig::from_json(&config, name).map_err(|error| error.to_string())?,
                source: ModelSource::Seeded { config, seed },
            });
        }
        let dir = base.join(text);
        if !dir.is_dir() {
            let names = NAMED_MODELS.map(|(name, _)| name).join(", ");
            return Err(format!(
                "no such model \"{text}\": expected a checkpoint's folder, or one of {names}"
            ));
        }
        let config = LlamaConfig::read(&dir.join("config.json")).map_err(|error| error.to_string())?;
        let dir = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
        let name = dir.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
        if name.chars().any(char::is_control) {
            return Err(format!("a folder whose name has control characters: {name:?}"));
        }
        Ok(Self { name, source: ModelSource::Checkpoint { dir }, config })
    }

    /// What a sweep writes to name this model again from anywhere.
    pub fn reference(&self) -> String {
        match &self.source {
            ModelSource::Seeded { .. } => self.name.clone(),
            ModelSource::Checkpoint { dir } => dir.display().to_string(),
        }
    }

    /// The checkpoint's folder, where there is one.
    pub fn checkpoint_dir(&self) -> Option<&PathBuf> {
        match &self.source {
            ModelSource::Checkpoint { dir } => Some(dir),
            ModelSource::Seeded { .. } => None,
        }
    }
}
