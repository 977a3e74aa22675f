//! Peaks of devices by their datasheets: `hardware.toml`.

mod device;

use std::fmt;

use protocol::{Dtype, Gpu, MeasuredPeak, MeasuredPeaks, Precision};
use serde::Deserialize;
use toml::Spanned;

use crate::heading::short_gpu;
use crate::{DeviceKind, Heading, HeadingPrecision};
use device::{DatasheetDevice, Flops, words};

/// The peaks that come with the program.
pub const DEFAULT_HARDWARE: &str = include_str!("../../../../configs/hardware.toml");

/// A limit, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Peak {
    /// The limit of one device.
    pub value: f64,
    /// Whose it is: `A100 80GB SXM, the highest of 2 variants`.
    pub origin: String,
}

/// What one device can do at most; `None` where it is not known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Peaks {
    /// Bytes per second from memory.
    pub bandwidth_bytes_per_second: Option<Peak>,
    /// Floating-point operations per second, dense, in the table's precision.
    pub flops: Option<Peak>,
    /// The same where products of FP16 are summed in FP32, as libraries do unless they are told otherwise; `None` where that is as fast.
    pub flops_fp32_accumulate: Option<Peak>,
    /// Bytes of memory.
    pub memory_bytes: Option<Peak>,
    /// Bytes that the last cache before memory keeps, which need not be read again.
    pub cache_bytes: u64,
    /// Bytes per second from one device to the others of its machine, in one direction.
    pub link_bytes_per_second: Option<Peak>,
    /// Whether they were measured on the table's own machine: then a busy moment can have made them too low.
    pub is_measured: bool,
}

impl Peaks {
    /// The peaks that a run measured, in its table's precision.
    pub fn measured(measured: &MeasuredPeaks, precision: HeadingPrecision) -> Self {
        let peak =
            |peak: &MeasuredPeak| Peak { value: peak.per_second, origin: format!("measured by {}", peak.by) };
        // With weights of few bits an engine may multiply faster than in the number format of activations.
        let whole = precision.precision().filter(|_| !precision.is_low_bit());
        let flops = whole.and_then(|precision| measured.flops.get(&precision.unquantized()));
        Self {
            bandwidth_bytes_per_second: measured.read_bytes.as_ref().map(peak),
            flops: flops.map(peak),
            is_measured: true,
            ..Self::default()
        }
    }
}

/// The peaks that one device's datasheet prints, without headroom: what MBU and MFU are shares of.
#[derive(Debug, Clone, PartialEq)]
pub struct Datasheet {
    /// Bytes per second from memory.
    pub bandwidth_bytes_per_second: Peak,
    /// Floating-point operations per second, dense, in a precision; `None` where the device has none.
    pub flops: Option<Peak>,
}

/// A `hardware.toml` that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardwareError {
    /// `hardware.toml:12`.
    origin: String,
    what: String,
}

impl fmt::Display for HardwareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)
    }
}

impl std::error::Error for HardwareError {}

/// The devices whose peaks are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Hardware {
    devices: Vec<DatasheetDevice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DatasheetFile {
    device: Vec<Spanned<DatasheetDevice>>,
}

