//! The heading of a table: `LLaMA-2 7B FP16 CUDA (1 A100 80GB)`, written and read.

use std::fmt;

use protocol::{Device, Environment, TableKey};

use crate::{HeadingPrecision, one_line};

/// What a run ran on, as far as headings say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The processor's model name.
    pub cpu: String,
    /// Its cores.
    pub cores: u32,
    /// Each GPU's name and memory in bytes, by index.
    pub gpus: Vec<(String, u64)>,
}

impl From<&Environment> for Machine {
    fn from(environment: &Environment) -> Self {
        let gpus = environment.gpus.iter().map(|gpu| (gpu.name.clone(), gpu.memory_bytes)).collect();
        Self { cpu: environment.cpu.clone(), cores: environment.cores, gpus }
    }
}

/// The kind of device that a heading names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// GPUs.
    Cuda,
    /// The processor.
    Cpu,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cuda => "CUDA",
            Self::Cpu => "CPU",
        })
    }
}

/// What a heading says. Its text is [`fmt::Display`]; [`Heading::parse`] reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// The model's name as a sweep has it: `llama2-7b`.
    pub model: String,
    /// The precision.
    pub precision: HeadingPrecision,
    /// The kind of device.
    pub kind: DeviceKind,
    /// Devices that share the model; 1 for a processor.
    pub count: u32,
    /// Ranks that share one processor; 1 on GPUs.
    pub cpu_ranks: u32,
    /// The device: `A100 80GB`, `AMD EPYC`.
    pub device: String,
    /// The processor's cores, where it is one.
    pub cores: Option<u32>,
    /// The number of ranks of which rank 0's part alone was measured, on one device and without sums; `None` where it is the
    /// whole model.
    pub one_rank_of: Option<u32>,
}

impl Heading {
    /// The heading of the table with this key, measured on `machine`.
    pub fn new(key: &TableKey, machine: &Machine) -> Self {
        let ranks = key.ranks.measured();
        let (kind, count, cpu_ranks, device, cores) = match key.device {
            Device::Cpu => (DeviceKind::Cpu, 1, ranks, short_cpu(&machine.cpu), Some(machine.cores)),
            Device::Cuda(index) => {
                let gpu = machine.gpus.get(index as usize);
                let name = gpu.map_or_else(|| "GPU".into(), |(name, bytes)| short_gpu(name, *bytes));
                (DeviceKind::Cuda, ranks, 1, name, None)
            }
        };
        let one_rank_of = key.ranks.one_rank_of();
        Self {
            model: key.model.clone(),
            precision: key.precision.into(),
            kind,
            count,
            cpu_ranks,
            device,
            cores,
            one_rank_of,
        }
    }

    /// Its text without the precision: `LLaMA-2 7B CUDA (1 A100 80GB)`.
    pub fn without_precision(&self) -> String {
        format!("{} {}", display_name(&self.model), self.place())
    }

    /// `CUDA (1 A100 80GB)`.
    fn place(&self) -> String {
        let rank = self.one_rank_of.map(|ranks| format!("rank 0 of {ranks}, ")).unwrap_or_default();
        let device = match self.cores {
            Some(cores) => {
                let unit = if cores == 1 { "core" } else { "cores" };
                let ranks = match self.cpu_ranks {
                    1 => String::new(),
                    ranks => format!(", {ranks} ranks"),
                };
                format!("{}, {cores} {unit}{ranks}", self.device)
            }
            None => format!("{} {}", self.count, self.device),
        };
        format!("{} ({rank}{device})", self.kind)
    }

    /// Reads a heading's text.
    pub fn parse(text: &str) -> Result<Self, UnreadableHeading> {
        let inner = text.trim().strip_suffix(')').ok_or(UnreadableHeading)?;
        let precisions = HeadingPrecision::all();
        let combinations = precisions.flat_map(|precision| KINDS.map(|kind| (precision, kind)));
        let places = combinations.filter_map(|(precision, kind)| {
            let marker = format!(" {precision} {kind} (");
            inner.rfind(&marker).map(|at| (at, at + marker.len(), precision, kind))
        });
        let (at, end, precision, kind) = places.max_by_key(|place| place.0).ok_or(UnreadableHeading)?;
        let (model, device) = (inner[..at].trim(), inner[end..].trim());
        let (one_rank_of, device) = match device.strip_prefix("rank 0 of ") {
            Some(rest) => {
                let (ranks, device) = rest.split_once(", ").ok_or(UnreadableHeading)?;
                (Some(whole(ranks)?), device.trim())
            }
            None => (None, device),
        };
        let (count, cpu_ranks, device, cores) = match kind {
            DeviceKind::Cuda => {
                let (count, device) = device.split_once(' ').ok_or(UnreadableHeading)?;
                (whole(count)?, 1, device.trim(), None)
            }
            DeviceKind::Cpu => {
                // Ranks share the one processor: they are not counted as devices.
                let with_ranks = device
                    .rsplit_once(", ")
                    .and_then(|(device, ranks)| Some((device, ranks.strip_suffix(" ranks")?)));
                let (device, ranks) = with_ranks.unwrap_or((device, "1"));
                let ranks = whole(ranks)?;
                let (device, cores) = device.rsplit_once(", ").ok_or(UnreadableHeading)?;
                let cores = cores.strip_suffix(" cores").or_else(|| cores.strip_suffix(" core"));
                (1, ranks, device.trim(), Some(whole(cores.ok_or(UnreadableHeading)?)?))
            }
        };
        if model.is_empty() || (device.is_empty() && kind == DeviceKind::Cuda) {
            return Err(UnreadableHeading);
        }
        // A rank alone is on one device.
        if one_rank_of.is_some_and(|ranks| ranks < 2 || count != 1) {
            return Err(UnreadableHeading);
        }
        let model = model_name(model);
        Ok(Self { model, precision, kind, count, cpu_ranks, device: device.into(), cores, one_rank_of })
    }
}

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", display_name(&self.model), self.precision, self.place())
    }
}

