//! Latencies are checked where they are read, from a pipe or a file.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A latency that can be one: no forward takes no time. A device's clock may be too coarse to see it.
fn check(seconds: f64, may_be_zero: bool) -> Result<f64, String> {
    let is_latency = seconds.is_finite() && (seconds > 0.0 || may_be_zero && seconds == 0.0);
    let expected = if may_be_zero { "not be negative" } else { "be positive" };
    if is_latency { Ok(seconds) } else { Err(format!("latency must {expected}, found {seconds}")) }
}

fn check_all(all: Vec<f64>, may_be_zero: bool) -> Result<Vec<f64>, String> {
    all.into_iter().map(|seconds| check(seconds, may_be_zero)).collect()
}

pub(crate) fn latency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    check(f64::deserialize(deserializer)?, false).map_err(D::Error::custom)
}

pub(crate) fn latencies<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    check_all(Vec::deserialize(deserializer)?, false).map_err(D::Error::custom)
}

pub(crate) fn device_latencies<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    check_all(Vec::deserialize(deserializer)?, true).map_err(D::Error::custom)
}

pub(crate) fn device_latencies_of_each<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Vec<f64>>, D::Error> {
    let all = Vec::<Vec<f64>>::deserialize(deserializer)?;
    all.into_iter().map(|one| check_all(one, true)).collect::<Result<_, _>>().map_err(D::Error::custom)
}
