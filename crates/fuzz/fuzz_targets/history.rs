//! The target `history` for libFuzzer: `make fuzz TARGET=history`.

#![no_main]

fuzz::libfuzzer_target!(history);
