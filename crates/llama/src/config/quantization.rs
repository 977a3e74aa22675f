//! The `quantization_config` of a checkpoint whose weights are stored in 8 or 4 bits, as compressed-tensors writes it.

use protocol::{Precision, Quantization};
use serde_json::{Value, json};

use super::{ConfigError, ConfigObject, LlamaConfig};

const KEY: &str = "quantization_config";
const EXPECTED: &str = "null, or compressed-tensors' pack-quantized, with weights alone in 4 or 8 bits, symmetric, a \
                        scale for every 32 or 128 inputs or every channel, and lm_head ignored";

/// The precision of the stored weights; `None` where they are not quantized.
pub(super) fn read(keys: &ConfigObject<'_>) -> Result<Option<Precision>, ConfigError> {
    let Some(config) = keys.get(KEY).filter(|config| !quantizes_nothing(config)) else { return Ok(None) };
    let precision = Precision::ALL
        .into_iter()
        .find(|precision| precision.quantization().is_some_and(|quantization| is_of(config, quantization)));
    precision.map(Some).ok_or_else(|| keys.error(KEY, EXPECTED.into(), config))
}

/// bitsandbytes leaves a config even where it quantized nothing.
fn quantizes_nothing(config: &Value) -> bool {
    let is_false = |key| config.get(key).is_none_or(|value| value == false);
    config["quant_method"] == "bitsandbytes" && is_false("load_in_4bit") && is_false("load_in_8bit")
}

/// Whether `config` says what [`write()`] writes of this quantization. Keys with these defaults may be left out, and others that say
/// nothing of the numbers may stand beside them.
fn is_of(config: &Value, quantization: Quantization) -> bool {
    let expected = write(quantization);
    let mut groups = config["config_groups"].as_object().into_iter().flat_map(serde_json::Map::values);
    let (Some(group), None) = (groups.next(), groups.next()) else { return false };
    let is = |found: &Value, expected: &Value, key: &str| found[key] == expected[key];
    let weights = &expected["config_groups"]["group_0"]["weights"];
    let absent = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
    ["quant_method", "format", "ignore"].iter().all(|key| is(config, &expected, key))
        && ["num_bits", "type", "symmetric", "strategy", "group_size"]
            .iter()
            .all(|key| is(&group["weights"], weights, key))
        && group["targets"] == expected["config_groups"]["group_0"]["targets"]
        && ["actorder", "dynamic"].iter().all(|key| absent(&group["weights"][key]))
        && ["input_activations", "output_activations"].iter().all(|key| absent(&group[key]))
        && absent(&config["kv_cache_scheme"])
}

/// The `quantization_config` of a checkpoint that this program writes.
pub(super) fn write(Quantization { bits, group_size }: Quantization) -> Value {
    json!({
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {
                    "num_bits": bits,
                    "type": "int",
                    "symmetric": true,
                    "strategy": if group_size.is_some() { "group" } else { "channel" },
                    "group_size": group_size,
                },
            },
        },
    })
}

impl LlamaConfig {
    /// Checks that the model can be measured in `precision`.
    ///
    /// # Errors
    /// Where its weights are stored in another precision below 16 bits, or have no whole groups in this one.
    pub fn check_precision(&self, precision: Precision) -> Result<(), String> {
        match self.quantization {
            Some(stored) if stored != precision => {
                Err(format!("the weights are stored in {stored}: use precision {stored}"))
            }
            _ => crate::check_groups(self, precision),
        }
    }
}
