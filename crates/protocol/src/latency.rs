//! Latencies are checked where they are read, from a pipe or a file.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// No forward takes less than a nanosecond: light gets 30 cm far.
pub(crate) const SHORTEST: f64 = 1e-9;
/// None takes more than thirty years. The longest deadline of a sweep is the same.
pub(crate) const LONGEST: f64 = 1e9;

/// A latency that can be one. A device's clock may be too coarse to see it, and then says 0.
fn check(seconds: f64, may_be_zero: bool) -> Result<f64, String> {
    if (SHORTEST..=LONGEST).contains(&seconds) || may_be_zero && seconds == 0.0 {
        return Ok(seconds);
    }
    let zero = if may_be_zero { "0, or " } else { "" };
    Err(format!("latency must be {zero}from {SHORTEST:e} to {LONGEST:e} s, found {seconds:?}"))
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
