//! What loading a model takes of a processor's memory.
//!
//! The figures are the least `--memory-limit` with which an engine loaded a model of seeded weights and generated a token, on two cores
//! (x86-64, ONNX Runtime 1.31.1, libtorch 2.11.0). llama2-15m (58 MiB of weights in FP32): `onnxruntime` 193 MiB, `pytorch-eager` 146 MiB,
//! `pytorch-compile` 157 MiB, `reference` 79 MiB. tinyllama-1.1b: `onnxruntime` 8.78 GiB in FP32 and 8.67 GiB in FP16, `pytorch-eager`
//! 2.19 GiB in FP16. Threads add a stack each.

use llama::LlamaConfig;
use llama::cost::weights_bytes;
use protocol::{Device, Precision};

use crate::format_bytes;
use crate::sweep::plan::Cell;
use crate::sweep::resolve::Sweep;
use crate::sweep::setting::SettingsError;

const MIB: u64 = 1 << 20;
/// No process of ours starts in less.
const LEAST_PROCESS: u64 = 4 * MIB;
/// The share of an estimate below which nothing was ever loaded: 0.82 of it is the least that was.
const CERTAIN_PERCENT: u64 = 75;

/// What a worker takes of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadNeed {
    /// What its process holds beside the model.
    pub process: u64,
    /// The most that it holds while it loads the model.
    pub peak: u64,
}

impl Cell<'_> {
    /// What loading the cell's model takes, of each rank; `None` on a GPU, and of engines of which nothing is known.
    pub fn load_need(&self, sweep: &Sweep) -> Option<LoadNeed> {
        if sweep.setup.device != Device::Cpu {
            return None;
        }
        let config = self.rank_config(sweep);
        let options = sweep.setup.options_of(self.engine);
        let is = |name: &str, value: &str| {
            let set =
                options.get(name).map(|set| set.as_str().map_or_else(|| set.to_string(), str::to_owned));
            set.is_some_and(|set| set == value)
        };
        let precision = self.model.precision;
        // Rounding and small tensors.
        let weights = |precision| percent(weights_bytes(&config, precision), 102);
        let is_quantized = precision.quantization().is_some();
        let (process, model) = match self.engine {
            // Weights are made, copied and laid out anew; what is not quantized is in FP32 then.
            "onnxruntime" if is_quantized => {
                let model = weights(precision).saturating_mul(3);
                (48 * MIB, model.saturating_add(percent(unquantized_bytes(&config), 175)))
            }
            "onnxruntime" => {
                let in_place = is("prepacking", "false") && precision == Precision::Fp32;
                let copies = if in_place { 1 } else { 2 } + u64::from(is("fused", "true"));
                // On a CPU it computes in FP32, and has the largest tensors once more while it lays them out.
                let model = weights(Precision::Fp32).saturating_mul(copies);
                (48 * MIB, model.saturating_add(2 * embedding_bytes(&config)))
            }
            "reference" => (24 * MIB, weights(Precision::Fp32)),
            // A layer's codes take 32 bits each while they are packed.
            engine if engine.starts_with("pytorch-") && is_quantized => {
                let model = percent(weights_bytes(&config, precision), 130);
                let packed = 6 * (config.hidden_size as u64).saturating_mul(config.intermediate_size as u64);
                (112 * MIB, model.saturating_add(unquantized_bytes(&config) / 2).saturating_add(packed))
            }
            engine if engine.starts_with("pytorch-") => {
                (112 * MIB, weights(precision).saturating_mul(if is("linear", "onednn") { 2 } else { 1 }))
            }
            _ => return None,
        };
        Some(LoadNeed { process, peak: process.saturating_add(model) })
    }
}

/// The table of token vectors, in FP32.
fn embedding_bytes(config: &LlamaConfig) -> u64 {
    protocol::Dtype::Fp32
        .bytes()
        .saturating_mul(config.vocab_size as u64)
        .saturating_mul(config.hidden_size as u64)
}

/// Everything but the projections, in FP32.
fn unquantized_bytes(config: &LlamaConfig) -> u64 {
    let specs = llama::weight_specs(config);
    let numbers: usize = specs.iter().filter(|spec| !spec.is_projection()).map(llama::WeightSpec::len).sum();
    protocol::Dtype::Fp32.bytes().saturating_mul(numbers as u64)
}

fn percent(bytes: u64, percent: u64) -> u64 {
    (bytes / 100).saturating_mul(percent)
}

