//! What a cell's forwards take at least: operations and bytes, by the model's config.

use llama::{LlamaConfig, TensorParallel, cost};
use protocol::{Dtype, MeasuredPeaks, Precision};
use results::{Run, Table};

use crate::plot::{FigureQuantity, in_unit};
use crate::scene::MeasuredRow;

/// The peaks and costs that a table's cells are compared with.
pub(crate) struct RooflineScale<'a> {
    config: LlamaConfig,
    precision: Precision,
    /// The number format of products: `TableKey::product_dtype`.
    dtype: Option<Dtype>,
    /// Devices that share the model.
    pub(crate) devices: f64,
    pub(crate) peaks: Option<&'a MeasuredPeaks>,
    /// Bytes a second that memory gave beside any cell, the most.
    beside: Option<f64>,
}

/// Operations and bytes of a forward, all devices together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ForwardWork {
    pub(crate) flops: f64,
    pub(crate) bytes: f64,
}

impl ForwardWork {
    /// Operations a byte.
    pub(crate) fn intensity(&self) -> f64 {
        self.flops / self.bytes
    }
}

impl<'a> RooflineScale<'a> {
    /// The scale of a run's table; `None` where the model's config is not known.
    pub(crate) fn new(run: &'a Run, table: &Table) -> Option<Self> {
        let config = TensorParallel::first_of(table.config.as_ref()?, table.key.ranks.one_rank_of()).ok()?;
        let beside = table.records().filter_map(|record| record.read_bytes_per_second);
        Some(Self {
            config,
            precision: table.key.precision,
            dtype: table.key.product_dtype(),
            devices: table.key.ranks.measured().max(1).into(),
            peaks: run.environments.iter().find_map(|one| one.peaks.as_ref()),
            beside: beside.reduce(f64::max),
        })
    }

    /// Parameters of the model.
    pub(crate) fn parameters(&self) -> u64 {
        cost::parameters(&self.config)
    }

    /// Bytes a second that the devices were measured to read.
    pub(crate) fn bandwidth(&self) -> Option<f64> {
        let of_run = self.peaks.and_then(|peaks| Some(peaks.read_bytes.as_ref()?.per_second));
        Some([of_run, self.beside].into_iter().flatten().reduce(f64::max)? * self.devices)
    }

    /// Operations a second that they were measured to do.
    pub(crate) fn flops(&self) -> Option<f64> {
        Some(self.peaks?.flops.get(&self.dtype?)?.per_second * self.devices)
    }

    /// Operations a second that they were measured to do for seconds on end.
    pub(crate) fn sustained_flops(&self) -> Option<f64> {
        Some(self.peaks?.sustained_flops.get(&self.dtype?)?.per_second * self.devices)
    }

    /// The measured peaks: `peak bandwidth 45.30 GB/s (onnxruntime)`, then those of compute.
    pub(crate) fn peaks_in_words(&self) -> Vec<String> {
        let words = |what: &str, quantity: FigureQuantity, per_second: f64, by: &str| {
            format!("{what} {} ({})", in_unit(quantity, per_second * self.devices), results::one_line(by))
        };
        let Some(peaks) = self.peaks else { return Vec::new() };
        let read = peaks.read_bytes.as_ref();
        let read =
            read.map(|peak| words("peak bandwidth", FigureQuantity::ByteRate, peak.per_second, &peak.by));
        let burst = self.dtype.and_then(|dtype| peaks.flops.get(&dtype));
        let burst =
            burst.map(|peak| words("burst peak", FigureQuantity::FlopRate, peak.per_second, &peak.by));
        let sustained = self.dtype.and_then(|dtype| peaks.sustained_flops.get(&dtype));
        let sustained = sustained
            .map(|peak| words("sustained peak", FigureQuantity::FlopRate, peak.per_second, &peak.by));
        read.into_iter().chain(burst).chain(sustained).collect()
    }

    /// A decode forward in the middle of a generation.
    pub(crate) fn decode(&self, cell: &MeasuredRow<'_>, generation_length: u32) -> ForwardWork {
        let [batch, prompt] = [cell.row.key.batch_size, cell.row.key.prompt_length].map(u64::from);
        let read = |past| cost::decode_read_bytes(&self.config, self.precision, batch, past) as f64;
        let last = prompt + u64::from(generation_length).saturating_sub(1);
        let operations = |past| cost::forward_flops(&self.config, batch, 1, past, 1);
        ForwardWork {
            flops: (operations(prompt) + operations(last)) / 2.0,
            bytes: (read(prompt) + read(last)) / 2.0,
        }
    }

    /// A prefill: every weight is read once, of the embedding each token's row, and the KV cache is written.
    pub(crate) fn prefill(&self, cell: &MeasuredRow<'_>) -> ForwardWork {
        let [batch, prompt] = [cell.row.key.batch_size, cell.row.key.prompt_length].map(u64::from);
        let weights = cost::decode_read_bytes(&self.config, self.precision, batch.saturating_mul(prompt), 0);
        let cache = cost::kv_cache_bytes(&self.config, self.precision.unquantized(), batch, prompt);
        ForwardWork {
            flops: cost::forward_flops(&self.config, batch, prompt, 0, 1),
            bytes: weights.saturating_add(cache) as f64,
        }
    }
}
