//! Rotary embedding (Su et al. 2021, arXiv:2104.09864): its frequencies, scaled as the config says.
//!
//! The rules are those of transformers 5 (`modeling_rope_utils.py`), and so are the roundings to `f32`: frequencies that
//! are rounded elsewhere would turn further and further away with the position.

use std::f32::consts::TAU;

use serde_json::{Value, json};

use crate::LlamaConfig;
use crate::config::{ConfigError, ConfigObject};

/// How the frequencies of the rotary embedding are scaled for a longer context than the model was first trained with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RopeScaling {
    /// They are not.
    #[default]
    None,
    /// Every frequency is divided by a factor: position interpolation (Chen et al. 2023, arXiv:2306.15595).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Sequences beyond `max_position_embeddings` get a larger base ("dynamic NTK"). Within it nothing is scaled, and no
    /// engine goes beyond it.
    Dynamic {
        /// How fast the base grows beyond it.
        factor: f64,
    },
    /// LLaMA 3.1's: low frequencies are divided by a factor, high ones are kept, those between are interpolated
    /// (Grattafiori et al. 2024, arXiv:2407.21783; `apply_scaling` of Meta's llama-models).
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// A frequency is low if it turns fewer times than this within the original context.
        low_freq_factor: f64,
        /// A frequency is high if it turns more times than this within the original context.
        high_freq_factor: f64,
        /// The original context.
        original_max_position_embeddings: usize,
    },
}

impl RopeScaling {
    /// The base and the scaling that a `config.json` names: in `rope_scaling`, else in transformers 5's `rope_parameters`,
    /// and the base else beside them.
    pub(crate) fn read(keys: &ConfigObject<'_>, context: usize) -> Result<(f64, Self), ConfigError> {
        let scaling = keys.object("rope_scaling")?;
        let inside = match scaling {
            Some(scaling) => scaling,
            None => keys.object("rope_parameters")?.unwrap_or_else(|| keys.empty()),
        };
        let of_theta = if inside.has("rope_theta") { &inside } else { keys };
        let theta = if of_theta.has("rope_theta") { of_theta.positive("rope_theta")? } else { 10000.0 };

        let key = if inside.has("rope_type") { "rope_type" } else { "type" };
        let kind = if inside.has(key) { inside.value(key).as_str() } else { Some("default") };
        if !matches!(kind, None | Some("default")) {
            for keys in [&inside, keys] {
                keys.only("partial_rotary_factor", "1 (heads are turned whole)", |part| {
                    part.as_f64() == Some(1.0)
                })?;
            }
        }
        let factor = || inside.positive("factor");
        let scaling = match kind {
            Some("default") => Self::None,
            Some("linear") if factor()? == 1.0 => Self::None,
            Some("linear") => Self::Linear { factor: factor()? },
            Some("dynamic") => Self::Dynamic { factor: factor()? },
            Some("llama3") => {
                let original = "original_max_position_embeddings";
                // transformers prefers the key beside `rope_scaling`, which Phi-3 has.
                let of_original = if keys.has(original) { keys } else { &inside };
                Self::Llama3 {
                    factor: factor()?,
                    low_freq_factor: inside.positive("low_freq_factor")?,
                    high_freq_factor: inside.positive("high_freq_factor")?,
                    original_max_position_embeddings: if of_original.has(original) {
                        of_original.size_or_whole_float(original)?
                    } else {
                        context
                    },
                }
            }
            _ => {
                let expected =
                    "\"default\", \"linear\", \"dynamic\" or \"llama3\" (no other rope scaling is supported)";
                return Err(inside.error(key, expected.into(), inside.value(key)));
            }
        };
        Ok((theta, scaling))
    }

    /// This scaling as `rope_scaling` of a `config.json`.
    pub(crate) fn to_json(self) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Linear { factor } => Some(json!({"rope_type": "linear", "factor": factor})),
            Self::Dynamic { factor } => Some(json!({"rope_type": "dynamic", "factor": factor})),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                Some(json!({
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low_freq_factor,
                    "high_freq_factor": high_freq_factor,
                    "original_max_position_embeddings": original_max_position_embeddings,
                }))
            }
        }
    }

    /// Scales one frequency.
    fn scale(self, frequency: f32) -> f32 {
        match self {
            Self::None | Self::Dynamic { .. } => frequency,
            Self::Linear { factor } => frequency / factor as f32,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let original = original_max_position_embeddings as f64;
                let wavelength = TAU / frequency;
                if wavelength > (original / low_freq_factor) as f32 {
                    frequency / factor as f32
                } else if wavelength < (original / high_freq_factor) as f32 {
                    frequency
                } else {
                    let turns = original as f32 / wavelength;
                    let smooth =
                        (turns - low_freq_factor as f32) / (high_freq_factor - low_freq_factor) as f32;
                    (1.0 - smooth) * frequency / factor as f32 + smooth * frequency
                }
            }
        }
    }
}

