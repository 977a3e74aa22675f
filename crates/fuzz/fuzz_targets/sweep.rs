//! The target `sweep` for libFuzzer: `make fuzz TARGET=sweep`.

#![no_main]

fuzz::libfuzzer_target!(sweep);
