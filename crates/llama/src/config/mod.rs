//! HF's `config.json`, as transformers 4 and 5 write it.

mod keys;
mod quantization;

use std::path::Path;

use protocol::Precision;
use serde_json::{Value, json};

use crate::{RopeScaling, from_python_json};
pub(crate) use keys::ConfigObject;
use keys::brief;

/// A `config.json` that is not supported.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{origin}: {error}")]
    Read {
        /// The file.
        origin: String,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not a JSON object.
    #[error("{origin}: not a JSON object: {why}")]
    Json {
        /// The file.
        origin: String,
        /// The parser's words.
        why: String,
    },
    /// A key has an unsupported value.
    #[error("{origin}: {key}: expected {expected}, found {found}")]
    Key {
        /// The file.
        origin: String,
        /// The key.
        key: String,
        /// What is expected.
        expected: String,
        /// What was found.
        found: String,
    },
}

/// The numbers that define a LLaMA model. Names are HF's.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; a divisor of the query heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The context: prompt and generation together.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding.
    pub rope_theta: f64,
    /// How its frequencies are scaled.
    pub rope_scaling: RopeScaling,
    /// The head is the embedding.
    pub tie_word_embeddings: bool,
    /// The precision in which a checkpoint's projections are stored, where that is below 16 bits.
    pub quantization: Option<Precision>,
}

/// The most layers: more come from a damaged or hostile file, and would overflow.
const MOST_LAYERS: usize = 4096;
const MOST_NUMBERS: u128 = 1 << 46;

impl LlamaConfig {
    /// Reads `config.json` at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let text = crate::read_text_up_to(path, crate::LARGEST_CONFIG)
            .map_err(|error| ConfigError::Read { origin: origin.clone(), error })?;
        Self::parse(&text, &origin)
    }

    /// Parses the text of a `config.json`; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let value = from_python_json(text)
            .map_err(|error| ConfigError::Json { origin: origin.into(), why: error.to_string() })?;
        Self::from_json(&value, origin)
    }

    /// Reads a parsed `config.json`.
    pub fn from_json(value: &Value, origin: &str) -> Result<Self, ConfigError> {
        let Value::Object(object) = value else {
            let why = format!("found {}", brief(value));
            return Err(ConfigError::Json { origin: origin.into(), why });
        };
        let keys = ConfigObject::new(object, origin);

        keys.only("model_type", "\"llama\" (no other family of models is supported)", |v| v == "llama")?;
        // Two names of one function in transformers.
        keys.only("hidden_act", "\"silu\" or \"swish\"", |v| v == "silu" || v == "swish")?;
        keys.only("per_layer_config", "null (all layers have the same config)", |v| {
            v.as_object().is_some_and(serde_json::Map::is_empty)
        })?;
        // Biases may be zeros: whether they are, the checkpoint shows.
        keys.bool_or("attention_bias", false)?;
        keys.bool_or("mlp_bias", false)?;

        let num_attention_heads = keys.size("num_attention_heads")?;
        let hidden_size = keys.size("hidden_size")?;
        let num_key_value_heads = keys.size_or("num_key_value_heads", num_attention_heads)?;
        if num_attention_heads % num_key_value_heads != 0 {
            let expected = format!("a divisor of num_attention_heads ({num_attention_heads})");
            return Err(keys.error("num_key_value_heads", expected, &json!(num_key_value_heads)));
        }
        let head_dim = keys.size_or("head_dim", hidden_size / num_attention_heads)?;
        if keys.get("head_dim").is_none() && hidden_size % num_attention_heads != 0 {
            let expected =
                format!("a multiple of num_attention_heads ({num_attention_heads}), or a head_dim");
            return Err(keys.error("hidden_size", expected, &json!(hidden_size)));
        }
        if head_dim % 2 != 0 {
            let expected = "an even number (rotary embedding turns pairs)".into();
            return Err(keys.error("head_dim", expected, &json!(head_dim)));
        }

        let max_position_embeddings = keys.size_or("max_position_embeddings", 2048)?;
        let num_hidden_layers = keys.size("num_hidden_layers")?;
        check_full_attention(&keys, num_hidden_layers, max_position_embeddings)?;
        let (rope_theta, rope_scaling) = RopeScaling::read(&keys, max_position_embeddings)?;
        let config = Self {
            vocab_size: keys.size("vocab_size")?,
            hidden_size,
            intermediate_size: keys.size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings,
            rms_norm_eps: keys.non_negative_or("rms_norm_eps", 1e-6)?,
            rope_theta,
            rope_scaling,
            tie_word_embeddings: keys.bool_or("tie_word_embeddings", false)?,
            quantization: quantization::read(&keys)?,
        };
        if config.num_hidden_layers > MOST_LAYERS {
            let expected = format!("at most {MOST_LAYERS}");
            return Err(keys.error("num_hidden_layers", expected, &json!(config.num_hidden_layers)));
        }
        if config.size_in_numbers() > MOST_NUMBERS {
            let found = json!(config.size_in_numbers() as f64);
            return Err(keys.error(
                "its sizes",
                format!("a model of at most {MOST_NUMBERS} parameters"),
                &found,
            ));
        }
        Ok(config)
    }

    /// About the parameters, in arithmetic that can't overflow.
    fn size_in_numbers(&self) -> u128 {
        let [vocab, hidden, intermediate, layers, heads, head_dim] = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.head_dim,
        ]
        .map(|size| size as u128);
        2 * vocab * hidden + layers * hidden * (4 * heads * head_dim + 3 * intermediate)
    }

    /// This config as HF's `config.json`, in the keys that both transformers 4 and 5 read.
    pub fn to_json(&self) -> Value {
        let mut config = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "attention_bias": false,
            "mlp_bias": false,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tie_word_embeddings,
        });
        if let Some(scaling) = self.rope_scaling.to_json() {
            config["rope_scaling"] = scaling;
        }
        if let Some(quantization) = self.quantization.and_then(Precision::quantization) {
            config["quantization_config"] = quantization::write(quantization);
        }
        config
    }

    /// The most positions of a sequence, and the key that sets it.
    pub fn context(&self) -> String {
        let beyond = match self.rope_scaling {
            RopeScaling::Dynamic { .. } => ": beyond it dynamic rope scaling is not supported",
            _ => "",
        };
        format!("{} (max_position_embeddings{beyond})", self.max_position_embeddings)
    }

    /// Width of the query projection: `num_attention_heads * head_dim`.
    pub fn query_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of the key projection, and of the value projection.
    pub fn key_value_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }
}

