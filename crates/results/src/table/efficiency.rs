//! Efficiency of a cell: shares of measured and datasheet peaks, memory, variation.

use std::sync::LazyLock;

use llama::{LlamaConfig, TensorParallel, cost};
use protocol::{
    CellKey, Device, Dtype, Environment, GpuSeries, MeasuredPeak, MeasuredPeaks, Measurement, Phase,
    Precision, TableKey,
};

use super::grid::{Grid, GridColumn, column, percent};
use super::{Figures, Row, Table};
use crate::format_short;
use crate::hardware::{Datasheet, Hardware, Peak};

/// The peaks that efficiencies are shares of.
pub(super) struct Scale<'a> {
    config: LlamaConfig,
    precision: Precision,
    /// [`TableKey::product_dtype`].
    dtype: Option<Dtype>,
    measured: Option<&'a MeasuredPeaks>,
    datasheet: Option<Datasheet>,
    /// Devices that share the model.
    devices: f64,
}

impl<'a> Scale<'a> {
    /// The peaks that the cells of a table are compared with; `heading_part` is the environment of the heading's device. `None` where no peaks were
    /// measured, and the device has no datasheet. Where rank 0 of several was measured alone, bytes and operations are those of
    /// its part.
    pub(super) fn new(
        environments: &'a [Environment],
        heading_part: Option<&Environment>,
        config: &LlamaConfig,
        key: &TableKey,
    ) -> Option<Self> {
        let dtype = key.precision.activations(key.device);
        let measured = environments.iter().find_map(|environment| environment.peaks.as_ref());
        let datasheet = match key.device {
            Device::Cpu => None,
            Device::Cuda(index) => {
                let gpu = heading_part.and_then(|environment| environment.gpus.get(index as usize));
                gpu.and_then(|gpu| BUILT_IN.datasheet(gpu, dtype))
            }
        };
        if measured.is_none() && datasheet.is_none() {
            return None;
        }
        let config = TensorParallel::first_of(config, key.ranks.one_rank_of()).ok()?;
        // On a CPU ranks share the one processor.
        let devices = if key.device == Device::Cpu { 1 } else { key.ranks.measured() };
        let (precision, dtype) = (key.precision, key.product_dtype());
        Some(Self { config, precision, dtype, measured, datasheet, devices: devices.into() })
    }

    /// The peaks in words: `peak bandwidth 45.30 GB/s (onnxruntime), peak 312.0 GFLOP/s (pytorch-eager), datasheet peaks of H100 80GB SXM:
    /// 3.350 TB/s and 989.5 TFLOP/s`. Where bandwidth was measured with each of `rows`, there is no single one.
    pub(super) fn words(&self, rows: &[Row]) -> String {
        let words = |what: &str, unit: &str, peak: &MeasuredPeak| {
            format!("{what}{} ({})", rate(peak.per_second, unit), peak.by)
        };
        let read = if rows.iter().any(|row| row.efficiency.read_bytes_per_second.is_some()) {
            Some("peak bandwidth measured with each cell".to_owned())
        } else {
            let read = self.measured.and_then(|measured| measured.read_bytes.as_ref());
            read.map(|read| words("peak bandwidth ", "B/s", read))
        };
        let flops = self.measured.and_then(|measured| measured.flops.get(&self.dtype?));
        let flops = flops.map(|flops| words("peak ", "FLOP/s", flops));
        let sustained = self.measured.and_then(|measured| measured.sustained_flops.get(&self.dtype?));
        let sustained = sustained.map(|sustained| {
            let value = rate(sustained.per_second, "FLOP/s");
            let clock = sustained.sm_clock_mhz.map(|clock| format!(" at {clock:.0} MHz"));
            format!("sustained {value} ({}){}", sustained.by, clock.unwrap_or_default())
        });
        let datasheet = self.datasheet.as_ref().map(|Datasheet { bandwidth_bytes_per_second, flops }| {
            let Peak { value, origin } = bandwidth_bytes_per_second;
            let flops = flops.as_ref().map(|flops| format!(" and {}", rate(flops.value, "FLOP/s")));
            format!("datasheet peaks of {origin}: {}{}", rate(*value, "B/s"), flops.unwrap_or_default())
        });
        read.into_iter().chain(flops).chain(sustained).chain(datasheet).collect::<Vec<_>>().join(", ")
    }
}

/// `45.30 GB/s`, `989.5 TFLOP/s`.
fn rate(per_second: f64, unit: &str) -> String {
    let (value, prefix) = if per_second >= 1e12 { (per_second / 1e12, "T") } else { (per_second / 1e9, "G") };
    format!("{} {prefix}{unit}", format_short(value))
}

/// The least share of the prefill phase that timed prefills take where its power is theirs.
const PREFILL_SHARE: f64 = 0.5;

/// The datasheets, parsed once.
static BUILT_IN: LazyLock<Hardware> = LazyLock::new(Hardware::built_in);

