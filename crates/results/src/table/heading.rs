//! The heading of a table: `LLaMA-2 7B FP16 CUDA (1 A100 80GB)`.

use protocol::{Device, Environment, Precision};

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

impl Machine {
    /// What a run's environment says of it.
    pub fn of(environment: &Environment) -> Self {
        let gpus = environment.gpus.iter().map(|gpu| (gpu.name.clone(), gpu.memory_bytes)).collect();
        Self { cpu: environment.cpu.clone(), cores: environment.cores, gpus }
    }
}

/// The heading of the table of `model`, shared by `world_size` ranks; where rank 0's part `one_rank` alone was measured, it says
/// so.
pub fn heading(
    model: &str,
    precision: Precision,
    device: Device,
    (world_size, one_rank): (u32, bool),
    machine: &Machine,
) -> String {
    let rank = if one_rank { format!("rank 0 of {world_size}, ") } else { String::new() };
    let world_size = if one_rank { 1 } else { world_size };
    let model = display_name(model);
    let precision = precision.to_string().to_uppercase();
    match device {
        Device::Cpu => {
            let cores = if machine.cores == 1 { "core" } else { "cores" };
            let ranks = if world_size == 1 { String::new() } else { format!(", {world_size} ranks") };
            format!(
                "{model} {precision} CPU ({rank}{}, {} {cores}{ranks})",
                short_cpu(&machine.cpu),
                machine.cores
            )
        }
        Device::Cuda(index) => {
            let gpu = machine.gpus.get(index as usize);
            let gpu = gpu.map_or_else(|| "GPU".into(), |(name, bytes)| short_gpu(name, *bytes));
            format!("{model} {precision} CUDA ({rank}{world_size} {gpu})")
        }
    }
}

/// `llama2-7b` is `LLaMA-2 7B`; other names stay as they are, on one line.
fn display_name(model: &str) -> String {
    let families = [("llama2-", "LLaMA-2 "), ("tinyllama-", "TinyLlama ")];
    for (prefix, family) in families {
        if let Some(size) = model.strip_prefix(prefix) {
            return format!("{family}{}", size.to_uppercase());
        }
    }
    crate::text::one_line(model)
}

/// `Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz` is `Intel Xeon Platinum 8370C`.
fn short_cpu(name: &str) -> String {
    let plain = name.replace("(R)", "").replace("(TM)", "").replace("(tm)", "");
    let end =
        [" @ ", " CPU", " Processor"].iter().filter_map(|tail| plain.find(tail)).min().unwrap_or(plain.len());
    let words = plain[..end].split_whitespace().filter(|word| !word.ends_with("-Core"));
    words.collect::<Vec<_>>().join(" ")
}

/// `NVIDIA A100-SXM4-80GB` of 80 GiB is `A100 80GB`, as the documents say it.
fn short_gpu(name: &str, bytes: u64) -> String {
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
    use super::*;

    fn machine(cpu: &str, gpu: Option<(&str, f64)>) -> Machine {
        let gpus = gpu.into_iter().map(|(name, gib)| (name.to_owned(), (gib * f64::from(1 << 30)) as u64));
        Machine { cpu: cpu.into(), cores: 2, gpus: gpus.collect() }
    }

    #[test]
    fn headings_are_the_documents() {
        let a100 = machine("", Some(("NVIDIA A100-SXM4-80GB", 79.15)));
        let text = heading("llama2-7b", Precision::Fp16, Device::Cuda(0), (1, false), &a100);
        assert_eq!(text, "LLaMA-2 7B FP16 CUDA (1 A100 80GB)");
        let text = heading("llama2-70b", Precision::Fp16, Device::Cuda(0), (4, false), &a100);
        assert_eq!(text, "LLaMA-2 70B FP16 CUDA (4 A100 80GB)");
        let text = heading("llama2-70b", Precision::Fp16, Device::Cuda(0), (4, true), &a100);
        assert_eq!(text, "LLaMA-2 70B FP16 CUDA (rank 0 of 4, 1 A100 80GB)");
        let cpu = machine("AMD EPYC", None);
        let text = heading("llama2-15m", Precision::Fp32, Device::Cpu, (1, false), &cpu);
        assert_eq!(text, "LLaMA-2 15M FP32 CPU (AMD EPYC, 2 cores)");
        let text = heading("llama2-15m", Precision::Fp32, Device::Cpu, (4, false), &cpu);
        assert_eq!(text, "LLaMA-2 15M FP32 CPU (AMD EPYC, 2 cores, 4 ranks)");
        let text = heading("llama2-15m", Precision::Fp32, Device::Cpu, (2, true), &cpu);
        assert_eq!(text, "LLaMA-2 15M FP32 CPU (rank 0 of 2, AMD EPYC, 2 cores)");
    }

    #[test]
    fn names_are_shortened_to_what_identifies() {
        let cpu = |name| short_cpu(name);
        assert_eq!(cpu("Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz"), "Intel Xeon Platinum 8370C");
        assert_eq!(cpu("AMD EPYC 7763 64-Core Processor"), "AMD EPYC 7763");
        assert_eq!(cpu("AMD Ryzen 9 7950X 16-Core Processor"), "AMD Ryzen 9 7950X");
        let gib = |n: f64| (n * f64::from(1 << 30)) as u64;
        assert_eq!(short_gpu("NVIDIA H100 80GB HBM3", gib(79.6)), "H100 80GB");
        assert_eq!(short_gpu("NVIDIA GeForce RTX 4090", gib(23.99)), "RTX 4090 24GB");
        assert_eq!(short_gpu("NVIDIA H200", gib(140.4)), "H200 141GB");
        assert_eq!(short_gpu("NVIDIA A10", gib(22.1)), "A10 24GB");
        assert_eq!(short_gpu("NVIDIA L40S", gib(44.99)), "L40S 48GB");
        assert_eq!(short_gpu("Tesla V100-SXM2-16GB", gib(15.8)), "V100 16GB");
    }
}
