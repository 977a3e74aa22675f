//! What a device can do at most, as it was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Device, Dtype, MachineLoad, Options};

/// Measure the device's peaks as the engine's libraries reach them. No model is loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PeaksRequest {
    /// The device to measure.
    pub device: Device,
    /// The precisions whose matrix products to measure.
    pub precisions: Vec<Dtype>,
    /// Threads of the engine's own pool; `None` takes one a core.
    pub threads: Option<u32>,
    /// Also repeat the fastest product of each precision for at least this long; `None` measures a burst alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sustained_seconds: Option<f64>,
    /// The engine's own options.
    #[serde(default)]
    pub options: Options,
}

/// The peaks that an engine reached on a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Bytes a second read from memory, the fastest of several passes.
    #[serde(default, deserialize_with = "crate::bounds::per_second")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Rate>"))]
    pub read_bytes_per_second: Option<f64>,
    /// Floating-point operations a second of the fastest matrix product, by precision; a precision without kernels is missing.
    #[serde(default, deserialize_with = "crate::bounds::per_second")]
    #[cfg_attr(test, schemars(with = "crate::schema::Map<Dtype, crate::schema::Rate>"))]
    pub flops_per_second: BTreeMap<Dtype, f64>,
    /// The same over `sustained_seconds`: the mean, with whatever clocks the device's power allows by then.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::bounds::per_second"
    )]
    #[cfg_attr(test, schemars(with = "crate::schema::Map<Dtype, crate::schema::Rate>"))]
    pub sustained_flops_per_second: BTreeMap<Dtype, f64>,
    /// What a reader should know, one line each.
    #[serde(default, deserialize_with = "crate::texts::notes")]
    #[cfg_attr(test, schemars(with = "crate::schema::Notes"))]
    pub notes: Vec<String>,
}

/// A peak, and the engine that reached it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MeasuredPeak {
    /// Bytes, or floating-point operations, per second.
    #[serde(deserialize_with = "crate::bounds::per_second")]
    #[cfg_attr(test, schemars(with = "crate::schema::Rate"))]
    pub per_second: f64,
    /// The engine.
    pub by: String,
}

/// A peak over seconds, with the clock that the power limit allowed by then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SustainedPeak {
    /// Mean floating-point operations per second.
    #[serde(deserialize_with = "crate::bounds::per_second")]
    #[cfg_attr(test, schemars(with = "crate::schema::Rate"))]
    pub per_second: f64,
    /// The engine.
    pub by: String,
    /// The mean clock of the GPU's multiprocessors meanwhile; `None` where nothing says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<f64>,
}

/// A device's peaks: the best that any engine reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MeasuredPeaks {
    /// The device.
    pub device: Device,
    /// Reading memory.
    pub read_bytes: Option<MeasuredPeak>,
    /// Matrix products, by precision.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "crate::schema::Map<Dtype, MeasuredPeak>"))]
    pub flops: BTreeMap<Dtype, MeasuredPeak>,
    /// Matrix products repeated for seconds, by precision; empty where only a burst was measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(test, schemars(with = "crate::schema::Map<Dtype, SustainedPeak>"))]
    pub sustained_flops: BTreeMap<Dtype, SustainedPeak>,
    /// What else the machine did meanwhile; `None` in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_load: Option<MachineLoad>,
    /// When they were measured, UTC, where an earlier run did it; `None` where this one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<String>,
}

