//! The values of a model's weights, in the number format asked for.

use std::path::Path;

use bytemuck::Zeroable;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use protocol::{Dtype, ModelSource, Precision, Quantization};

use crate::checkpoint::StoredQuantized;
use crate::quantize::{dequantize, quantize};
use crate::seeded::fill;
use crate::shard::WeightPart;
use crate::{
    Checkpoint, CheckpointError, LlamaConfig, QuantizedValues, Shard, StoredBytes, StoredTensor,
    TensorParallel, WeightSpec, weight_specs,
};

/// A model's weights, or one rank's part of them: stored, or made from a seed.
#[derive(Debug)]
pub struct Weights {
    source: WeightsSource,
    /// The whole model.
    whole: LlamaConfig,
    rank: TensorParallel,
    /// What the rank computes.
    config: LlamaConfig,
    /// How projections are quantized; everything else is rounded to FP16 then.
    quantization: Option<Quantization>,
}

#[derive(Debug)]
enum WeightsSource {
    Checkpoint(Box<Checkpoint>),
    Seed(u64),
}

/// Numbers of one format.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    /// Codes of quantized weights.
    U8(Vec<u8>),
}

impl Values {
    /// The bytes, in this machine's (little-endian) order.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::F16(values) => bytemuck::cast_slice(values),
            Self::Bf16(values) => bytemuck::cast_slice(values),
            Self::U8(values) => values,
        }
    }
}

/// Where a weight's bytes are.
#[derive(Debug)]
pub enum WeightData<'a> {
    /// Bytes in a checkpoint's file, as they are: `bytes` is a part of that shard's map.
    Stored {
        /// Where in the checkpoint.
        stored: StoredTensor,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Converted or made: in memory.
    Made(Values),
}

/// One weight in the number format asked for.
#[derive(Debug)]
pub struct Weight<'a> {
    /// Its name and shape.
    pub spec: WeightSpec,
    /// Its number format.
    pub dtype: Dtype,
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
        match convert(self.bytes(), self.dtype, Dtype::Fp32) {
            Values::F32(values) => values,
            _ => unreachable!("asked for fp32"),
        }
    }
}

/// A quantized projection.
#[derive(Debug)]
pub struct QuantizedWeight<'a> {
    /// Its codes: see [`QuantizedValues::packed`].
    pub packed: PackedCodes<'a>,
    /// Its scales, `[out, in / group]`.
    pub scales: Vec<f16>,
}

/// Where packed codes are.
#[derive(Debug)]
pub enum PackedCodes<'a> {
    /// Bytes in a checkpoint's file, as they are.
    Stored {
        /// Where in the checkpoint.
        stored: StoredBytes,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Made in memory.
    Made(Vec<u8>),
}

impl PackedCodes<'_> {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Stored { bytes, .. } => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

impl Weights {
    /// Opens what a request names.
    pub fn open(source: &ModelSource) -> Result<Self, CheckpointError> {
        Self::open_part(source, 0, 1)
    }

    /// Opens the part of what a request names that rank `rank` of `world_size` holds; only that is read or made.
    pub fn open_part(source: &ModelSource, rank: usize, world_size: usize) -> Result<Self, CheckpointError> {
        let (source, whole) = match source {
            ModelSource::Checkpoint { dir } => {
                let checkpoint = Checkpoint::open(dir)?;
                let config = checkpoint.config.clone();
                (WeightsSource::Checkpoint(Box::new(checkpoint)), config)
            }
            ModelSource::Seeded { config, seed } => {
                (WeightsSource::Seed(*seed), LlamaConfig::from_json(config, "config.json")?)
            }
        };
        let rank = TensorParallel::new(&whole, rank, world_size)?;
        let quantization = whole.quantization.and_then(Precision::quantization);
        Ok(Self { source, config: rank.config(&whole), whole, rank, quantization })
    }

    /// Opens a checkpoint's folder.
    pub fn checkpoint(dir: &Path) -> Result<Self, CheckpointError> {
        Ok(Self::of_checkpoint(Checkpoint::open(dir)?))
    }