/// Refuses a memory limit with which none of these cells could be measured: no worker would come to the end of loading.
pub(crate) fn check_memory_limit(sweep: &Sweep, cells: &[Cell<'_>]) -> Result<(), SettingsError> {
    let Some(limit) = sweep.setup.memory_limit.filter(|_| !cells.is_empty()) else { return Ok(()) };
    let mut least: Option<(&Cell<'_>, u64)> = None;
    for cell in cells {
        let Some(LoadNeed { peak, .. }) = cell.load_need(sweep) else {
            if limit >= LEAST_PROCESS {
                return Ok(());
            }
            continue;
        };
        if limit >= percent(peak, CERTAIN_PERCENT) {
            return Ok(());
        }
        if least.is_none_or(|(_, other)| peak < other) {
            least = Some((cell, peak));
        }
    }
    let limit = format_bytes(limit);
    let what = match least {
        Some((cell, peak)) => format!(
            "{limit} is too little for every cell: loading {} with {} takes about {}",
            cell.model.label,
            cell.engine,
            format_bytes(peak)
        ),
        None => format!(
            "{limit} is less than a worker needs to start, which is {} at least",
            format_bytes(LEAST_PROCESS)
        ),
    };
    Err(SettingsError { origin: sweep.setup.memory_limit_origin(), what })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Engines, plan};

    /// The estimate of loading in MiB, and whether a limit of so many MiB is refused.
    fn estimate(engine: &str, precision: &str, model: &str, limit: u64) -> (u64, bool) {
        let text = format!(
            "models = [\"{model}\"]\nengines = [\"{engine}\"]\nbatch_sizes = 1\nprompt_lengths = 16\nprecision = \"{precision}\"\n\
             memory_limit = \"{limit}MiB\"\n"
        );
        let settings = Sweep::settings(&text, "a.toml", Path::new("")).unwrap();
        let sweep = Sweep::resolve(&settings, &Engines::built_in()).unwrap();
        let cells = plan(&sweep);
        (cells[0].load_need(&sweep).unwrap().peak / MIB, check_memory_limit(&sweep, &cells).is_err())
    }

    #[test]
    fn loading_takes_about_what_was_measured_and_no_less() {
        for (engine, precision, model, measured) in [
            ("onnxruntime", "fp32", "llama2-15m", 193),
            ("onnxruntime", "fp16", "llama2-15m", 210),
            ("onnxruntime", "fp32", "tinyllama-1.1b", 8992),
            ("onnxruntime", "fp16", "tinyllama-1.1b", 8882),
            ("pytorch-eager", "fp32", "llama2-15m", 146),
            ("pytorch-compile", "fp32", "llama2-15m", 157),
            ("pytorch-eager", "fp16", "tinyllama-1.1b", 2238),
            ("reference", "fp32", "llama2-15m", 79),
            ("onnxruntime", "int4", "llama2-15m", 170),
            ("onnxruntime", "int4", "tinyllama-1.1b", 3200),
            ("onnxruntime", "int8", "tinyllama-1.1b", 4600),
            ("pytorch-eager", "int4", "llama2-15m", 140),
            ("pytorch-eager", "int4", "tinyllama-1.1b", 1400),
            ("pytorch-eager", "int8-channel", "tinyllama-1.1b", 1700),
        ] {
            let (estimate, is_refused) = estimate(engine, precision, model, measured);
            assert!(estimate >= measured, "{engine} {precision} {model}: {estimate} MiB");
            assert!(estimate < measured + measured / 4, "{engine} {precision} {model}: {estimate} MiB");
            assert!(!is_refused, "it was loaded with this limit");
        }
    }

    #[test]
    fn a_limit_that_no_worker_can_load_within_is_refused() {
        assert!(estimate("onnxruntime", "fp32", "llama2-15m", 10).1);
        assert!(!estimate("onnxruntime", "fp32", "llama2-15m", 190).1);
        let refused = |limit: &str| {
            let text = format!(
                "models = [\"llama2-15m\"]\nengines = [\"mock\"]\nbatch_sizes = 1\nprompt_lengths = 16\nmemory_limit = \"{limit}\"\n"
            );
            let settings = Sweep::settings(&text, "a.toml", Path::new("")).unwrap();
            let sweep = Sweep::resolve(&settings, &Engines::built_in()).unwrap();
            check_memory_limit(&sweep, &plan(&sweep)).map_err(|error| error.to_string())
        };
        assert_eq!(refused("16M"), Ok(()));
        assert_eq!(
            refused("10B").unwrap_err(),
            "a.toml:5: memory_limit: 10 B is less than a worker needs to start, which is 4.00 MiB at least"
        );
    }
}
