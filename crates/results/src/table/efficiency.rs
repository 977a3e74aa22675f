//! How much of the device a cell made use of: shares of what the device was measured to do at most, memory, spread.

use llama::{LlamaConfig, TensorParallel, cost};
use protocol::{
    Device, Environment, GpuSeries, MeasuredCeiling, MeasuredCeilings, Measurement, Phase, Precision,
    TableKey,
};

use super::grid::{Grid, GridColumn, column, percent};
use super::{Figures, Row, Table};
use crate::format_short;

/// What efficiencies are shares of, and of what they are.
pub(super) struct Scale<'a> {
    config: LlamaConfig,
    precision: Precision,
    ceilings: &'a MeasuredCeilings,
    /// Devices that share the model.
    devices: f64,
}

impl<'a> Scale<'a> {
    /// What the cells of a table are held against; `None` where no peaks were measured. Where rank 0 of several was measured
    /// alone, bytes and operations are those of its part.
    pub(super) fn new(environments: &'a [Environment], config: &LlamaConfig, key: &TableKey) -> Option<Self> {
        let ceilings = environments.iter().find_map(|environment| environment.ceilings.as_ref())?;
        let config = TensorParallel::first_of(config, key.ranks.one_rank_of()).ok()?;
        // On a CPU ranks share the one processor.
        let devices = if key.device == Device::Cpu { 1 } else { key.ranks.measured() };
        Some(Self { config, precision: key.precision, ceilings, devices: devices.into() })
    }

    /// In words: `decode of 45.30 GB/s (onnxruntime), prefill of 312.0 GFLOP/s (pytorch-eager)`; or where that was measured,
    /// decode of what memory gave beside each of `rows`.
    pub(super) fn words(&self, rows: &[Row]) -> String {
        let words = |what: &str, unit: &str, ceiling: &MeasuredCeiling| {
            let value = format_short(ceiling.per_second / 1e9);
            format!("{what} of {value} G{unit} ({})", ceiling.by)
        };
        let read = if rows.iter().any(|row| row.efficiency.read_bytes_per_second.is_some()) {
            Some("decode of what memory gave beside the cell".to_owned())
        } else {
            self.ceilings.read_bytes.as_ref().map(|read| words("decode", "B/s", read))
        };
        let flops = self.ceilings.flops.get(&self.precision);
        let flops = flops.map(|flops| words("prefill", "FLOP/s", flops));
        let sustained = self.ceilings.sustained_flops.get(&self.precision).map(|sustained| {
            let value = format_short(sustained.per_second / 1e9);
            let clock = sustained.sm_clock_mhz.map(|clock| format!(" at {clock:.0} MHz"));
            format!("sustained {value} GFLOP/s ({}){}", sustained.by, clock.unwrap_or_default())
        });
        read.into_iter().chain(flops).chain(sustained).collect::<Vec<_>>().join(", ")
    }
}

/// How much of the device a cell made use of. Shares are of 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Efficiency {
    /// Of the memory's bandwidth in decode: the bytes that its forwards must read at least (every weight once, and the KV cache)
    /// over their time and the measured ceiling: that beside the cell where all replicates have it, else the run's. Model
    /// bandwidth utilisation, MBU.
    pub decode_bandwidth: Option<f64>,
    /// What memory gave beside the cell, in bytes a second: the mean over its replicates.
    pub read_bytes_per_second: Option<f64>,
    /// Of the arithmetic in prefill: the operations that it takes at least over its time and the measured ceiling. Model FLOPs
    /// utilisation, MFU (Chowdhery et al., "PaLM", 2022, appendix B).
    pub prefill_flops: Option<f64>,
    /// The same over the measured sustained ceiling, where there is one: what the device does for seconds on end.
    pub prefill_sustained_flops: Option<f64>,
    /// Energy of a generated token: the GPU's mean power while it decoded, for as long as a decode forward takes, over the
    /// batch.
    pub joules_per_token: Option<f64>,
    /// That power.
    pub power_watts: Option<f64>,
    /// The lowest clock of the GPU's multiprocessors in prefill or decode.
    pub lowest_sm_clock_mhz: Option<u32>,
}

