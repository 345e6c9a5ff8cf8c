//! The program of every target; which one it is, its name says.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| heirloom_tests::garbage::try_on(env!("CARGO_BIN_NAME"), input));