/// Efficiency of a cell. Shares are of 1; docs/concepts/peaks.md defines each.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Efficiency {
    /// Share of the measured memory bandwidth in decode: the bytes that its forwards must read at least (every weight once, and the KV
    /// cache) over their time and the measured peak: that beside the cell where all replicates have it, else the run's.
    pub decode_bandwidth: Option<f64>,
    /// What memory gave beside the cell, in bytes a second: the mean over its replicates.
    pub read_bytes_per_second: Option<f64>,
    /// Share of the measured FLOP/s in prefill: its least operations over its time and the measured peak.
    pub prefill_flops: Option<f64>,
    /// The same over the measured sustained peak, where there is one: what the device does for seconds on end.
    pub prefill_sustained_flops: Option<f64>,
    /// Model bandwidth utilisation as Databricks defines it ("LLM Inference Performance Engineering: Best Practices", 2023): the
    /// bytes of all parameters and of the KV cache over TPOT and the datasheet's bandwidth.
    pub mbu: Option<f64>,
    /// Model FLOPs utilisation of the prefill as PaLM defines it (Chowdhery et al., 2022, appendix B), a forward pass alone: tokens a
    /// second times `2N + 4LHQT`, over the datasheet's FLOP/s.
    pub mfu: Option<f64>,
    /// Energy of a generated token: the GPU's mean power while it decoded, for as long as a decode forward takes, over the
    /// batch.
    pub joules_per_token: Option<f64>,
    /// Energy of a token of the prompt: the GPU's mean power during the timed prefills, for as long as one takes, over batch size ×
    /// prompt length.
    pub joules_per_prompt_token: Option<f64>,
    /// Energy of a whole generation over its tokens: the GPU's mean power while it generated, for as long as a generation takes on the
    /// wall clock, prefill and the time between forwards included.
    pub total_joules_per_token: Option<f64>,
    /// That power.
    pub power_watts: Option<f64>,
    /// The lowest clock of the GPU's multiprocessors in prefill or decode.
    pub lowest_sm_clock_mhz: Option<u32>,
}

impl Efficiency {
    pub(super) fn new(replicates: &[Measurement], figures: &Figures, scale: Option<&Scale<'_>>) -> Self {
        let key = &replicates[0].key;
        let beside: Option<Vec<f64>> = replicates.iter().map(|record| record.read_bytes_per_second).collect();
        let read_bytes_per_second = beside.and_then(|beside| stats::mean(&beside));
        let gpus: Vec<&GpuSeries> = replicates.iter().filter_map(|record| record.gpu.as_ref()).collect();
        let power_in = |phase| {
            let powers: Vec<f64> = gpus.iter().filter_map(|gpu| gpu.power_watts_in(phase)).collect();
            stats::mean(&powers)
        };
        let power_watts = power_in(Phase::Decode);
        let [batch, prompt, tokens] =
            [key.batch_size, key.prompt_length, key.generation_length].map(f64::from);
        let joules_per_token = power_watts.map(|watts| watts * figures.token.mean / batch);
        // Where warm-ups took most of the phase, as compiling does, its power is not that of a prefill.
        let is_prefill = replicates.iter().all(|record| {
            let phase = record.gpu.as_ref().and_then(|gpu| gpu.seconds_in(Phase::Prompt));
            let timed = record.series().map(|series| series.prompt_seconds.iter().sum::<f64>());
            timed.zip(phase).is_some_and(|(timed, phase)| timed >= PREFILL_SHARE * phase)
        });
        let prefill_watts = power_in(Phase::Prompt).filter(|_| is_prefill);
        let clocks = |gpu: &&GpuSeries| {
            [Phase::Prompt, Phase::Decode]
                .into_iter()
                .filter_map(|phase| gpu.lowest_sm_clock_mhz_in(phase))
                .min()
        };
        let mut efficiency = Self {
            read_bytes_per_second,
            joules_per_token,
            joules_per_prompt_token: prefill_watts
                .map(|watts| watts * figures.prompt.mean / (batch * prompt)),
            total_joules_per_token: power_watts.map(|watts| watts * figures.wall.mean / (batch * tokens)),
            power_watts,
            lowest_sm_clock_mhz: gpus.iter().filter_map(clocks).min(),
            ..Self::default()
        };
        if let Some(scale) = scale {
            efficiency.set_shares(replicates, figures, scale);
        }
        efficiency
    }

