//! The target `records` for libFuzzer: `make fuzz TARGET=records`.

#![no_main]

fuzz::libfuzzer_target!(records);
