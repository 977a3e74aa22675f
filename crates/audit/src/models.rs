//! The configs of the models that headings name.

use llama::LlamaConfig;

macro_rules! named {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../configs/models/", $name, ".json")))),*]
    };
}

/// The models of `configs/models`: name, and HF's `config.json`.
const MODELS: [(&str, &str); 5] =
    named!["llama2-7b", "llama2-13b", "llama2-70b", "tinyllama-1.1b", "llama2-15m"];

/// The config of the model called `name`, or in words that there is none.
pub(crate) fn config(name: &str) -> Result<LlamaConfig, String> {
    let Some((_, text)) = MODELS.iter().find(|(known, _)| *known == name) else {
        let names = MODELS.map(|(name, _)| name).join(", ");
        return Err(format!("no config of the model \"{name}\": known are {names}"));
    };
    LlamaConfig::parse(text, name).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_named_model_has_a_config() {
        for (name, _) in super::MODELS {
            super::config(name).unwrap();
        }
        assert!(
            super::config("x").unwrap_err().starts_with("no config of the model \"x\": known are llama2-7b")
        );
    }
}
