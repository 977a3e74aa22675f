//! The small closed vocabularies: device and phase.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that is not in the vocabulary it was read for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} \"{word}\": expected {expected}")]
pub struct UnknownWord {
    pub(crate) what: &'static str,
    pub(crate) word: String,
    pub(crate) expected: &'static str,
}

/// Where an engine computes: `cpu`, or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The processor.
    Cpu,
    /// The NVIDIA GPU with this index.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(index) => f.pad(&format!("cuda:{index}")),
        }
    }
}

impl FromStr for Device {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let unknown = || UnknownWord { what: "device", word: word.into(), expected: "cpu, cuda or cuda:N" };
        match word {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = word.strip_prefix("cuda:").ok_or_else(unknown)?;
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownWord;

    fn try_from(word: String) -> Result<Self, UnknownWord> {
        word.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

/// The part of a cell in which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading or making weights, building the model.
    Load,
    /// Prefill: warm-up and timed forwards of the whole prompt.
    Prompt,
    /// The generations: one prefill and the decode forwards.
    Decode,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Load => "load",
            Self::Prompt => "prompt",
            Self::Decode => "decode",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_what_they_print() {
        for word in ["cpu", "cuda:0", "cuda:7"] {
            assert_eq!(word.parse::<Device>().unwrap().to_string(), word);
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
    }

    #[test]
    fn an_unknown_word_is_named_with_what_was_expected() {
        let error = "gpu".parse::<Device>().unwrap_err().to_string();
        assert_eq!(error, "unknown device \"gpu\": expected cpu, cuda or cuda:N");
        assert!("cuda:-1".parse::<Device>().is_err());
    }
}