impl Efficiency {
    pub(super) fn new(replicates: &[Measurement], figures: &Figures, scale: Option<&Scale<'_>>) -> Self {
        let key = &replicates[0].key;
        let share =
            |work: f64, seconds: f64, ceiling: f64, devices: f64| work / seconds / (ceiling * devices);
        let beside: Option<Vec<f64>> = replicates.iter().map(|record| record.read_bytes_per_second).collect();
        let read_bytes_per_second = beside.and_then(|beside| stats::mean(&beside));
        let of_scale = |scale: &Scale<'_>| {
            let Scale { config, precision, ceilings, devices } = scale;
            let [batch, prompt, generation] =
                [key.batch_size, key.prompt_length, key.generation_length].map(u64::from);
            // What is read grows steadily with every token: the first forward follows the prompt, the last all tokens but one.
            let read = |past| cost::decode_read_bytes(config, *precision, batch, past) as f64;
            let bytes = (read(prompt) + read(prompt + generation.saturating_sub(1))) / 2.0;
            let flops = cost::forward_flops(config, batch, prompt, 0, 1);
            let bandwidth = match read_bytes_per_second {
                Some(_) => share_beside(replicates, bytes, *devices),
                None => ceilings
                    .read_bytes
                    .as_ref()
                    .map(|read| share(bytes, figures.token.mean, read.per_second, *devices)),
            };
            let prefill = |per_second: f64| share(flops, figures.prompt.mean, per_second, *devices);
            let most = ceilings.flops.get(precision).map(|most| prefill(most.per_second));
            let sustained = ceilings.sustained_flops.get(precision).map(|most| prefill(most.per_second));
            (bandwidth, most, sustained)
        };
        let (decode_bandwidth, prefill_flops, prefill_sustained_flops) =
            scale.map_or((None, None, None), of_scale);
        let gpus: Vec<&GpuSeries> = replicates.iter().filter_map(|record| record.gpu.as_ref()).collect();
        let powers: Vec<f64> = gpus.iter().filter_map(|gpu| gpu.power_watts_in(Phase::Decode)).collect();
        let power_watts = stats::mean(&powers);
        let clocks = |gpu: &&GpuSeries| {
            [Phase::Prompt, Phase::Decode]
                .into_iter()
                .filter_map(|phase| gpu.lowest_sm_clock_mhz_in(phase))
                .min()
        };
        Self {
            decode_bandwidth,
            read_bytes_per_second,
            prefill_flops,
            prefill_sustained_flops,
            joules_per_token: power_watts.map(|watts| watts * figures.token.mean / f64::from(key.batch_size)),
            power_watts,
            lowest_sm_clock_mhz: gpus.iter().filter_map(clocks).min(),
        }
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

const COLUMNS: [GridColumn; 13] = [
    // A table whose first column is the engine is one of the documents'.
    column("Batch Size", Some("batch"), |row, _| Some(row.key.batch_size.to_string())),
    column("Prompt Length", Some("prompt"), |row, _| Some(row.key.prompt_length.to_string())),
    column("Engine", Some("engine"), |row, _| Some(row.key.engine.clone())),
    column("Decode MBU (%)", Some("MBU %"), |row, _| row.efficiency.decode_bandwidth.map(percent)),
    column("Memory Beside (GB/s)", Some("beside GB/s"), |row, _| {
        row.efficiency.read_bytes_per_second.map(|read| format_short(read / 1e9))
    }),
    column("Prefill MFU (%)", Some("MFU %"), |row, _| row.efficiency.prefill_flops.map(percent)),
    column("MFU of Sustained (%)", Some("sust. %"), |row, _| {
        row.efficiency.prefill_sustained_flops.map(percent)
    }),
    column("Peak Memory (MiB)", Some("peak MiB"), |row, _| {
        row.peak_bytes().map(|bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)))
    }),
    column("Energy (J/token)", Some("J/token"), |row, _| row.efficiency.joules_per_token.map(format_short)),
    column("Power (W)", Some("W"), |row, _| row.efficiency.power_watts.map(|watts| format!("{watts:.0}"))),
    column("Lowest SM Clock (MHz)", Some("MHz"), |row, _| {
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