/// A heading that has not these parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the heading does not say model, precision and device: expected \"LLaMA-2 7B FP16 CUDA (1 A100 80GB)\" or \"… FP32 CPU (AMD EPYC, 2 cores)\", \
     where the precision is FP32, FP16, BF16, FP8, INT8, INT8-G128, INT8-CHANNEL, INT4 or INT4-G128"
)]
pub struct UnreadableHeading;

const KINDS: [DeviceKind; 2] = [DeviceKind::Cuda, DeviceKind::Cpu];

fn whole(text: &str) -> Result<u32, UnreadableHeading> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| *number > 0 && digits).ok_or(UnreadableHeading)
}

/// `LLaMA-2 7B` is `llama2-7b`; other names stay as they are.
fn model_name(display: &str) -> String {
    let families = [("LLaMA-2 ", "llama2-"), ("TinyLlama ", "tinyllama-")];
    for (family, prefix) in families {
        if let Some(size) = display.strip_prefix(family) {
            return format!("{prefix}{}", size.to_lowercase());
        }
    }
    display.to_owned()
}

/// `llama2-7b` is `LLaMA-2 7B`; other names stay as they are, on one line.
fn display_name(model: &str) -> String {
    let families = [("llama2-", "LLaMA-2 "), ("tinyllama-", "TinyLlama ")];
    for (prefix, family) in families {
        if let Some(size) = model.strip_prefix(prefix) {
            return format!("{family}{}", size.to_uppercase());
        }
    }
    one_line(model)
}

/// `Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz` is `Intel Xeon Platinum 8370C`.
fn short_cpu(name: &str) -> String {
    let plain = name.replace("(R)", "").replace("(TM)", "").replace("(tm)", "");
    let end =
        [" @ ", " CPU", " Processor"].iter().filter_map(|tail| plain.find(tail)).min().unwrap_or(plain.len());
    let words = plain[..end].split_whitespace().filter(|word| !word.ends_with("-Core"));
    words.collect::<Vec<_>>().join(" ")
}

/// `NVIDIA A100-SXM4-80GB` of 80 GiB is `A100 80GB`, as the published tables say it.
pub(crate) fn short_gpu(name: &str, bytes: u64) -> String {
    let plain =
        name.trim_start_matches("NVIDIA ").trim_start_matches("GeForce ").trim_start_matches("Tesla ");
    let model = plain.split(['-', ' ']).next().unwrap_or(plain);
    // Drivers report a little less than the size on the box; with ECC in GDDR memory a sixteenth less.
    let gigabytes = match (bytes as f64 / f64::from(1 << 30)).ceil() as u64 {
        15 => 16,
        22 | 23 => 24,
        44..=47 => 48,
        other => other,
    };
    let keep_words = plain.starts_with("RTX") || plain.starts_with("GTX");
    format!("{} {gigabytes}GB", if keep_words { plain } else { model })
}

#[cfg(test)]
mod tests {
    use protocol::{Precision, Ranks};

    use super::*;

    fn gib(n: f64) -> u64 {
        (n * f64::from(1 << 30)) as u64
    }

    fn key(model: &str, precision: Precision, device: Device, ranks: (u32, bool)) -> TableKey {
        let ranks = Ranks { world_size: ranks.0, one_rank: ranks.1 };
        TableKey { model: model.into(), precision, device, ranks, generation_length: 256 }
    }

