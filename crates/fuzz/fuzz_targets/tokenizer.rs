//! The target `tokenizer` for libFuzzer: `make fuzz TARGET=tokenizer`.

#![no_main]

fuzz::libfuzzer_target!(tokenizer);
