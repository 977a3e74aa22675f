//! What a heading says: `LLaMA-2 7B FP16 CUDA (1 A100 80GB)`. The inverse of [`crate::heading()`].

use std::fmt;

use protocol::Precision;

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

/// The parts of a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// The model's name as a sweep has it: `llama2-7b`.
    pub model: String,
    /// Precision of weights, activations and KV cache.
    pub precision: Precision,
    /// The kind of device.
    pub kind: DeviceKind,
    /// Devices that share the model; 1 for a processor.
    pub count: u32,
    /// The device: `A100 80GB`, `AMD EPYC`.
    pub device: String,
    /// The processor's cores, where it is one.
    pub cores: Option<u32>,
    /// The ranks of which it is rank 0's part alone, on one device and without sums; `None` where it is the whole model.
    pub one_rank_of: Option<u32>,
}

/// A heading that has not these parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the heading does not say model, precision and device: expected \"LLaMA-2 7B FP16 CUDA (1 A100 80GB)\" or \"… FP32 CPU (AMD EPYC, 2 cores)\""
)]
pub struct UnreadableHeading;

const PRECISIONS: [(&str, Precision); 3] =
    [("FP32", Precision::Fp32), ("FP16", Precision::Fp16), ("BF16", Precision::Bf16)];
const KINDS: [DeviceKind; 2] = [DeviceKind::Cuda, DeviceKind::Cpu];

impl Heading {
    /// Reads a heading's text.
    pub fn parse(text: &str) -> Result<Self, UnreadableHeading> {
        let inner = text.trim().strip_suffix(')').ok_or(UnreadableHeading)?;
        let combinations = PRECISIONS.iter().flat_map(|precision| KINDS.map(|kind| (precision, kind)));
        let places = combinations.filter_map(|((word, precision), kind)| {
            let marker = format!(" {word} {kind} (");
            inner.rfind(&marker).map(|at| (at, at + marker.len(), *precision, kind))
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
        let (count, device, cores) = match kind {
            DeviceKind::Cuda => {
                let (count, device) = device.split_once(' ').ok_or(UnreadableHeading)?;
                (whole(count)?, device.trim(), None)
            }
            DeviceKind::Cpu => {
                // Ranks share the one processor: they are not counted as devices.
                let of_ranks = device.rsplit_once(", ").filter(|(_, ranks)| ranks.ends_with(" ranks"));
                let device = of_ranks.map_or(device, |(device, _)| device);
                let (device, cores) = device.rsplit_once(", ").ok_or(UnreadableHeading)?;
                let cores = cores.strip_suffix(" cores").or_else(|| cores.strip_suffix(" core"));
                (1, device.trim(), Some(whole(cores.ok_or(UnreadableHeading)?)?))
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
        Ok(Self { model, precision, kind, count, device: device.into(), cores, one_rank_of })
    }
}

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

#[cfg(test)]
mod tests {
    use protocol::Device;

    use super::*;
    use crate::{Machine, heading};

    #[test]
    fn a_heading_that_is_written_is_read() {
        let gib = |n: f64| (n * f64::from(1 << 30)) as u64;
        let gpus = vec![("NVIDIA A100-SXM4-80GB".to_owned(), gib(79.15)), ("NVIDIA H200".into(), gib(140.4))];
        let machine = Machine { cpu: "AMD EPYC 7763 64-Core Processor".into(), cores: 16, gpus };
        let models =
            ["llama2-7b", "llama2-13b", "llama2-70b", "llama2-15m", "tinyllama-1.1b", "my model (1)"];
        for model in models {
            for (_, precision) in PRECISIONS {
                for (device, ranks, count, name) in [
                    (Device::Cuda(0), (4, false), 4, "A100 80GB"),
                    (Device::Cuda(0), (4, true), 1, "A100 80GB"),
                    (Device::Cuda(1), (1, false), 1, "H200 141GB"),
                    (Device::Cpu, (1, false), 1, "AMD EPYC 7763"),
                    (Device::Cpu, (4, false), 1, "AMD EPYC 7763"),
                    (Device::Cpu, (4, true), 1, "AMD EPYC 7763"),
                ] {
                    let text = heading(model, precision, device, ranks, &machine);
                    let parts = Heading::parse(&text).unwrap();
                    assert_eq!((parts.model.as_str(), parts.precision), (model, precision), "{text}");
                    let is_cpu = device == Device::Cpu;
                    assert_eq!((parts.count, parts.device.as_str()), (count, name), "{text}");
                    assert_eq!(parts.one_rank_of, ranks.1.then_some(4), "{text}");
                    assert_eq!(parts.kind == DeviceKind::Cpu, is_cpu);
                    assert_eq!(parts.cores, is_cpu.then_some(16));
                }
            }
        }
    }

    #[test]
    fn a_heading_without_the_parts_is_not_guessed() {
        for text in [
            "",
            "Results",
            "LLaMA-2 7B",
            "LLaMA-2 7B FP16 CUDA",
            "LLaMA-2 7B INT8 CUDA (1 A100 80GB)",
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
}