    #[test]
    fn headings_are_the_published_ones() {
        let gpus = vec![("NVIDIA A100-SXM4-80GB".to_owned(), gib(79.15))];
        let machine = Machine { cpu: "AMD EPYC".into(), cores: 2, gpus };
        for (model, precision, device, ranks, text) in [
            ("llama2-7b", Precision::Fp16, Device::Cuda(0), (1, false), "LLaMA-2 7B FP16 CUDA (1 A100 80GB)"),
            (
                "llama2-70b",
                Precision::Fp16,
                Device::Cuda(0),
                (4, false),
                "LLaMA-2 70B FP16 CUDA (4 A100 80GB)",
            ),
            (
                "llama2-70b",
                Precision::Fp16,
                Device::Cuda(0),
                (4, true),
                "LLaMA-2 70B FP16 CUDA (rank 0 of 4, 1 A100 80GB)",
            ),
            (
                "llama2-15m",
                Precision::Fp32,
                Device::Cpu,
                (1, false),
                "LLaMA-2 15M FP32 CPU (AMD EPYC, 2 cores)",
            ),
            (
                "llama2-15m",
                Precision::Fp32,
                Device::Cpu,
                (4, false),
                "LLaMA-2 15M FP32 CPU (AMD EPYC, 2 cores, 4 ranks)",
            ),
            (
                "llama2-15m",
                Precision::Fp32,
                Device::Cpu,
                (2, true),
                "LLaMA-2 15M FP32 CPU (rank 0 of 2, AMD EPYC, 2 cores)",
            ),
        ] {
            assert_eq!(Heading::new(&key(model, precision, device, ranks), &machine).to_string(), text);
        }
    }

    #[test]
    fn a_heading_that_is_written_is_read() {
        let gpus = vec![("NVIDIA A100-SXM4-80GB".to_owned(), gib(79.15)), ("NVIDIA H200".into(), gib(140.4))];
        let machine = Machine { cpu: "AMD EPYC 7763 64-Core Processor".into(), cores: 16, gpus };
        let models =
            ["llama2-7b", "llama2-13b", "llama2-70b", "llama2-15m", "tinyllama-1.1b", "my model (1)"];
        for model in models {
            for precision in Precision::ALL {
                for device in [Device::Cuda(0), Device::Cuda(1), Device::Cpu] {
                    for ranks in [(1, false), (4, false), (4, true)] {
                        let heading = Heading::new(&key(model, precision, device, ranks), &machine);
                        assert_eq!(Heading::parse(&heading.to_string()), Ok(heading));
                    }
                }
            }
        }
    }

    #[test]
    fn weights_of_few_bits_have_headings() {
        for (word, precision) in [("FP8", HeadingPrecision::Fp8), ("INT4", Precision::Int4.into())] {
            let text = format!("LLaMA-2 7B {word} CUDA (1 H100 80GB)");
            let heading = Heading::parse(&text).unwrap();
            assert_eq!((heading.precision, heading.to_string()), (precision, text));
        }
    }

    #[test]
    fn the_error_lists_the_precisions() {
        let error = Heading::parse("LLaMA-2 7B NF4 CUDA (1 A100 80GB)").unwrap_err().to_string();
        for precision in HeadingPrecision::all() {
            assert!(error.contains(&precision.to_string()), "{error}");
        }
    }

    #[test]
    fn a_heading_without_the_parts_is_not_guessed() {
        for text in [
            "",
            "Results",
            "LLaMA-2 7B",
            "LLaMA-2 7B FP16 CUDA",
            "LLaMA-2 7B INT3 CUDA (1 A100 80GB)",
            "LLaMA-2 7B FP16 CUDA (A100)",
            "LLaMA-2 7B FP16 CUDA (0 A100 80GB)",
            "LLaMA-2 7B FP16 CUDA (99999999999 A100 80GB)",
            "LLaMA-2 7B FP32 CPU (AMD EPYC)",
            " FP16 CUDA (1 A100 80GB)",
            "LLaMA-2 70B FP16 CUDA (rank 0 of 4, 4 A100 80GB)",
            "LLaMA-2 70B FP16 CUDA (rank 0 of 1, 1 A100 80GB)",
            "LLaMA-2 70B FP16 CUDA (rank 0 of four, 1 A100 80GB)",
            "LLaMA-2 70B FP16 CUDA (rank 0 of 4)",
        ] {
            assert_eq!(Heading::parse(text), Err(UnreadableHeading), "{text}");
        }
    }

    #[test]
    fn names_are_shortened_to_what_identifies() {
        let cpu = |name| short_cpu(name);
        assert_eq!(cpu("Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz"), "Intel Xeon Platinum 8370C");
        assert_eq!(cpu("AMD EPYC 7763 64-Core Processor"), "AMD EPYC 7763");
        assert_eq!(cpu("AMD Ryzen 9 7950X 16-Core Processor"), "AMD Ryzen 9 7950X");
        assert_eq!(short_gpu("NVIDIA H100 80GB HBM3", gib(79.6)), "H100 80GB");
        assert_eq!(short_gpu("NVIDIA GeForce RTX 4090", gib(23.99)), "RTX 4090 24GB");
        assert_eq!(short_gpu("NVIDIA H200", gib(140.4)), "H200 141GB");
        assert_eq!(short_gpu("NVIDIA A10", gib(22.1)), "A10 24GB");
        assert_eq!(short_gpu("NVIDIA L40S", gib(44.99)), "L40S 48GB");
        assert_eq!(short_gpu("Tesla V100-SXM2-16GB", gib(15.8)), "V100 16GB");
    }
}