impl MeasuredPeaks {
    /// The best of what engines reached; figures that are no number above 0 count for nothing.
    pub fn best<'a>(device: Device, reached: impl IntoIterator<Item = (&'a str, &'a Reached)>) -> Self {
        let mut best = Self {
            device,
            read_bytes: None,
            flops: BTreeMap::new(),
            sustained_flops: BTreeMap::new(),
            machine_load: None,
            measured_at: None,
        };
        for (engine, reached) in reached {
            let better = |known: Option<&MeasuredPeak>, value: f64| {
                let is_better = value.is_finite() && value > known.map_or(0.0, |known| known.per_second);
                is_better.then(|| MeasuredPeak { per_second: value, by: engine.to_owned() })
            };
            let read = reached.read_bytes_per_second.unwrap_or(0.0);
            if let Some(read) = better(best.read_bytes.as_ref(), read) {
                best.read_bytes = Some(read);
            }
            for (precision, value) in &reached.sustained_flops_per_second {
                let known = best.sustained_flops.get(precision).map_or(0.0, |known| known.per_second);
                if value.is_finite() && *value > known {
                    let peak =
                        SustainedPeak { per_second: *value, by: engine.to_owned(), sm_clock_mhz: None };
                    best.sustained_flops.insert(*precision, peak);
                }
            }
            for (precision, value) in &reached.flops_per_second {
                if let Some(flops) = better(best.flops.get(precision), *value) {
                    best.flops.insert(*precision, flops);
                }
            }
        }
        best
    }

    /// Whether nothing was reached.
    pub fn is_empty(&self) -> bool {
        self.read_bytes.is_none() && self.flops.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_each_counts_and_nonsense_does_not() {
        let reached = |read: f64, fp32: f64| Reached {
            read_bytes_per_second: Some(read),
            flops_per_second: BTreeMap::from([(Dtype::Fp32, fp32)]),
            ..Reached::default()
        };
        let [a, b, c] = [reached(40e9, 300e9), reached(60e9, 150e9), reached(f64::INFINITY, -1.0)];
        let best = MeasuredPeaks::best(Device::Cpu, [("a", &a), ("b", &b), ("c", &c)]);
        let peak = |per_second, by: &str| MeasuredPeak { per_second, by: by.into() };
        assert_eq!(best.read_bytes, Some(peak(60e9, "b")));
        assert_eq!(best.flops, BTreeMap::from([(Dtype::Fp32, peak(300e9, "a"))]));
        assert!(MeasuredPeaks::best(Device::Cpu, [("c", &c)]).is_empty());
    }

    #[test]
    fn the_best_sustained_product_and_the_best_burst_may_be_of_two_engines() {
        let reached = |burst: f64, sustained: f64| Reached {
            flops_per_second: BTreeMap::from([(Dtype::Fp16, burst)]),
            sustained_flops_per_second: BTreeMap::from([(Dtype::Fp16, sustained)]),
            ..Reached::default()
        };
        let [a, b, c] = [reached(9e14, 6e14), reached(8e14, 7e14), reached(1.0, f64::NAN)];
        let best = MeasuredPeaks::best(Device::Cuda(0), [("a", &a), ("b", &b), ("c", &c)]);
        assert_eq!(best.flops[&Dtype::Fp16].by, "a");
        let sustained = SustainedPeak { per_second: 7e14, by: "b".into(), sm_clock_mhz: None };
        assert_eq!(best.sustained_flops, BTreeMap::from([(Dtype::Fp16, sustained)]));
        let text = serde_json::to_string(&best).unwrap();
        assert_eq!(serde_json::from_str::<MeasuredPeaks>(&text).unwrap(), best);
        let before = r#"{"device":"cpu","read_bytes":null,"flops":{}}"#;
        assert!(serde_json::from_str::<MeasuredPeaks>(before).unwrap().sustained_flops.is_empty());
    }

    #[test]
    fn a_rate_that_can_be_none_is_refused_where_it_is_read() {
        for bad in ["5e-324", "0", "-1", "1e308"] {
            for json in [
                format!(r#"{{"read_bytes_per_second":{bad}}}"#),
                format!(r#"{{"flops_per_second":{{"fp32":{bad}}}}}"#),
                format!(r#"{{"sustained_flops_per_second":{{"fp32":{bad}}}}}"#),
            ] {
                let error = serde_json::from_str::<Reached>(&json).unwrap_err().to_string();
                assert!(error.starts_with("a rate per second must be from 1 to "), "{error}");
            }
            let peak = format!(r#"{{"per_second":{bad},"by":"a"}}"#);
            assert!(serde_json::from_str::<MeasuredPeak>(&peak).is_err());
            assert!(serde_json::from_str::<SustainedPeak>(&peak).is_err());
        }
    }

    #[test]
    fn an_answer_may_leave_out_what_it_does_not_know() {
        let reached: Reached = serde_json::from_str(r#"{"read_bytes_per_second":null}"#).unwrap();
        assert_eq!(reached, Reached::default());
        let text = serde_json::to_string(&Reached {
            flops_per_second: BTreeMap::from([(Dtype::Bf16, 1e12)]),
            ..Reached::default()
        });
        assert!(text.unwrap().contains(r#""flops_per_second":{"bf16":1000000000000.0}"#));
    }
}