impl Hardware {
    /// Reads a `hardware.toml`; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, HardwareError> {
        let error = |offset: usize, what: String| {
            let before = &text.as_bytes()[..offset.min(text.len())];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            HardwareError { origin: format!("{origin}:{line}"), what }
        };
        let file: DatasheetFile = toml::from_str(text).map_err(|wrong| {
            let start = wrong.span().map_or(0, |span| span.start);
            error(start, wrong.message().trim().replace('\n', ", "))
        })?;
        for device in &file.device {
            device.get_ref().check().map_err(|what| error(device.span().start, what))?;
        }
        Ok(Self { devices: file.device.into_iter().map(Spanned::into_inner).collect() })
    }

    /// The peaks that come with the program.
    ///
    /// # Panics
    /// Never: the file is compiled in, and a test reads it.
    pub fn built_in() -> Self {
        Self::parse(DEFAULT_HARDWARE, "configs/hardware.toml").expect("the built-in hardware.toml")
    }

    /// What the device of a heading can do at most. Where the heading fits several variants, the highest figure of each kind
    /// counts; where none is known, the error says so.
    pub fn peaks(&self, heading: &Heading) -> Result<Peaks, String> {
        if heading.kind == DeviceKind::Cpu {
            return Err(format!("no peaks of \"{}\": a processor's must be measured", heading.device));
        }
        let words = words(&heading.device);
        let variants: Vec<&DatasheetDevice> =
            self.devices.iter().filter(|device| device.fits(&words)).collect();
        if variants.is_empty() {
            return Err(format!("no peaks of \"{}\" in hardware.toml", heading.device));
        }
        let headroom = |share: f64, what: &str| match share {
            0.0 => String::new(),
            _ => format!(" with {:.0} % for {what}", share * 100.0),
        };
        let highest = |value: &dyn Fn(&DatasheetDevice) -> Option<f64>,
                       note: &dyn Fn(&DatasheetDevice) -> String| {
            highest(&variants, value, note)
        };
        let flops = |value: &dyn Fn(&Flops) -> Option<f64>| {
            highest(&|device| Some(value(&device.flops)? * (1.0 + device.clock_headroom)), &|device| {
                headroom(device.clock_headroom, "higher clocks")
            })
        };
        Ok(Peaks {
            is_measured: false,
            bandwidth_bytes_per_second: highest(
                &|device| Some(device.bandwidth_bytes_per_second * (1.0 + device.memory_headroom)),
                &|device| headroom(device.memory_headroom, "faster memory"),
            ),
            flops: flops(&|flops| flops.most(heading.precision)),
            // Unless every variant that the heading can mean is slower so, none is said to be.
            flops_fp32_accumulate: if heading.precision == HeadingPrecision::Of(Precision::Fp16)
                && variants.iter().all(|device| device.flops.fp16_fp32_accumulate.is_some())
            {
                flops(&|flops| flops.fp16_fp32_accumulate)
            } else {
                None
            },
            memory_bytes: highest(&|device| Some(f64::from(device.memory_gb) * f64::from(1 << 30)), &|_| {
                String::new()
            }),
            link_bytes_per_second: highest(&|device| device.link_bytes_per_second, &|_| String::new()),
            cache_bytes: variants.iter().map(|device| device.cache_bytes).max().unwrap_or(0),
        })
    }

    /// The peaks in a GPU's datasheet, of products in `dtype`; `None` where it is not among the devices, or is cut into instances (MIG). Its driver's name says
    /// more than a heading, such as HBM3 for the SXM board. Where it fits several variants all the same, the highest figure counts.
    pub fn datasheet(&self, gpu: &Gpu, dtype: Dtype) -> Option<Datasheet> {
        if gpu.mig == Some(true) {
            return None;
        }
        let mut words = words(&gpu.name);
        words.extend(self::words(&short_gpu(&gpu.name, gpu.memory_bytes)));
        let variants: Vec<&DatasheetDevice> =
            self.devices.iter().filter(|device| device.fits(&words)).collect();
        Some(Datasheet {
            bandwidth_bytes_per_second: highest(
                &variants,
                &|device| Some(device.bandwidth_bytes_per_second),
                &|_| String::new(),
            )?,
            flops: highest(&variants, &|device| device.flops.in_datasheet(dtype), &|_| String::new()),
        })
    }
}

