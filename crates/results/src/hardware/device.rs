//! A device of `hardware.toml`: its words, its peaks.

use protocol::{Dtype, Precision};
use serde::Deserialize;

use crate::HeadingPrecision;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatasheetDevice {
    pub(super) chip: String,
    #[serde(default)]
    pub(super) form: Vec<String>,
    pub(super) memory_gb: u32,
    pub(super) bandwidth_bytes_per_second: f64,
    pub(super) cache_bytes: u64,
    pub(super) link_bytes_per_second: Option<f64>,
    pub(super) flops: Flops,
    #[serde(default)]
    pub(super) clock_headroom: f64,
    #[serde(default)]
    pub(super) memory_headroom: f64,
    pub(super) source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flops {
    pub(super) fp32: f64,
    pub(super) tf32: Option<f64>,
    pub(super) fp16: f64,
    pub(super) fp16_fp32_accumulate: Option<f64>,
    pub(super) bf16: Option<f64>,
    pub(super) fp8: Option<f64>,
    pub(super) int8: Option<f64>,
    pub(super) int4: Option<f64>,
}

impl DatasheetDevice {
    /// `A100 80GB SXM`.
    pub(super) fn name(&self) -> String {
        let form = self.form.first().map(|form| format!(" {form}")).unwrap_or_default();
        format!("{} {}GB{form}", self.chip, self.memory_gb)
    }

    /// Whether a heading of these words can mean it.
    pub(super) fn fits(&self, heading: &[String]) -> bool {
        let chip = words(&self.chip);
        let known = |word: &String| {
            chip.contains(word)
                || *word == format!("{}gb", self.memory_gb)
                || self.form.iter().any(|form| form.eq_ignore_ascii_case(word))
        };
        chip.iter().all(|word| heading.contains(word)) && heading.iter().all(known)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let name = self.name();
        let Flops { fp32, tf32, fp16, fp16_fp32_accumulate, bf16, fp8, int8, int4 } = self.flops;
        let flops = [Some(fp32), tf32, Some(fp16), fp16_fp32_accumulate, bf16, fp8, int8, int4];
        let peaks = [("bandwidth_bytes_per_second", self.bandwidth_bytes_per_second)].into_iter();
        for (key, value) in peaks.chain(flops.into_iter().flatten().map(|value| ("flops", value))) {
            // Figures in GB/s or TFLOP/s would be far below this.
            if !(value.is_finite() && value >= 1e9) {
                return Err(format!("{name}: {key}: expected bytes or operations a second, found {value}"));
            }
        }
        for (key, value) in
            [("clock_headroom", self.clock_headroom), ("memory_headroom", self.memory_headroom)]
        {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{name}: {key}: expected a share from 0 to 1, found {value}"));
            }
        }
        let empty = self.chip.trim().is_empty() || self.source.trim().is_empty() || self.memory_gb == 0;
        if empty {
            return Err(format!("{name}: chip, memory_gb and source must not be empty"));
        }
        Ok(())
    }
}

impl Flops {
    /// What the datasheet prints for a number format. FP32 is FP32: no engine of ours computes it in TF32.
    pub(super) fn in_datasheet(&self, dtype: Dtype) -> Option<f64> {
        match dtype {
            Dtype::Fp32 => Some(self.fp32),
            Dtype::Fp16 => Some(self.fp16),
            Dtype::Bf16 => self.bf16,
        }
    }

    /// The most in a precision. FP32 tables may have been computed in TF32: libraries do so by default. Weights of few bits are
    /// multiplied as they are where the device has units for that, and as FP16 else.
    pub(super) fn most(&self, precision: HeadingPrecision) -> Option<f64> {
        let among = |peaks: &[Option<f64>]| peaks.iter().flatten().copied().reduce(f64::max);
        let fp16 = Some(self.fp16);
        match precision {
            HeadingPrecision::Fp8 => among(&[fp16, self.fp8]),
            HeadingPrecision::Of(Precision::Fp32) => among(&[Some(self.fp32), self.tf32]),
            HeadingPrecision::Of(Precision::Fp16) => fp16,
            HeadingPrecision::Of(Precision::Bf16) => self.bf16,
            HeadingPrecision::Of(_) if precision.weight_bits() == 4 => {
                among(&[fp16, self.fp8, self.int8, self.int4])
            }
            HeadingPrecision::Of(_) => among(&[fp16, self.fp8, self.int8]),
        }
    }
}

/// The words by which a device is told from others: `NVIDIA A100-SXM4-80 GB` is a100, sxm4, 80gb.
pub(super) fn words(device: &str) -> Vec<String> {
    const VENDORS: [&str; 8] = ["nvidia", "amd", "tesla", "geforce", "instinct", "tensor", "core", "gpu"];
    let mut words: Vec<String> = Vec::new();
    for word in device.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let is_unit = word == "gb" || word == "gib";
        match words.last_mut() {
            Some(last) if is_unit && last.bytes().all(|byte| byte.is_ascii_digit()) => last.push_str("gb"),
            _ if VENDORS.contains(&word) => {}
            _ => words.push(word.strip_suffix("gib").map_or(word.to_owned(), |number| format!("{number}gb"))),
        }
    }
    words
}
