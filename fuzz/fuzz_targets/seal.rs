//! libFuzzer on the target `seal` of `tools/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::hear("seal", bytes));
