//! libFuzzer on the target `journal` of `tools/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::hear("journal", bytes));
