//! libFuzzer on the target `header` of `tools/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::hear("header", bytes));