    /// All weights of an open checkpoint.
    pub fn of_checkpoint(checkpoint: Checkpoint) -> Self {
        let config = checkpoint.config.clone();
        let (source, rank) = (WeightsSource::Checkpoint(Box::new(checkpoint)), TensorParallel::ALONE);
        let quantization = config.quantization.and_then(Precision::quantization);
        Self { source, whole: config.clone(), config, rank, quantization }
    }

    /// The weights of a model of `config` that `seed` makes.
    pub fn seeded(config: LlamaConfig, seed: u64) -> Self {
        let (source, rank) = (WeightsSource::Seed(seed), TensorParallel::ALONE);
        Self { source, whole: config.clone(), config, rank, quantization: None }
    }

    /// The same weights in `precision`: quantized below 16 bits, where they are not stored so.
    ///
    /// # Errors
    /// Where they are stored in another precision, where the model has no whole groups, or where ranks share it.
    pub fn in_precision(mut self, precision: Precision) -> Result<Self, CheckpointError> {
        let fail = |why: String| Err(CheckpointError::Precision { precision, why });
        self.quantization = precision.quantization();
        if let Err(why) = self.whole.check_precision(precision) {
            return fail(why);
        }
        if self.quantization.is_some() && self.rank != TensorParallel::ALONE {
            return fail("ranks can't share quantized weights: use world_size 1".into());
        }
        Ok(self)
    }

    /// The config of what is held: of the whole model, or of the model that the rank computes.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Name and shape of every weight that is held, in the order of the forward pass.
    pub fn specs(&self) -> Vec<WeightSpec> {
        weight_specs(&self.config)
    }

    /// The checkpoint's files; none where weights are made.
    pub fn files(&self) -> &[Shard] {
        match &self.source {
            WeightsSource::Checkpoint(checkpoint) => &checkpoint.shards,
            WeightsSource::Seed(_) => &[],
        }
    }

    /// Releases the memory of stored weights, for a caller that has copied most of them: what is read again comes back
    /// from the files.
    pub fn release_pages(&self) {
        if let WeightsSource::Checkpoint(checkpoint) = &self.source {
            checkpoint.release_pages();
        }
    }

    /// Whether [`Weights::get`] can borrow the weight without a copy.
    pub fn is_stored(&self, spec: &WeightSpec, dtype: Dtype) -> bool {
        self.in_place(spec, dtype).is_some()
    }

