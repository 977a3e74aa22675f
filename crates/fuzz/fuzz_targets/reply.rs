//! The target `reply` for libFuzzer: `make fuzz TARGET=reply`.

#![no_main]

fuzz::libfuzzer_target!(reply);
