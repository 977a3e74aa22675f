//! Numbers that can't be what they stand for are refused where they are read, from a pipe or a file.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A share of a time.
pub(crate) const FRACTION: RangeInclusive<f64> = 0.0..=1.0;
/// A time that may be none, of at most thirty years.
pub(crate) const SECONDS: RangeInclusive<f64> = 0.0..=1e9;
/// Memory: no processor addresses more than 4 PiB.
pub(crate) const BYTES: RangeInclusive<f64> = 0.0..=(1_u64 << 52) as f64;
/// Power of one GPU. NVML's number of milliwatts can't say more.
pub(crate) const WATTS: RangeInclusive<f64> = 0.0..=1e7;
/// Energy of one GPU: the most power over the longest time.
pub(crate) const JOULES: RangeInclusive<f64> = 0.0..=1e16;
/// Bytes or operations a second: a million times what the fastest device of 2026 does is too much.
pub(crate) const RATE: RangeInclusive<f64> = 1.0..=1e21;
/// Tasks that run or wait.
pub(crate) const LOAD_AVERAGE: RangeInclusive<f64> = 0.0..=1e9;

/// A number, an optional one, or several.
pub(crate) trait BoundedNumbers {
    /// Each of them.
    fn numbers(&self) -> impl Iterator<Item = f64>;
}

impl BoundedNumbers for f64 {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        std::iter::once(*self)
    }
}

impl BoundedNumbers for u64 {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        std::iter::once(*self as f64)
    }
}

impl<T: BoundedNumbers> BoundedNumbers for Option<T> {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.iter().flat_map(BoundedNumbers::numbers)
    }
}

impl<K, T: BoundedNumbers> BoundedNumbers for BTreeMap<K, T> {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.values().flat_map(BoundedNumbers::numbers)
    }
}

impl<T: BoundedNumbers> BoundedNumbers for Vec<T> {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.iter().flat_map(BoundedNumbers::numbers)
    }
}

fn within<'de, D: Deserializer<'de>, T: Deserialize<'de> + BoundedNumbers>(
    deserializer: D,
    what: &str,
    range: RangeInclusive<f64>,
) -> Result<T, D::Error> {
    let value = T::deserialize(deserializer)?;
    let wrong = value.numbers().find(|number| !range.contains(number));
    match wrong {
        None => Ok(value),
        Some(number) => {
            let (least, most) = range.into_inner();
            Err(D::Error::custom(format!("{what} must be from {least} to {most}, found {number:?}")))
        }
    }
}

pub(crate) fn share<'de, D: Deserializer<'de>, T: Deserialize<'de> + BoundedNumbers>(
    deserializer: D,
) -> Result<T, D::Error> {
    within(deserializer, "a share", FRACTION)
}

pub(crate) fn seconds<'de, D: Deserializer<'de>, T: Deserialize<'de> + BoundedNumbers>(
    deserializer: D,
) -> Result<T, D::Error> {
    within(deserializer, "seconds", SECONDS)
}

pub(crate) fn bytes<'de, D: Deserializer<'de>, T: Deserialize<'de> + BoundedNumbers>(
    deserializer: D,
) -> Result<T, D::Error> {
    within(deserializer, "bytes of memory", BYTES)
}

pub(crate) fn watts<'de, D: Deserializer<'de>, T: Deserialize<'de> + BoundedNumbers>(
    deserializer: D,
) -> Result<T, D::Error> {
    within(deserializer, "watts", WATTS)
}

pub(crate) fn joules<'de, D: Deserializer<'de>, T: Deserialize<'de> + BoundedNumbers>(
    deserializer: D,
) -> Result<T, D::Error> {
    within(deserializer, "joules", JOULES)
}

pub(crate) fn per_second<'de, D: Deserializer<'de>, T: Deserialize<'de> + BoundedNumbers>(
    deserializer: D,
) -> Result<T, D::Error> {
    within(deserializer, "a rate per second", RATE)
}

pub(crate) fn load_average<'de, D: Deserializer<'de>, T: Deserialize<'de> + BoundedNumbers>(
    deserializer: D,
) -> Result<T, D::Error> {
    within(deserializer, "a load average", LOAD_AVERAGE)
}

#[cfg(test)]
mod tests {
    use crate::{CollectiveShares, GpuSeries, MachineLoad, Memory, Progress};

    fn error<T: serde::de::DeserializeOwned>(json: &str) -> String {
        serde_json::from_str::<T>(json).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn impossible_numbers_are_refused_where_they_are_read() {
        for bad in ["-5", "1.01", "1e308"] {
            let shares = error::<CollectiveShares>(&format!(r#"{{"prompt":{bad},"tokens":0}}"#));
            assert!(shares.starts_with("a share must be from 0 to 1, found "), "{shares}");
            let load = error::<MachineLoad>(&format!(r#"{{"seconds":1,"processors":1,"own_share":{bad}}}"#));
            assert!(load.starts_with("a share must be from 0 to 1, found "), "{load}");
        }
        let memory = error::<Memory>(r#"{"peak_bytes":18446744073709551615}"#);
        assert!(memory.starts_with("bytes of memory must be from 0 to 4503599627370496, found "), "{memory}");
        let progress = r#"{"phase":"decode","done":1,"of":2,"last_seconds":-1}"#;
        assert!(error::<Progress>(progress).starts_with("seconds must be from 0 to 1000000000, found -1"));
        let gpu =
            serde_json::to_string(&GpuSeries { power_watts: vec![1e8], ..GpuSeries::default() }).unwrap();
        assert!(error::<GpuSeries>(&gpu).starts_with("watts must be from 0 to 10000000, found 100000000"));
    }

    #[test]
    fn honest_numbers_and_those_that_are_not_known_are_read() {
        for shares in ["0", "1", "0.5"] {
            let json = format!(r#"{{"prompt":{shares},"tokens":{shares}}}"#);
            assert!(serde_json::from_str::<CollectiveShares>(&json).is_ok(), "{json}");
        }
        assert_eq!(serde_json::from_str::<Memory>("{}").unwrap(), Memory::default());
        let memory = r#"{"weights_bytes":null,"kv_cache_bytes":4503599627370496,"peak_bytes":0}"#;
        assert!(serde_json::from_str::<Memory>(memory).is_ok());
        let gpu = serde_json::to_string(&GpuSeries::default()).unwrap();
        assert_eq!(serde_json::from_str::<GpuSeries>(&gpu).unwrap(), GpuSeries::default());
    }
}