    fn set_shares(&mut self, replicates: &[Measurement], figures: &Figures, scale: &Scale<'_>) {
        let Scale { config, precision, dtype, measured, datasheet, devices } = scale;
        let CellKey { batch_size, prompt_length, generation_length, .. } = replicates[0].key;
        let [batch, prompt, generation] = [batch_size, prompt_length, generation_length].map(u64::from);
        let share = |work: f64, seconds: f64, peak: f64| work / seconds / (peak * devices);
        // What is read grows steadily with every token: the first forward follows the prompt, the last all tokens but one.
        let mean = |bytes: &dyn Fn(u64) -> u64| {
            let last = prompt + generation.saturating_sub(1);
            (bytes(prompt) as f64 + bytes(last) as f64) / 2.0
        };
        let read = mean(&|past| cost::decode_read_bytes(config, *precision, batch, past));
        self.decode_bandwidth = match self.read_bytes_per_second {
            Some(_) => share_beside(replicates, read, *devices),
            None => {
                let peak = measured.and_then(|measured| measured.read_bytes.as_ref());
                peak.map(|peak| share(read, figures.token.mean, peak.per_second))
            }
        };
        let flops = cost::forward_flops(config, batch, prompt, 0, 1);
        let prefill = |per_second: f64| share(flops, figures.prompt.mean, per_second);
        let burst = measured.and_then(|measured| measured.flops.get(&(*dtype)?));
        self.prefill_flops = burst.map(|peak| prefill(peak.per_second));
        let sustained = measured.and_then(|measured| measured.sustained_flops.get(&(*dtype)?));
        self.prefill_sustained_flops = sustained.map(|peak| prefill(peak.per_second));

        let Some(Datasheet { bandwidth_bytes_per_second, flops }) = datasheet else { return };
        let cache = mean(&|past| cost::kv_cache_bytes(config, precision.unquantized(), batch, past));
        let held = cost::weights_bytes(config, *precision) as f64 + cache;
        self.mbu = Some(share(held, figures.tpot.mean, bandwidth_bytes_per_second.value));
        let palm = cost::palm_forward_flops(config, batch, prompt);
        self.mfu = flops.as_ref().map(|peak| share(palm, figures.prompt.mean, peak.value));
    }
}

/// The mean over replicates of the share that each used of what memory gave beside it.
fn share_beside(replicates: &[Measurement], bytes: f64, devices: f64) -> Option<f64> {
    let share = |record: &Measurement| {
        let tokens: Vec<f64> =
            record.series()?.generations.iter().flat_map(|one| &one.token_seconds).copied().collect();
        Some(bytes / stats::mean(&tokens)? / (record.read_bytes_per_second? * devices))
    };
    stats::mean(&replicates.iter().map(share).collect::<Option<Vec<f64>>>()?)
}

const COLUMNS: [GridColumn; 15] = [
    // A table whose first column is the engine would be read as a published table.
    column("Batch Size", Some(("batch", 0)), |row, _| Some(row.key.batch_size.to_string())),
    column("Prompt Length", Some(("prompt", 0)), |row, _| Some(row.key.prompt_length.to_string())),
    column("Engine", Some(("engine", 0)), |row, _| Some(row.key.engine.clone())),
    column("Decode Bandwidth of Measured Peak (%)", Some(("BW %", 0)), |row, _| {
        row.efficiency.decode_bandwidth.map(percent)
    }),
    column("Memory Beside (GB/s)", Some(("peak GB/s", 6)), |row, _| {
        row.efficiency.read_bytes_per_second.map(|read| format_short(read / 1e9))
    }),
    column("Prefill FLOP/s of Measured Peak (%)", Some(("FLOP/s %", 0)), |row, _| {
        row.efficiency.prefill_flops.map(percent)
    }),
    column("Prefill FLOP/s of Sustained Peak (%)", Some(("sust. FLOP/s %", 5)), |row, _| {
        row.efficiency.prefill_sustained_flops.map(percent)
    }),
    column("MBU (%)", Some(("MBU %", 0)), |row, _| row.efficiency.mbu.map(percent)),
    column("MFU (%)", Some(("MFU %", 0)), |row, _| row.efficiency.mfu.map(percent)),
    column("Peak Memory (MiB)", Some(("peak MiB", 1)), |row, _| {
        row.peak_bytes().map(|bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)))
    }),
    column("Energy (J/token)", Some(("J/token", 2)), |row, _| {
        row.efficiency.joules_per_token.map(format_short)
    }),
    column("Power (W)", Some(("W", 3)), |row, _| {
        row.efficiency.power_watts.map(|watts| format!("{watts:.0}"))
    }),
    column("Lowest SM Clock (MHz)", Some(("MHz", 4)), |row, _| {
        row.efficiency.lowest_sm_clock_mhz.map(|clock| clock.to_string())
    }),
    column("Prompt ± (%)", None, |_, figures| Some(percent(figures.prompt.variation()))),
    column("Token ± (%)", None, |_, figures| Some(percent(figures.token.variation()))),
];

impl Grid {
    /// The efficiency of a table's cells; `None` where nothing is known of the device.
    pub fn efficiency(table: &Table) -> Option<Self> {
        let is_watched = table.rows.iter().any(|row| row.efficiency != Efficiency::default());
        if table.scale.is_none() && !is_watched {
            return None;
        }
        let caption =
            table.scale.as_ref().map_or("Efficiency".into(), |scale| format!("Efficiency: {scale}"));
        Self::new(table, caption, &COLUMNS)
    }
}