/// Checks that every layer attends to the whole sequence: transformers' cache drops keys outside a window. Like the cache, looks
/// at `layer_types` first, then at `sliding_window`, then at `attention_chunk_size`.
fn check_full_attention(keys: &ConfigObject<'_>, layers: usize, context: usize) -> Result<(), ConfigError> {
    if let Some(types) = keys.get("layer_types") {
        // transformers reads its old name, too.
        let is_full = |kind: &Value| kind == "full_attention" || kind == "attention";
        let all_full =
            types.as_array().is_some_and(|types| types.len() == layers && types.iter().all(is_full));
        let expected = format!("\"full_attention\" for each of {layers} layers (no other type is supported)");
        return if all_full { Ok(()) } else { Err(keys.error("layer_types", expected, types)) };
    }
    let key = if keys.get("sliding_window").is_some() { "sliding_window" } else { "attention_chunk_size" };
    let expected = format!(
        "null, or a whole number from {context} (max_position_embeddings: shorter attention is not supported)"
    );
    keys.only(key, &expected, |window| window.as_u64().is_some_and(|window| window >= context as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Value {
        json!({
            "model_type": "llama", "vocab_size": 256, "hidden_size": 64, "intermediate_size": 176,
            "num_hidden_layers": 2, "num_attention_heads": 4, "rope_theta": 10000.0,
        })
    }

    fn with(key: &str, value: Value) -> Result<LlamaConfig, String> {
        let mut config = tiny();
        config[key] = value;
        LlamaConfig::from_json(&config, "config.json").map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_match_transformers() {
        let config = LlamaConfig::from_json(&tiny(), "config.json").unwrap();
        assert_eq!(config.num_key_value_heads, 4);
        assert_eq!(config.head_dim, 16);
        assert_eq!(config.max_position_embeddings, 2048);
        assert!(!config.tie_word_embeddings);
    }

    /// The second is what compressed-tensors 0.13 writes, with all its keys.
    #[test]
    fn the_precision_of_quantized_weights_is_read() {
        for precision in [Precision::Int8, Precision::Int8Channel, Precision::Int4, Precision::Int4G128] {
            let quantized =
                LlamaConfig { quantization: Some(precision), ..LlamaConfig::from_json(&tiny(), "").unwrap() };
            assert_eq!(LlamaConfig::from_json(&quantized.to_json(), "").unwrap(), quantized);
        }
        let mut written = json!({
            "config_groups": {"group_0": {
                "format": null, "input_activations": null, "output_activations": null, "targets": ["Linear"],
                "weights": {
                    "actorder": null, "block_structure": null, "dynamic": false, "group_size": 128, "num_bits": 4,
                    "observer": "minmax", "observer_kwargs": {}, "strategy": "group", "symmetric": true, "type": "int",
                },
            }},
            "format": "pack-quantized", "global_compression_ratio": null, "ignore": ["lm_head"],
            "kv_cache_scheme": null, "quant_method": "compressed-tensors", "quantization_status": "compressed",
            "sparsity_config": {}, "transform_config": {}, "version": "0.13.0",
        });
        let read =
            |written: &Value| with("quantization_config", written.clone()).map(|config| config.quantization);
        assert_eq!(read(&written), Ok(Some(Precision::Int4G128)));
        written["config_groups"]["group_0"]["weights"]["symmetric"] = false.into();
        assert!(
            read(&written).unwrap_err().starts_with("config.json: quantization_config: expected null, or")
        );
    }

    #[test]
    fn what_changes_nothing_is_accepted() {
        let plain = LlamaConfig::from_json(&tiny(), "config.json").unwrap();
        let bitsandbytes =
            json!({"quant_method": "bitsandbytes", "load_in_4bit": false, "load_in_8bit": false});
        for (key, values) in [
            ("pretraining_tp", json!([1, 2, 4, 0, null])),
            ("hidden_act", json!(["silu", "swish", null])),
            ("quantization_config", json!([null, bitsandbytes])),
            ("attention_bias", json!([false, true, null])),
            ("mlp_bias", json!([false, true])),
            ("head_dim", json!([null, 16])),
            // The context is 2048.
            ("sliding_window", json!([null, 2048, 4096])),
            ("per_layer_config", json!([null, {}])),
            ("use_sliding_window", json!([null, false, true])),
            ("attention_chunk_size", json!([null, 2048, 8192])),
            ("layer_types", json!([null, ["full_attention", "full_attention"], ["attention", "attention"]])),
            ("rope_scaling", json!([null, {}, {"type": "default"}, {"type": "linear", "factor": 1}])),
        ] {
            for value in values.as_array().unwrap() {
                assert_eq!(with(key, value.clone()), Ok(plain.clone()), "{key}: {value}");
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_read_but_are_no_sizes() {
        let parse = |more: &str| {
            let text = tiny().to_string().replacen('{', &format!("{{{more}, "), 1);
            LlamaConfig::parse(&text, "config.json").map_err(|error| error.to_string())
        };
        let plain = LlamaConfig::from_json(&tiny(), "config.json").unwrap();
        assert_eq!(parse(r#""limit": [0.0, Infinity, -Infinity, NaN]"#), Ok(plain));
        for word in ["Infinity", "-Infinity", "NaN"] {
            assert_eq!(
                parse(&format!("\"rms_norm_eps\": {word}")),
                Err(format!("config.json: rms_norm_eps: expected a number from 0, found {word}"))
            );
        }
    }

    #[test]
    fn what_cannot_be_run_names_file_key_and_expectation() {
        let cases = [
            (
                "model_type",
                json!("mistral"),
                r#"config.json: model_type: expected "llama" (no other family of models is supported), found "mistral""#,
            ),
            (
                "hidden_act",
                json!("gelu"),
                r#"config.json: hidden_act: expected "silu" or "swish", found "gelu""#,
            ),
            ("attention_bias", json!(1), "config.json: attention_bias: expected true or false, found 1"),
            (
                "quantization_config",
                json!({"quant_method": "gptq", "bits": 4}),
                r#"config.json: quantization_config: expected null, or compressed-tensors' pack-quantized, with weights alone in 4 or 8 bits, symmetric, a scale for every 32 or 128 inputs or every channel, and lm_head ignored, found {"quant_method":"gptq","bits":4}"#,
            ),
            (
                "hidden_size",
                json!("64"),
                r#"config.json: hidden_size: expected a whole number from 1 to 16777216, found "64""#,
            ),
            (
                "hidden_size",
                json!(0),
                "config.json: hidden_size: expected a whole number from 1 to 16777216, found 0",
            ),
            (
                "hidden_size",
                Value::Null,
                "config.json: hidden_size: expected a whole number from 1 to 16777216, found null",
            ),
            (
                "hidden_size",
                json!(66),
                "config.json: hidden_size: expected a multiple of num_attention_heads (4), or a head_dim, found 66",
            ),
            (
                "num_key_value_heads",
                json!(3),
                "config.json: num_key_value_heads: expected a divisor of num_attention_heads (4), found 3",
            ),
            (
                "head_dim",
                json!(15),
                "config.json: head_dim: expected an even number (rotary embedding turns pairs), found 15",
            ),
            ("rms_norm_eps", json!(-1), "config.json: rms_norm_eps: expected a number from 0, found -1"),
        ];
        for (key, value, message) in cases {
            assert_eq!(with(key, value).unwrap_err(), message);
        }
    }

    /// Found by running transformers 5.23: tokens of a prompt longer than the window show which keys its cache reads.
    #[test]
    fn attention_to_a_part_of_the_sequence_is_refused() {
        let window = |key: &str, found: &str| {
            format!(
                "config.json: {key}: expected null, or a whole number from 2048 (max_position_embeddings: shorter attention is not \
                 supported), found {found}"
            )
        };
        for key in ["sliding_window", "attention_chunk_size"] {
            for value in
                [json!(16), json!(2047), json!(0), json!(-5), json!(false), json!("4096"), json!(4096.0)]
            {
                let found = value.to_string();
                assert_eq!(with(key, value), Err(window(key, &found)));
            }
        }
        for types in [
            json!(["sliding_attention", "full_attention"]),
            json!(["full_attention", "chunked_attention"]),
            json!(["full_attention"]),
            json!([]),
            json!("full_attention"),
        ] {
            let found = types.to_string();
            assert_eq!(
                with("layer_types", types),
                Err(format!(
                    "config.json: layer_types: expected \"full_attention\" for each of 2 layers (no other type is supported), \
                     found {found}"
                ))
            );
        }
        assert_eq!(
            with("per_layer_config", json!({"1": {"sliding_window": 16}})),
            Err("config.json: per_layer_config: expected null (all layers have the same config), found \
                 {\"1\":{\"sliding_window\":16}}"
                .into())
        );
        let both = |first: (&str, Value), second: (&str, Value)| {
            let mut config = tiny();
            config[first.0] = first.1;
            config[second.0] = second.1;
            LlamaConfig::from_json(&config, "config.json").map_err(|error| error.to_string())
        };
        let plain = LlamaConfig::from_json(&tiny(), "config.json").unwrap();
        let full = ("layer_types", json!(["full_attention", "full_attention"]));
        assert_eq!(both(full.clone(), ("sliding_window", json!(16))), Ok(plain.clone()));
        assert_eq!(both(full, ("attention_chunk_size", json!(16))), Ok(plain.clone()));
        let chunk = ("attention_chunk_size", json!(16));
        assert_eq!(both(chunk.clone(), ("sliding_window", json!(2048))), Ok(plain));
        assert_eq!(both(chunk, ("sliding_window", Value::Null)), Err(window("attention_chunk_size", "16")));
        assert_eq!(
            both(("use_sliding_window", json!(false)), ("sliding_window", json!(16))),
            Err(window("sliding_window", "16"))
        );
    }

    #[test]
    fn an_epsilon_of_zero_is_accepted() {
        for zero in [json!(0), json!(0.0)] {
            assert_eq!(with("rms_norm_eps", zero).unwrap().rms_norm_eps, 0.0);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = with("head_dim", json!(32)).unwrap();
        assert_eq!(LlamaConfig::from_json(&config.to_json(), "again").unwrap(), config);
    }

    #[test]
    fn a_model_too_large_to_count_is_refused() {
        let mut config = tiny();
        for key in ["vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "head_dim"] {
            config[key] = json!(1 << 24);
        }
        let message = LlamaConfig::from_json(&config, "config.json").unwrap_err().to_string();
        assert!(message.starts_with("config.json: its sizes: expected a model of at most"), "{message}");
        let message = with("num_hidden_layers", json!(5000)).unwrap_err();
        assert_eq!(message, "config.json: num_hidden_layers: expected at most 4096, found 5000");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = LlamaConfig::parse(&text, "config.json");
        }
    }
}
