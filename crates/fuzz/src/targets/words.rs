//! Sizes, devices and precisions, as people write them.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use harness::{format_bytes, parse_bytes};
use proptest::prelude::*;
use protocol::{Device, Precision};

use crate::{CaseResult, FuzzTarget};

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "words", samples, words: WORDS, run };

const WORDS: &str = "KiB TiB B G 999999 cuda: fp";

fn reads_what_it_prints<T: FromStr<Err: Debug + PartialEq> + Display + Debug + PartialEq>(
    text: &str,
) -> CaseResult {
    if let Ok(value) = text.parse::<T>() {
        prop_assert_eq!(value.to_string().parse::<T>(), Ok(value));
    }
    Ok(())
}

fn samples() -> Vec<Vec<u8>> {
    let sizes = ["1GiB", "512 MiB", "2.5GB", "2G", "4096", "1e3KB"];
    let devices = ["cpu", "cuda", "cuda:0", "cuda:4294967295", "fp32", "bf16"];
    [sizes, devices].concat().into_iter().map(Into::into).collect()
}

/// The same text as a size, a device and a precision.
fn run(input: &[u8]) -> CaseResult {
    let text = String::from_utf8_lossy(input);
    if let Ok(bytes) = parse_bytes(&text) {
        prop_assert!(bytes > 0);
        prop_assert_eq!(parse_bytes(&format!("{bytes}B")), Ok(bytes));
        prop_assert!(format_bytes(bytes).len() <= 12, "{}", format_bytes(bytes));
    }
    reads_what_it_prints::<Device>(&text)?;
    reads_what_it_prints::<Precision>(&text)
}
