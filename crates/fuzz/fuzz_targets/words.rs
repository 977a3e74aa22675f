//! The target `words` for libFuzzer: `make fuzz TARGET=words`.

#![no_main]

fuzz::libfuzzer_target!(words);
