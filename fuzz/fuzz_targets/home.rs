//! libFuzzer on the target `home` of `tools/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::hear("home", bytes));
