//! Bytes and operations a second are checked where they are read, from a pipe or a file.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::Precision;

/// A million times what the fastest device of 2026 does.
const MOST: f64 = 1e21;

fn check(per_second: f64) -> Result<f64, String> {
    if (1.0..=MOST).contains(&per_second) {
        Ok(per_second)
    } else {
        Err(format!("expected 1 to {MOST:e} a second, found {per_second:?}"))
    }
}

pub(crate) fn per_second<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    check(f64::deserialize(deserializer)?).map_err(D::Error::custom)
}

pub(crate) fn per_second_if_known<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    Option::deserialize(deserializer)?.map(check).transpose().map_err(D::Error::custom)
}

pub(crate) fn per_second_by_precision<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Precision, f64>, D::Error> {
    let all = BTreeMap::<Precision, f64>::deserialize(deserializer)?;
    all.into_iter()
        .map(|(precision, value)| Ok((precision, check(value)?)))
        .collect::<Result<_, String>>()
        .map_err(D::Error::custom)
}
