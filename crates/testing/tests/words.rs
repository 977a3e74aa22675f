//! Sizes, devices and precisions, as people write them.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use harness::{format_bytes, parse_bytes};
use proptest::prelude::*;
use protocol::{Device, Precision};
use testing::fuzz::{BoundedAllocator, CaseResult, Corpus, check};

#[global_allocator]
static ALLOCATOR: BoundedAllocator = BoundedAllocator;

fn reads_what_it_prints<T: FromStr<Err: Debug + PartialEq> + Display + Debug + PartialEq>(
    text: &str,
) -> CaseResult {
    if let Ok(value) = text.parse::<T>() {
        prop_assert_eq!(value.to_string().parse::<T>(), Ok(value));
    }
    Ok(())
}

#[test]
fn any_size() {
    let corpus = Corpus::new(["1GiB", "512 MiB", "2.5GB", "2G", "4096", "1e3KB"], "KiB TiB B G 999999");
    check(2000, corpus.inputs(), |input| {
        if let Ok(bytes) = parse_bytes(&input.text()) {
            prop_assert!(bytes > 0);
            prop_assert_eq!(parse_bytes(&format!("{bytes}B")), Ok(bytes));
            prop_assert!(format_bytes(bytes).len() <= 12, "{}", format_bytes(bytes));
        }
        Ok(())
    });
}

#[test]
fn any_device_and_precision() {
    let corpus = Corpus::new(["cpu", "cuda", "cuda:0", "cuda:4294967295", "fp32", "bf16"], "cuda: fp");
    check(2000, corpus.inputs(), |input| {
        reads_what_it_prints::<Device>(&input.text())?;
        reads_what_it_prints::<Precision>(&input.text())
    });
}
