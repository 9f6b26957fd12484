//! libFuzzer on the target `gossip` of `tools/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::hear("gossip", bytes));