    /// The weight `spec` in `dtype`: borrowed from the file where it is stored in that format, else made in memory.
    ///
    /// # Panics
    /// Where `spec` is not one of [`Weights::specs`].
    pub fn get(&self, spec: &WeightSpec, dtype: Dtype) -> Weight<'_> {
        if let Some(quantization) = self.quantization.filter(|_| spec.is_projection()) {
            let values = self.dequantized(spec, quantization, dtype);
            return Weight { spec: spec.clone(), dtype, data: WeightData::Made(values) };
        }
        let data = match self.in_place(spec, dtype) {
            Some((stored, bytes)) => WeightData::Stored { stored, bytes },
            None => WeightData::Made(self.joined(std::slice::from_ref(spec), dtype)),
        };
        Weight { spec: spec.clone(), dtype, data }
    }

    /// The values of `specs` in `dtype`, those of one weight after those of another. Of weights with the same number of
    /// columns, that is one weight with the rows of all.
    ///
    /// # Panics
    /// Where one of `specs` is not one of [`Weights::specs`].
    pub fn joined(&self, specs: &[WeightSpec], dtype: Dtype) -> Values {
        debug_assert!(self.quantization.is_none() || !specs.iter().any(WeightSpec::is_projection));
        let parts: Vec<(WeightSpec, Runs)> = specs
            .iter()
            .map(|spec| {
                let whole = self.whole_spec(spec);
                let runs = self.runs(&whole);
                (whole, runs)
            })
            .collect();
        let len = parts.iter().map(|(_, runs)| runs.numbers()).sum();
        build(len, dtype, |mut start, mut values| {
            for (whole, runs) in &parts {
                let inside = runs.numbers().saturating_sub(start).min(values.len());
                let (now, rest) = values.split_at_mut(inside);
                runs.fill(start, now, |first, values| self.fill(whole, first, values));
                (start, values) = (start.saturating_sub(runs.numbers()), rest);
            }
        })
    }

    /// How projections are quantized; `None` where they are not.
    pub fn quantization(&self) -> Option<Quantization> {
        self.quantization
    }

    /// The projection `spec` as it is quantized: borrowed from the file where it is stored so, else made in memory.
    ///
    /// # Panics
    /// Where projections are not quantized ([`Weights::quantization`]), or `spec` is none.
    pub fn quantized(&self, spec: &WeightSpec) -> QuantizedWeight<'_> {
        let quantization =
            self.quantization.filter(|_| spec.is_projection()).expect("a quantized projection");
        if let WeightsSource::Checkpoint(checkpoint) = &self.source
            && let Some(StoredQuantized { packed, scales }) = checkpoint.stored_quantized(&spec.name)
        {
            let scales = checkpoint.bytes_at(*scales).chunks_exact(2);
            return QuantizedWeight {
                scales: scales.map(|half| f16::from_le_bytes([half[0], half[1]])).collect(),
                packed: PackedCodes::Stored { stored: *packed, bytes: checkpoint.bytes_at(*packed) },
            };
        }
        let inputs = spec.shape[1];
        let mut rows =
            vec![QuantizedValues { packed: Vec::new(), scales: Vec::new() }; spec.shape[0].div_ceil(ROWS)];
        in_parallel_blocks(&mut rows, |block, quantized| {
            let first = block * ROWS;
            let mut values = vec![0.0; ROWS.min(spec.shape[0] - first) * inputs];
            self.fill(spec, first * inputs, &mut values);
            *quantized = quantize(&values, inputs, quantization);
        });
        let mut packed = Vec::with_capacity(spec.packed_bytes(quantization));
        let mut scales = Vec::with_capacity(spec.scales(quantization));
        for block in rows {
            packed.extend(block.packed);
            scales.extend(block.scales);
        }
        QuantizedWeight { packed: PackedCodes::Made(packed), scales }
    }

    /// The numbers that the quantized `spec` stands for.
    fn dequantized(&self, spec: &WeightSpec, quantization: Quantization, dtype: Dtype) -> Values {
        let QuantizedWeight { packed, scales } = self.quantized(spec);
        let mut values = vec![0.0; spec.len()];
        dequantize(packed.bytes(), &scales, spec.shape[1], quantization, &mut values);
        match dtype {
            Dtype::Fp32 => Values::F32(values),
            _ => convert(bytemuck::cast_slice(&values), Dtype::Fp32, dtype),
        }
    }

    /// Fills `values` with the numbers from `first` on of the weight `whole`, which all ranks have parts of.
    fn fill(&self, whole: &WeightSpec, first: usize, values: &mut [f32]) {
        match &self.source {
            WeightsSource::Seed(seed) => fill(whole, *seed, first, values),
            WeightsSource::Checkpoint(checkpoint) => {
                let stored = stored(checkpoint, whole);
                let width = stored.dtype.bytes() as usize;
                let bytes = &checkpoint.bytes(stored)[first * width..(first + values.len()) * width];
                widen(bytes, stored.dtype, values);
            }
        }
        if self.quantization.is_some() && !whole.is_projection() {
            values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
    }

    /// Where the weight lies in a file, all of it together and as it is asked for.
    fn in_place(&self, spec: &WeightSpec, dtype: Dtype) -> Option<(StoredTensor, &[u8])> {
        let WeightsSource::Checkpoint(checkpoint) = &self.source else { return None };
        // A wider number would not be rounded to FP16 there.
        if self.quantization.is_some() && (spec.is_projection() || dtype != Dtype::Fp16) {
            return None;
        }
        let stored = stored(checkpoint, spec);
        let (first, len) = self.runs(&self.whole_spec(spec)).single()?;
        let width = stored.dtype.bytes() as usize;
        let stored =
            StoredTensor { offset: stored.offset + first * width, len: len * width, ..stored.clone() };
        let bytes = checkpoint.bytes(&stored);
        let aligned = bytes.as_ptr().align_offset(dtype.bytes() as usize) == 0;
        (stored.dtype == dtype && aligned).then_some((stored, bytes))
    }

    /// `spec` as the whole model has it.
    fn whole_spec(&self, spec: &WeightSpec) -> WeightSpec {
        if self.rank == TensorParallel::ALONE {
            return spec.clone();
        }
        let specs = weight_specs(&self.whole);
        specs.into_iter().find(|whole| whole.name == spec.name).expect("a weight of this model")
    }

    /// The rank's part of the weight `whole`.
    fn runs(&self, whole: &WeightSpec) -> Runs {
        let width = whole.shape.get(1).copied().unwrap_or(1);
        match self.rank.part(whole) {
            WeightPart::Whole => Runs { first: 0, len: whole.len(), stride: whole.len(), count: 1 },
            WeightPart::Rows(rows) => {
                let len = rows.len() * width;
                Runs { first: rows.start * width, len, stride: len, count: 1 }
            }
            WeightPart::Columns(columns) => {
                Runs { first: columns.start, len: columns.len(), stride: width, count: whole.shape[0] }
            }
        }
    }
}

