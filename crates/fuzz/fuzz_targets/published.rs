//! The target `published` for libFuzzer: `make fuzz TARGET=published`.

#![no_main]

fuzz::libfuzzer_target!(published);
