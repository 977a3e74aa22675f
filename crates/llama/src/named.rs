//! The models that are known by name.

macro_rules! named {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../configs/models/", $name, ".json")))),*]
    };
}

/// The models of `configs/models`: name, and HF's `config.json`.
pub const NAMED_MODELS: [(&str, &str); 5] =
    named!["llama2-7b", "llama2-13b", "llama2-70b", "tinyllama-1.1b", "llama2-15m"];

#[cfg(test)]
mod tests {
    #[test]
    fn every_named_model_has_a_config() {
        for (name, text) in super::NAMED_MODELS {
            crate::LlamaConfig::parse(text, name).unwrap();
        }
    }
}
