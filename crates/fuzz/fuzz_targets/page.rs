//! The target `page` for libFuzzer: `make fuzz TARGET=page`.

#![no_main]

fuzz::libfuzzer_target!(page);