/// The highest figure among variants, and whose it is; `note` says more of a variant.
fn highest(
    variants: &[&DatasheetDevice],
    value: &dyn Fn(&DatasheetDevice) -> Option<f64>,
    note: &dyn Fn(&DatasheetDevice) -> String,
) -> Option<Peak> {
    let values = variants
        .iter()
        .filter_map(|device| Some((value(device)?, format!("{}{}", device.name(), note(device)))));
    let values: Vec<(f64, String)> = values.collect();
    let most = values.iter().map(|(value, _)| *value).reduce(f64::max)?;
    let names = values.iter().filter(|(value, _)| *value == most).map(|(_, name)| name.as_str());
    let names: Vec<&str> = names.collect();
    let of = match variants.len() {
        count if count > names.len() => format!(", the highest of {count} variants"),
        _ => String::new(),
    };
    Some(Peak { value: most, origin: format!("{}{of}", names.join(" or ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peaks(device: &str, precision: Precision) -> Result<Peaks, String> {
        let heading = Heading::parse(&format!("LLaMA-2 7B FP16 CUDA (1 {device})")).unwrap();
        Hardware::built_in().peaks(&Heading { precision: precision.into(), ..heading })
    }

    #[test]
    fn a_heading_gets_the_most_generous_variant() {
        let a100 = peaks("A100 80GB", Precision::Fp16).unwrap();
        let bandwidth = a100.bandwidth_bytes_per_second.unwrap();
        assert_eq!(bandwidth.value, 2039e9);
        assert_eq!(bandwidth.origin, "A100 80GB SXM, the highest of 2 variants");
        let flops = a100.flops.unwrap();
        assert_eq!((flops.value, flops.origin.as_str()), (312e12, "A100 80GB SXM or A100 80GB PCIe"));
        assert_eq!(a100.memory_bytes.unwrap().value, 80.0 * f64::from(1 << 30));
        let pcie = peaks("NVIDIA A100-PCIE-80 GB", Precision::Fp16).unwrap();
        let bandwidth = pcie.bandwidth_bytes_per_second.unwrap();
        assert_eq!((bandwidth.value, bandwidth.origin.as_str()), (1935e9, "A100 80GB PCIe"));
    }

    #[test]
    fn every_device_is_found_by_the_heading_that_its_driver_makes() {
        let names = [
            "A100 40GB",
            "A100-SXM4-80GB",
            "H100 80GB",
            "NVIDIA H100 80GB HBM3",
            "H100 NVL",
            "H200 141GB",
            "B200 180GB",
            "L4 24GB",
            "L40S 48GB",
            "A10 24GB",
            "RTX 3090 24GB",
            "RTX 4090 24GB",
            "NVIDIA GeForce RTX 5090",
            "V100 16GB",
            "Tesla V100-SXM2-32GB",
            "T4 16GB",
            "MI300X 192GB",
            "MI325X 256GB",
            "MI250X 128GB",
            "A30 24GB",
            "NVIDIA A40",
            "L40 48GB",
            "RTX A6000 48GB",
            "RTX 6000 Ada 48GB",
            "GH200 96GB",
            "GB200 192GB",
            "H20 96GB",
        ];
        for name in names {
            assert!(peaks(name, Precision::Fp16).is_ok(), "{name}");
        }
        for name in ["A800 80GB", "A100 64GB", "80GB", "A100X 80GB", "RTX 4090 Laptop", "H20 141GB"] {
            let error = peaks(name, Precision::Fp16).unwrap_err();
            assert_eq!(error, format!("no peaks of \"{name}\" in hardware.toml"));
        }
    }

    #[test]
    fn datasheet_peaks_follow_the_name_of_the_driver_without_headroom() {
        let gpu = |name: &str, gib: f64, mig| {
            let bytes = (gib * f64::from(1 << 30)) as u64;
            let text = format!(r#"{{"name": "{name}", "memory_bytes": {bytes}, "driver_version": ""}}"#);
            Gpu { mig, ..serde_json::from_str(&text).unwrap() }
        };
        let of = |gpu: &Gpu, precision| {
            let datasheet = Hardware::built_in().datasheet(gpu, precision)?;
            let Datasheet { bandwidth_bytes_per_second: bandwidth, flops } = datasheet;
            Some((bandwidth.value, bandwidth.origin, flops.map(|flops| flops.value)))
        };
        let h100 = gpu("NVIDIA H100 80GB HBM3", 79.6, Some(false));
        let sxm = || "H100 80GB SXM".to_owned();
        assert_eq!(of(&h100, Dtype::Fp16), Some((3350e9, sxm(), Some(989.5e12))));
        assert_eq!(of(&h100, Dtype::Fp32), Some((3350e9, sxm(), Some(67e12))));
        let pcie = gpu("NVIDIA H100 PCIe", 79.6, None);
        assert_eq!(of(&pcie, Dtype::Bf16), Some((2039e9, "H100 80GB PCIe".into(), Some(756.5e12))));
        // Its name fits two boards of other FLOP/s.
        let h200 = gpu("NVIDIA H200", 140.4, None);
        let both = "H200 141GB SXM or H200 141GB NVL".to_owned();
        assert_eq!(of(&h200, Dtype::Fp16), Some((4800e9, both, Some(989.5e12))));
        assert_eq!(of(&gpu("Tesla T4", 14.6, None), Dtype::Bf16).unwrap().2, None);
        for unknown in [gpu("NVIDIA A800", 79.0, None), gpu("NVIDIA H100 80GB HBM3", 79.6, Some(true))] {
            assert_eq!(of(&unknown, Dtype::Fp16), None);
        }
    }

    #[test]
    fn precisions_differ_as_units_do() {
        assert_eq!(peaks("A100 40GB", Precision::Fp32).unwrap().flops.unwrap().value, 156e12, "TF32");
        assert_eq!(peaks("T4", Precision::Bf16).unwrap().flops, None);
        let t4 = peaks("T4", Precision::Fp32).unwrap().flops.unwrap();
        assert_eq!((t4.value, t4.origin.as_str()), (8.1e12 * 1.05, "T4 16GB with 5 % for higher clocks"));
    }

    #[test]
    fn every_device_says_where_its_peaks_stand() {
        for device in Hardware::built_in().devices {
            assert!(device.source.contains("http"), "{}", device.name());
        }
    }

    #[test]
    fn a_faulty_file_is_said_with_its_line() {
        let error = |text: &str| Hardware::parse(text, "h.toml").unwrap_err().to_string();
        assert!(error("x = 1\n").starts_with("h.toml:1: unknown field `x`"));
        let device = "\n[[device]]\nchip = \"X\"\nmemory_gb = 8\ncache_bytes = 0\nflops = { fp32 = 1e12, fp16 = 1e12 }\nsource = \"s\"\n";
        let wrong = format!("{device}bandwidth_bytes_per_second = 300.0\n");
        assert_eq!(
            error(&wrong),
            "h.toml:2: X 8GB: bandwidth_bytes_per_second: expected bytes or operations a second, found 300"
        );
        assert!(error(device).contains("bandwidth_bytes_per_second"));
    }
}