impl LlamaConfig {
    /// The frequencies of the rotary embedding, in radians a position: one for each pair of a head's elements.
    pub fn inv_freq(&self) -> Vec<f32> {
        let frequency = |pair| {
            let exponent = (2 * pair) as f32 / self.head_dim as f32;
            self.rope_scaling.scale(1.0 / (self.rope_theta as f32).powf(exponent))
        };
        (0..self.head_dim / 2).map(frequency).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Value)) -> Result<LlamaConfig, String> {
        let mut config = json!({
            "vocab_size": 256, "hidden_size": 64, "intermediate_size": 144, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 256,
        });
        change(&mut config);
        LlamaConfig::from_json(&config, "config.json").map_err(|error| error.to_string())
    }

    fn with(key: &str, value: Value) -> Result<(f64, RopeScaling), String> {
        config(|config| config[key] = value).map(|config| (config.rope_theta, config.rope_scaling))
    }

    /// LLaMA 3.1's.
    fn llama3() -> Value {
        json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        })
    }

    const LLAMA3: RopeScaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64,
    };

    /// All as transformers 5.23 reads them (checked against it).
    #[test]
    fn rope_is_read_from_every_place_where_transformers_reads_it() {
        let both = |scaling: Value, parameters: Value| {
            config(|config| {
                config["rope_scaling"] = scaling;
                config["rope_parameters"] = parameters;
                config["rope_theta"] = json!(1e6);
            })
            .map(|config| (config.rope_theta, config.rope_scaling))
        };
        let default = json!({"rope_type": "default", "rope_theta": 5e5});
        let linear = json!({"type": "linear", "factor": 2});
        let twice = RopeScaling::Linear { factor: 2.0 };
        assert_eq!(config(|_| ()).unwrap().rope_theta, 1e4);
        assert_eq!(with("rope_theta", json!(500000)), Ok((5e5, RopeScaling::None)));
        for key in ["rope_scaling", "rope_parameters"] {
            assert_eq!(with(key, default.clone()), Ok((5e5, RopeScaling::None)));
            assert_eq!(with(key, linear.clone()), Ok((1e4, twice)));
            assert_eq!(with(key, llama3()), Ok((1e4, LLAMA3)));
            for none in
                [Value::Null, json!({}), json!({"factor": 8}), json!({"type": "linear", "factor": 1.0})]
            {
                assert_eq!(with(key, none), Ok((1e4, RopeScaling::None)));
            }
        }
        assert_eq!(both(default.clone(), linear.clone()), Ok((5e5, RopeScaling::None)));
        assert_eq!(both(linear.clone(), default.clone()), Ok((1e6, twice)));
        assert_eq!(both(json!({}), default.clone()), Ok((5e5, RopeScaling::None)));
        assert_eq!(both(Value::Null, linear), Ok((1e6, twice)));
        // `rope_type` counts more than its old name.
        let two_types = json!({"type": "linear", "rope_type": "default", "factor": 2.0});
        assert_eq!(with("rope_scaling", two_types), Ok((1e4, RopeScaling::None)));
        let dynamic = json!({"type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 64});
        assert_eq!(with("rope_scaling", dynamic), Ok((1e4, RopeScaling::Dynamic { factor: 2.0 })));
    }

    #[test]
    fn the_original_context_stands_in_three_places() {
        let original = |change: fn(&mut Value)| {
            let config = config(|config| {
                config["rope_scaling"] = llama3();
                change(config);
            });
            match config.unwrap().rope_scaling {
                RopeScaling::Llama3 { original_max_position_embeddings, .. } => {
                    original_max_position_embeddings
                }
                other => panic!("{other:?}"),
            }
        };
        const KEY: &str = "original_max_position_embeddings";
        assert_eq!(original(|_| ()), 64);
        assert_eq!(original(|config| config[KEY] = json!(32)), 32);
        // transformers takes floats here, but for no other size.
        assert_eq!(original(|config| config[KEY] = json!(32.0)), 32);
        assert_eq!(original(|config| config["rope_scaling"][KEY] = json!(128.0)), 128);
        assert_eq!(original(|config| drop(config["rope_scaling"].as_object_mut().unwrap().remove(KEY))), 256);
    }

    #[test]
    fn what_is_not_supported_or_not_whole_is_named() {
        let without = |key: &str| {
            let mut scaling = llama3();
            scaling.as_object_mut().unwrap().remove(key);
            scaling
        };
        let unsupported = "expected \"default\", \"linear\", \"dynamic\" or \"llama3\" (no other rope scaling is supported)";
        let cases = [
            (json!({"rope_type": "yarn", "factor": 2}), format!("rope_type: {unsupported}, found \"yarn\"")),
            (json!({"type": "su"}), format!("type: {unsupported}, found \"su\"")),
            (json!({"rope_type": null, "type": "linear"}), format!("rope_type: {unsupported}, found null")),
            (json!({"type": "linear"}), "factor: expected a number above 0, found nothing".into()),
            (
                json!({"type": "linear", "factor": "2"}),
                "factor: expected a number above 0, found \"2\"".into(),
            ),
            (json!({"type": "dynamic", "factor": 0}), "factor: expected a number above 0, found 0".into()),
            (without("low_freq_factor"), "low_freq_factor: expected a number above 0, found nothing".into()),
            (
                {
                    let mut scaling = llama3();
                    scaling["original_max_position_embeddings"] = json!(64.5);
                    scaling
                },
                "original_max_position_embeddings: expected a whole number from 1 to 16777216, found 64.5"
                    .into(),
            ),
            (json!({"rope_theta": null}), "rope_theta: expected a number above 0, found null".into()),
            (
                json!({"type": "linear", "factor": 2, "partial_rotary_factor": 0.5}),
                "partial_rotary_factor: expected 1 (heads are turned whole), found 0.5".into(),
            ),
        ];
        for (scaling, why) in cases {
            assert_eq!(with("rope_scaling", scaling), Err(format!("config.json: rope_scaling.{why}")));
        }
        assert_eq!(
            with("rope_scaling", json!("linear")),
            Err("config.json: rope_scaling: expected an object, found \"linear\"".into())
        );
        assert_eq!(
            with("rope_theta", Value::Null),
            Err("config.json: rope_theta: expected a number above 0, found null".into())
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for scaling in [
            RopeScaling::None,
            RopeScaling::Linear { factor: 2.5 },
            RopeScaling::Dynamic { factor: 4.0 },
            LLAMA3,
        ] {
            let config = LlamaConfig { rope_scaling: scaling, rope_theta: 5e5, ..config(|_| ()).unwrap() };
            assert_eq!(LlamaConfig::from_json(&config.to_json(), "again").unwrap(), config);
        }
    }

    /// `LlamaRotaryEmbedding(config).inv_freq` of transformers 5.23, to the last bit.
    #[test]
    fn frequencies_are_those_of_transformers() {
        let text = include_str!("../../../configs/models/llama2-7b.json");
        let llama2 = LlamaConfig::parse(text, "llama2-7b.json").unwrap();
        let llama31 = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let cases = [
            (1e4, RopeScaling::None, PLAIN),
            (1e4, RopeScaling::Linear { factor: 3.0 }, LINEAR),
            (1e4, RopeScaling::Dynamic { factor: 3.0 }, PLAIN),
            (5e5, llama31, LLAMA31),
        ];
        for (rope_theta, rope_scaling, expected) in cases {
            let frequencies = LlamaConfig { rope_theta, rope_scaling, ..llama2.clone() }.inv_freq();
            assert_eq!(frequencies.len(), 64);
            assert_eq!(PAIRS.map(|pair| frequencies[pair].to_bits()), expected, "{rope_scaling:?}");
        }
    }

    /// The first and the last; before, within and behind what LLaMA 3.1 interpolates.
    const PAIRS: [usize; 7] = [0, 1, 28, 30, 34, 36, 63];
    const PLAIN: [u32; 7] =
        [1065353216, 1063104471, 1016180025, 1012562930, 1005959600, 1001931932, 955395298];
    const LINEAR: [u32; 7] = [1051372203, 1049873039, 1002585164, 999401463, 992203040, 989180112, 941716289];
    const LLAMA31: [u32; 7] = [1065353216, 1062243009, 995260192, 984863005, 960179666, 950223245, 883213055];
}
