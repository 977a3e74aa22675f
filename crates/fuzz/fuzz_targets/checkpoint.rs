//! The target `checkpoint` for libFuzzer: `make fuzz TARGET=checkpoint`.

#![no_main]

fuzz::libfuzzer_target!(checkpoint);
