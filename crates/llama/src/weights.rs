//! The values of a model's weights, in the precision asked for.

use std::path::Path;

use bytemuck::Zeroable;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use protocol::{ModelSource, Precision};

use crate::seeded::fill;
use crate::{Checkpoint, CheckpointError, LlamaConfig, StoredTensor, WeightSpec, weight_specs};

/// A model's weights: stored, or made from a seed.
#[derive(Debug)]
pub enum Weights {
    /// From files.
    Checkpoint(Checkpoint),
    /// From a seed.
    Seeded {
        /// The model.
        config: LlamaConfig,
        /// The seed.
        seed: u64,
    },
}

/// Numbers of one precision.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Values {
    /// The bytes, in this machine's (little-endian) order.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::F16(values) => bytemuck::cast_slice(values),
            Self::Bf16(values) => bytemuck::cast_slice(values),
        }
    }
}

/// Where a weight's bytes are.
#[derive(Debug)]
pub enum WeightData<'a> {
    /// In a checkpoint's file, as they are: `bytes` is a part of that shard's map.
    Stored {
        /// Where in the checkpoint.
        stored: &'a StoredTensor,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Converted or made: in memory.
    Made(Values),
}

/// One weight in the precision asked for.
#[derive(Debug)]
pub struct Weight<'a> {
    /// Its name and shape.
    pub spec: WeightSpec,
    /// Its precision.
    pub precision: Precision,
    /// Its values.
    pub data: WeightData<'a>,
}

impl Weight<'_> {
    /// The bytes, little-endian.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            WeightData::Stored { bytes, .. } => bytes,
            WeightData::Made(values) => values.bytes(),
        }
    }

    /// The values, widened.
    pub fn to_f32(&self) -> Vec<f32> {
        match convert(self.bytes(), self.precision, Precision::Fp32) {
            Values::F32(values) => values,
            _ => unreachable!("asked for fp32"),
        }
    }
}

impl Weights {
    /// Opens what a request names.
    pub fn open(source: &ModelSource) -> Result<Self, CheckpointError> {
        match source {
            ModelSource::Checkpoint { dir } => Self::checkpoint(dir),
            ModelSource::Seeded { config, seed } => {
                let config = LlamaConfig::from_json(config, "config.json")?;
                Ok(Self::Seeded { config, seed: *seed })
            }
        }
    }

    /// Opens a checkpoint's folder.
    pub fn checkpoint(dir: &Path) -> Result<Self, CheckpointError> {
        Checkpoint::open(dir).map(Self::Checkpoint)
    }

    /// The model's config.
    pub fn config(&self) -> &LlamaConfig {
        match self {
            Self::Checkpoint(checkpoint) => &checkpoint.config,
            Self::Seeded { config, .. } => config,
        }
    }

    /// Every weight's name and shape, in the order of the forward pass.
    pub fn specs(&self) -> Vec<WeightSpec> {
        weight_specs(self.config())
    }

    /// The weight `spec` in `precision`: borrowed from the file where it is stored so, else made in memory.
    ///
    /// # Panics
    /// Where `spec` is not one of [`Weights::specs`].
    pub fn get(&self, spec: &WeightSpec, precision: Precision) -> Weight<'_> {
        let data = match self {
            Self::Checkpoint(checkpoint) => {
                let stored = checkpoint.stored(&spec.name).expect("a weight of this model");
                let bytes = checkpoint.bytes(stored);
                let aligned = bytes.as_ptr().align_offset(precision.bytes() as usize) == 0;
                if stored.precision == precision && aligned {
                    WeightData::Stored { stored, bytes }
                } else {
                    WeightData::Made(convert(bytes, stored.precision, precision))
                }
            }
            Self::Seeded { seed, .. } => WeightData::Made(make(spec, *seed, precision)),
        };
        Weight { spec: spec.clone(), precision, data }
    }
}

fn convert(bytes: &[u8], from: Precision, to: Precision) -> Values {
    let to_f32 = |chunk: &[u8]| match from {
        Precision::Fp32 => f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]),
        Precision::Fp16 => f16::from_le_bytes([chunk[0], chunk[1]]).to_f32(),
        Precision::Bf16 => bf16::from_le_bytes([chunk[0], chunk[1]]).to_f32(),
    };
    let width = from.bytes() as usize;
    build(bytes.len() / width, to, |first, values| {
        let part = &bytes[first * width..(first + values.len()) * width];
        for (value, chunk) in values.iter_mut().zip(part.chunks_exact(width)) {
            *value = to_f32(chunk);
        }
    })
}

fn make(spec: &WeightSpec, seed: u64, precision: Precision) -> Values {
    build(spec.len(), precision, |first, values| fill(spec, seed, first, values))
}

/// Numbers of one task: large enough to be worth a thread, small enough to convert in cache.
const BLOCK: usize = 1 << 16;

/// Builds `len` numbers of `precision` from a function that fills blocks of `f32`, on every core.
fn build(len: usize, precision: Precision, fill: impl Fn(usize, &mut [f32]) + Sync) -> Values {
    fn narrow<T: Zeroable + Send>(len: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Vec<T>
    where
        [T]: HalfFloatSliceExt,
    {
        // Zeros from the system: its pages are first touched where they are filled, by every thread.
        let mut values = bytemuck::zeroed_vec(len);
        in_parallel(&mut values, |first, block| {
            let mut wide = [0.0; 4096];
            for (part, first) in block.chunks_mut(wide.len()).zip((first..).step_by(wide.len())) {
                let wide = &mut wide[..part.len()];
                fill(first, wide);
                part.convert_from_f32_slice(wide);
            }
        });
        values
    }
    match precision {
        Precision::Fp32 => {
            let mut values = vec![0.0; len];
            in_parallel(&mut values, &fill);
            Values::F32(values)
        }
        Precision::Fp16 => Values::F16(narrow(len, fill)),
        Precision::Bf16 => Values::Bf16(narrow(len, fill)),
    }
}

fn in_parallel<T: Send>(values: &mut [T], work: impl Fn(usize, &mut [T]) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let blocks = values.len().div_ceil(BLOCK);
    if blocks <= 1 {
        return work(0, values);
    }
    let share = blocks.div_ceil(threads) * BLOCK;
    std::thread::scope(|scope| {
        for (part, start) in values.chunks_mut(share).zip((0..).step_by(share)) {
            let work = &work;
            scope.spawn(move || {
                for (block, first) in part.chunks_mut(BLOCK).zip((start..).step_by(BLOCK)) {
                    work(first, block);
                }
            });
        }
    });
}
