//! The target `config` for libFuzzer: `make fuzz TARGET=config`.

#![no_main]

fuzz::libfuzzer_target!(config);
