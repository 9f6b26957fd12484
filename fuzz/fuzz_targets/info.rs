//! libFuzzer on the target `info` of `tools/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::hear("info", bytes));
