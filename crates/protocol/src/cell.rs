//! Which cell a record is of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Device, Dtype, Precision};

/// The sizes of a cell, which name it among those of its engine and model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CellSize {
    /// Batch size: sequences at once.
    pub batch_size: u32,
    /// Prompt length in tokens.
    pub prompt_length: u32,
}

impl fmt::Display for CellSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.batch_size, self.prompt_length)
    }
}

impl FromStr for CellSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| text.parse().ok().filter(|size| *size > 0);
        let sizes =
            text.split_once(['x', '×']).and_then(|(batch, prompt)| Some((size(batch)?, size(prompt)?)));
        let (batch_size, prompt_length) = sizes
            .ok_or_else(|| format!("expected a cell as BATCHxPROMPT, such as 1x256, found \"{text}\""))?;
        Ok(Self { batch_size, prompt_length })
    }
}

/// The ranks of tensor parallelism that share a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Ranks {
    /// The number of ranks.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub world_size: u32,
    /// True where only rank 0's part was measured, in one process and without all-reduces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_rank: bool,
}

impl Ranks {
    /// The whole model in one process.
    pub const ONE: Self = Self { world_size: 1, one_rank: false };

    /// The number of ranks of which rank 0's part alone was measured; `None` where the whole model was.
    pub fn one_rank_of(self) -> Option<u32> {
        self.one_rank.then_some(self.world_size)
    }

    /// How many devices computed.
    pub fn measured(self) -> u32 {
        if self.one_rank { 1 } else { self.world_size }
    }
}

/// What identifies a table: everything that its cells have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableKey {
    /// The model's name.
    pub model: String,
    /// The precision.
    pub precision: Precision,
    /// The device.
    pub device: Device,
    /// The ranks that shared the model.
    pub ranks: Ranks,
    /// Decode forwards of a generation.
    pub generation_length: u32,
}

impl TableKey {
    /// The number format of matrix products, which peaks are measured in; `None` where the weights have few bits on a CPU: an engine may
    /// multiply integers.
    pub fn product_dtype(&self) -> Option<Dtype> {
        let may_be_integers = self.precision.quantization().is_some() && self.device == Device::Cpu;
        (!may_be_integers).then(|| self.precision.activations(self.device))
    }
}

/// What identifies a cell: one engine × batch size × prompt length of one model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CellKey {
    /// The model's name.
    #[serde(deserialize_with = "crate::texts::name")]
    #[cfg_attr(test, schemars(with = "crate::schema::Name"))]
    pub model: String,
    /// The precision.
    pub precision: Precision,
    /// The device.
    pub device: Device,
    /// The ranks that shared the model.
    pub ranks: Ranks,
    /// The engine's name in `engines.toml`.
    #[serde(deserialize_with = "crate::texts::name")]
    #[cfg_attr(test, schemars(with = "crate::schema::Name"))]
    pub engine: String,
    /// Batch size: sequences at once.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub batch_size: u32,
    /// Prompt length in tokens.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub prompt_length: u32,
    /// Decode forwards of a generation.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub generation_length: u32,
}

impl CellKey {
    /// Batch size and prompt length.
    pub fn size(&self) -> CellSize {
        CellSize { batch_size: self.batch_size, prompt_length: self.prompt_length }
    }

    /// The table that the cell is in.
    pub fn table(&self) -> TableKey {
        TableKey {
            model: self.model.clone(),
            precision: self.precision,
            device: self.device,
            ranks: self.ranks,
            generation_length: self.generation_length,
        }
    }

    /// Whether this cell needs at least as much memory as `other`: as large in every dimension, all else being the same.
    pub fn needs_as_much_as(&self, other: &Self) -> bool {
        let sizes = |key: &Self| [key.batch_size, key.prompt_length, key.generation_length];
        let larger = sizes(self).into_iter().zip(sizes(other)).all(|(mine, theirs)| mine >= theirs);
        let [batch_size, prompt_length, generation_length] = sizes(other);
        larger && Self { batch_size, prompt_length, generation_length, ..self.clone() } == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_named_by_its_sizes() {
        let cell = CellSize { batch_size: 4, prompt_length: 256 };
        assert_eq!(
            ("4x256".parse(), "4×256".parse(), cell.to_string()),
            (Ok(cell), Ok(cell), "4×256".into())
        );
        for text in ["", "4", "x256", "4x", "0x256", "4x0", "4x256x1", "4 x 256", "-1x2", "99999999999x1"] {
            let error = text.parse::<CellSize>().unwrap_err();
            assert_eq!(error, format!("expected a cell as BATCHxPROMPT, such as 1x256, found \"{text}\""));
        }
    }

    #[test]
    fn only_a_cell_that_is_as_large_in_every_dimension_needs_as_much() {
        let key = |engine: &str, batch_size, prompt_length| CellKey {
            model: "m".into(),
            precision: Precision::Fp32,
            device: Device::Cpu,
            ranks: Ranks::ONE,
            engine: engine.into(),
            batch_size,
            prompt_length,
            generation_length: 256,
        };
        let small = key("a", 4, 64);
        for (larger, expected) in [
            (key("a", 4, 64), true),
            (key("a", 4, 256), true),
            (key("a", 16, 64), true),
            (key("a", 16, 16), false),
            (key("a", 1, 4096), false),
            (key("b", 16, 256), false),
        ] {
            assert_eq!(larger.needs_as_much_as(&small), expected, "{larger:?}");
        }
        let other_precision = CellKey { precision: Precision::Fp16, ..key("a", 16, 256) };
        assert!(!other_precision.needs_as_much_as(&small));
    }
}