fn stored<'a>(checkpoint: &'a Checkpoint, spec: &WeightSpec) -> &'a StoredTensor {
    checkpoint.stored(&spec.name).expect("a weight of this model")
}

/// Numbers of a weight: `count` times `len` of them, `stride` from one start to the next.
struct Runs {
    first: usize,
    len: usize,
    stride: usize,
    count: usize,
}

impl Runs {
    /// First number and length, where there is only one.
    fn single(&self) -> Option<(usize, usize)> {
        (self.count == 1).then_some((self.first, self.len))
    }

    /// How many numbers there are.
    fn numbers(&self) -> usize {
        self.count * self.len
    }

    /// Fills `values` with the numbers from `start` on, by a function that fills in those from a number of the whole weight
    /// on.
    fn fill(&self, start: usize, mut values: &mut [f32], fill: impl Fn(usize, &mut [f32])) {
        let mut index = start;
        while !values.is_empty() {
            let (run, inside) = (index / self.len, index % self.len);
            let count = values.len().min(self.len - inside);
            let (now, rest) = values.split_at_mut(count);
            fill(self.first + run * self.stride + inside, now);
            (values, index) = (rest, index + count);
        }
    }
}

fn convert(bytes: &[u8], from: Dtype, to: Dtype) -> Values {
    let len = bytes.len() / from.bytes() as usize;
    let width = from.bytes() as usize;
    build(len, to, |first, values| {
        widen(&bytes[first * width..(first + values.len()) * width], from, values);
    })
}

/// Fills `values` with the numbers in `bytes`.
pub(crate) fn widen(bytes: &[u8], from: Dtype, values: &mut [f32]) {
    let to_f32 = |chunk: &[u8]| match from {
        Dtype::Fp32 => f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]),
        Dtype::Fp16 => f16::from_le_bytes([chunk[0], chunk[1]]).to_f32(),
        Dtype::Bf16 => bf16::from_le_bytes([chunk[0], chunk[1]]).to_f32(),
    };
    for (value, chunk) in values.iter_mut().zip(bytes.chunks_exact(from.bytes() as usize)) {
        *value = to_f32(chunk);
    }
}

/// Numbers of one task: large enough to be worth a thread, small enough to convert in cache.
const BLOCK: usize = 1 << 16;

/// Builds `len` numbers of `dtype` from a function that fills blocks of `f32`, on every core.
fn build(len: usize, dtype: Dtype, fill: impl Fn(usize, &mut [f32]) + Sync) -> Values {
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
    match dtype {
        Dtype::Fp32 => {
            let mut values = vec![0.0; len];
            in_parallel(&mut values, &fill);
            Values::F32(values)
        }
        Dtype::Fp16 => Values::F16(narrow(len, fill)),
        Dtype::Bf16 => Values::Bf16(narrow(len, fill)),
    }
}

/// Rows of a weight that are quantized at once.
const ROWS: usize = 64;

/// Fills each item by its index, on every core.
fn in_parallel_blocks<T: Send>(items: &mut [T], work: impl Fn(usize, &mut T) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = items.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (part, start) in items.chunks_mut(share).zip((0..).step_by(share)) {
            let work = &work;
            scope.spawn(move || part.iter_mut().zip(start..).for_each(|(item, index)| work(index, item)));
        }
    });
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
